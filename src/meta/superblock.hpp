// The v08 superblock: 4 KiB, big endian (meta data 5 to 7).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "base/result.hpp"
#include "meta/layout.hpp"

namespace duplex::meta {

inline constexpr size_t superblock_bytes = 4096;
using SuperblockBytes = std::span<uint8_t, superblock_bytes>;
using ConstSuperblockBytes = std::span<const uint8_t, superblock_bytes>;

inline constexpr uint32_t magic_v07 = 0x8374026A;
inline constexpr uint32_t magic_v08_clean = 0x8374026B;
inline constexpr uint32_t magic_v08_unclean = 0x8374026C;
inline constexpr uint32_t magic_v09 = 0x8374026D;

// Bits of Superblock::flags (meta data 6). Bits without a name here are kept as they are.
namespace flag {
inline constexpr uint32_t consistent = 0x001;
inline constexpr uint32_t primary_ind = 0x002;
inline constexpr uint32_t connected_ind = 0x004;
inline constexpr uint32_t full_sync = 0x008;
inline constexpr uint32_t was_up_to_date = 0x010;
inline constexpr uint32_t peer_out_dated = 0x020;
inline constexpr uint32_t crashed_primary = 0x040;
inline constexpr uint32_t al_clean = 0x080;
inline constexpr uint32_t al_disabled = 0x100;
}  // namespace flag

inline constexpr uint64_t uuid_just_created = 4;
inline constexpr uint64_t uuid_new_bitmap_offset = 0x0001000000000000;
inline constexpr uint32_t al_nr_extents_fresh = 257;  // what create-md writes

// Positions in Superblock::uuids; the order on disk, in dumps and on the wire.
enum UuidSlot : size_t { uuid_current = 0, uuid_bitmap = 1, uuid_history1 = 2, uuid_history2 = 3 };

struct Superblock {
    uint64_t la_size_sectors = 0;
    std::array<uint64_t, 4> uuids{uuid_just_created, 0, 0, 0};
    uint64_t device_uuid = 0;
    uint32_t flags = flag::al_clean;
    uint32_t magic = magic_v08_clean;
    uint32_t md_size_sectors = 0;
    int32_t al_offset_sectors = 0;
    uint32_t al_nr_extents = al_nr_extents_fresh;
    int32_t bm_offset_sectors = 0;
    uint32_t bm_bytes_per_bit = 4096;
    uint32_t la_peer_max_bio_size_bytes = 0;
    AlStriping al;

    bool has(uint32_t flag_bits) const { return (flags & flag_bits) == flag_bits; }
    // The activity log needs no apply-al: magic and flag must both say so (meta data 5.3).
    bool is_clean() const { return magic == magic_v08_clean && has(flag::al_clean); }
    bool operator==(const Superblock&) const = default;
};

// Writes the whole block, unused bytes zero.
void encode(const Superblock& superblock, SuperblockBytes block);

// Reads a block with either v08 magic. Errors: not v08 (names another version where there is one),
// bm_bytes_per_bit other than 4096, impossible activity log stripes. Stripes 0 x 0, as 8.3 left them, read as
// 1 x 8. Offsets are not checked here.
Result<Superblock> decode(ConstSuperblockBytes block);

// The layout a superblock describes, at the place where it was found.
Layout layout_of(const Superblock& superblock, MetaIndex index, Sector found_at);
// Takes offsets, size and stripes from the layout.
void set_layout(Superblock& superblock, const Layout& layout);

// What attach finds out from a superblock, with the return code of the 8.4 netlink interface (meta data 5.2):
// 101 fine, 165 unclean, 119 invalid. `superblock` is valid only with 101, `text` only without.
struct AttachCheck {
    uint16_t return_code = 101;
    std::string text;
    Superblock superblock;
};
AttachCheck check_for_attach(ConstSuperblockBytes block, MetaIndex index, uint64_t meta_capacity_sectors);

// The stricter rules of the tool (meta data 5.2, end): offsets and sizes must be those of a fresh layout on a
// device of this capacity.
Status check_for_tool(const Superblock& superblock, MetaIndex index, uint64_t meta_capacity_sectors);

}  // namespace duplex::meta
