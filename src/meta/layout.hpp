// Where the parts of the meta data are and how large a device they can serve (meta data 3 and 4). Pure
// arithmetic on sectors; nothing here reads or writes a device.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.hpp"
#include "base/units.hpp"

namespace duplex::meta {

inline constexpr uint64_t superblock_sectors = 8;
inline constexpr uint64_t slot_sectors = 262144;  // one indexed slot: 128 MiB
inline constexpr uint64_t max_data_sectors_indexed = 8587575296;
inline constexpr uint64_t max_data_sectors_flexible = uint64_t{1} << 51;  // the kernel's limit
inline constexpr uint64_t min_flexible_meta_sectors = 2048;               // attach refuses less (112)
inline constexpr uint64_t min_meta_device_bytes = 69632;                  // the tool refuses less

// The "meta device index" of drbd.conf, drbdsetup and drbdmeta (meta data 3.1).
class MetaIndex {
  public:
    constexpr MetaIndex() = default;
    static constexpr MetaIndex internal() { return MetaIndex(-3); }
    static constexpr MetaIndex flexible() { return MetaIndex(-2); }
    // A fixed 128 MiB slot of an external device.
    static constexpr MetaIndex slot(uint32_t number) { return MetaIndex(static_cast<int32_t>(number)); }

    constexpr bool is_internal() const { return value_ == -3; }
    constexpr bool is_flexible() const { return value_ == -2; }
    constexpr bool is_slot() const { return value_ >= 0; }
    constexpr std::optional<uint32_t> slot_number() const {
        return is_slot() ? std::optional(static_cast<uint32_t>(value_)) : std::nullopt;
    }
    constexpr int32_t value() const { return value_; }
    constexpr bool operator==(const MetaIndex&) const = default;

  private:
    constexpr explicit MetaIndex(int32_t value) : value_(value) {}
    int32_t value_ = -3;
};

// The activity log's area as stripes of 4 KiB blocks (meta data 8.4).
struct AlStriping {
    uint32_t stripes = 1;
    uint32_t stripe_size_4k = 8;

    constexpr uint64_t blocks() const { return uint64_t{stripes} * stripe_size_4k; }
    constexpr uint64_t sectors() const { return blocks() * 8; }
    constexpr bool is_default() const { return stripes == 1 && stripe_size_4k == 8; }
    constexpr bool operator==(const AlStriping&) const = default;
};

inline constexpr uint64_t al_blocks_min = 8;
inline constexpr uint64_t al_blocks_max = 4194304;

// Error unless both numbers are set and their product is within al_blocks_min ... al_blocks_max.
Status check_striping(AlStriping striping);

// One meta data area on its device. Offsets are relative to the superblock, as on disk.
struct Layout {
    MetaIndex index;
    Sector superblock;  // on the meta data device
    int32_t al_offset_sectors = 0;
    int32_t bm_offset_sectors = 0;
    uint32_t md_size_sectors = 0;
    AlStriping al;

    Sector al_first() const { return at(al_offset_sectors); }
    Sector bitmap_first() const { return at(bm_offset_sectors); }
    Sector bitmap_page(uint64_t page) const { return bitmap_first() + page * 8; }
    uint64_t bitmap_room_sectors() const;
    // The area is [area_first, area_first + md_size_sectors). For internal meta data area_first is also the
    // first sector that data must not use.
    Sector area_first() const { return index.is_internal() ? bitmap_first() : superblock; }
    bool operator==(const Layout&) const = default;

  private:
    Sector at(int32_t offset) const {
        return Sector(static_cast<uint64_t>(static_cast<int64_t>(superblock.value) + offset));
    }
};

// Where the superblock of `index` is on a meta data device of this capacity (meta data 3.2). Error if the
// device is too small to contain it.
Result<Sector> superblock_sector(MetaIndex index, uint64_t meta_capacity_sectors);

// Sectors of bitmap that internal meta data reserves on a device of this capacity.
uint64_t internal_bitmap_sectors(uint64_t capacity_sectors);

// The layout that fresh meta data gets on this meta data device (meta data 4.1); also the one that a running
// node moves to when a device has changed its size. Error if the device is too small, if the numbers do not
// fit their 32 bits on disk, or for a slot with stripes other than 1 x 8, which no node could attach.
Result<Layout> compute_layout(MetaIndex index, uint64_t meta_capacity_sectors, AlStriping striping);

// "My maximum capacity": how many sectors of data the area can serve (meta data 4.3).
// backing_capacity_sectors is ignored for internal meta data, whose backing device is the meta data device.
uint64_t max_data_sectors(const Layout& layout, uint64_t backing_capacity_sectors);

// The size of the DRBD device (meta data 4.3).
struct SizeInputs {
    uint64_t configured_sectors = 0;  // disk-size; 0: none
    uint64_t own_max_sectors = 0;     // max_data_sectors(); 0: no disk
    uint64_t peer_max_sectors = 0;    // as announced; 0: unknown
    uint64_t la_size_sectors = 0;     // last agreed size from the superblock; 0: never attached
    bool connected = false;
    bool forced = false;  // resize without the peer
};
struct EffectiveSize {
    uint64_t size_sectors = 0;
    bool configured_too_big = false;  // disk-size exceeds what the disks allow; it was not followed
};
EffectiveSize effective_size(const SizeInputs& inputs);

}  // namespace duplex::meta
