// The activity log on disk: transaction blocks, their place in the ring, and replay (meta data 8).
// Which extents are hot is the engine's business; this is only the form they take on disk.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "base/units.hpp"
#include "meta/layout.hpp"

namespace duplex::meta {

inline constexpr size_t al_block_bytes = 4096;
inline constexpr size_t al_updates_max = 64;
inline constexpr size_t al_context_labels = 919;
inline constexpr uint32_t al_free_label = 0xFFFFFFFF;  // a slot without an extent
inline constexpr uint16_t al_unused_slot = 0xFFFF;
inline constexpr uint32_t al_slots_limit = 65534;  // slot numbers are below this
inline constexpr uint32_t al_extents_min = 67;
inline constexpr uint32_t al_extents_default = 1237;

using AlBlock = std::span<uint8_t, al_block_bytes>;
using ConstAlBlock = std::span<const uint8_t, al_block_bytes>;

enum class AlBlockType : uint16_t { update = 0, initialised = 0xFFFF };

struct AlUpdate {
    uint16_t slot = 0;
    uint32_t extent = al_free_label;  // the slot's new label
};

// One decoded block. Arrays are as on disk, unused entries included.
struct AlTransaction {
    uint32_t number = 0;
    uint32_t crc = 0;
    AlBlockType type = AlBlockType::update;
    uint16_t n_updates = 0;
    uint16_t context_size = 0;
    uint16_t context_start = 0;
    std::array<AlUpdate, al_updates_max> updates{};
    std::array<uint32_t, al_context_labels> context{};
};

// CRC-32C with start value 0 and no final inversion (meta data 8.2), over the block with its own field as 0.
uint32_t al_block_crc(ConstAlBlock block);

// Error: wrong magic or checksum.
Result<AlTransaction> decode_al_block(ConstAlBlock block);
// A block of a log that holds nothing (meta data 8.3).
void encode_initialised_al_block(AlBlock block);

// Where transaction `number` lives: block within the area, and sector on the meta data device.
uint64_t al_block_of(uint32_t number, AlStriping striping);
Sector al_sector_of(uint32_t number, const Layout& layout);

// How many slots a log of this size can serve, and a configured al-extents clamped to it (meta data 8.5).
uint32_t max_al_extents(AlStriping striping);
uint32_t clamp_al_extents(uint32_t configured, AlStriping striping);

// Builds the transactions of a running node. Holds the number and the context cursor, no labels: the caller
// passes the committed labels of its active set.
class AlWriter {
  public:
    // first_number may be anything if no update block is left in the ring (meta data 13.2).
    AlWriter(AlStriping striping, uint32_t nr_slots, uint32_t first_number = 0);

    // Fills `block` with the next transaction and moves the context cursor on (also when the write fails
    // later). `updates`: at most al_updates_max, may be empty. `committed_labels`: one per slot, as before
    // these updates. The block belongs at block_index() / sector().
    void build(std::span<const AlUpdate> updates, std::span<const uint32_t> committed_labels, AlBlock block);
    uint64_t block_index() const { return al_block_of(number_, striping_); }
    Sector sector(const Layout& layout) const { return al_sector_of(number_, layout); }
    // The block last built is durable: the next one gets the next number and place.
    void written() { ++number_; }

    uint32_t number() const { return number_; }
    uint32_t nr_slots() const { return nr_slots_; }
    AlStriping striping() const { return striping_; }

  private:
    AlStriping striping_;
    uint32_t nr_slots_;
    uint32_t number_;
    uint32_t cycle_ = 0;
};

enum class AlReplayOutcome : uint8_t {
    extents,  // update transactions were found; hot_extents is what they leave (may be empty)
    clean,    // initialised, nothing to apply
    no_data,  // not one valid block
    invalid,  // no update block, and more blocks are bad than one torn write explains
};

struct AlReplay {
    AlReplayOutcome outcome = AlReplayOutcome::clean;
    uint64_t blocks = 0;                // transactions the ring has room for
    uint64_t valid_blocks = 0;          // of these, with good magic and checksum
    uint64_t update_blocks = 0;         // of these, with updates
    uint32_t newest_number = 0;         // if update_blocks > 0
    uint32_t highest_slot = 0;          // highest slot number with a label seen
    uint64_t slots_out_of_range = 0;    // entries ignored because of an impossible slot number
    std::vector<uint32_t> hot_extents;  // ascending, without duplicates
};

// `area`: the whole log, striping.blocks() * 4096 bytes (meta data 8.7).
AlReplay replay_al(std::span<const uint8_t> area, AlStriping striping);

// The log that 8.3 wrote (meta data 8.8); `area` is 32 KiB, al_nr_extents from the superblock.
inline constexpr size_t al83_area_bytes = 32768;
AlReplay replay_al83(std::span<const uint8_t> area, uint32_t al_nr_extents);

enum class AlFormat : uint8_t { v84, v83, pmem };
// `area` holds at least the first two blocks.
AlFormat al_format(std::span<const uint8_t> area, bool magic_unclean, AlStriping striping);

}  // namespace duplex::meta
