#include "meta/layout.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>

#include <fmt/format.h>

#include "base/ensure.hpp"

namespace duplex::meta {

namespace {

constexpr uint64_t align_up(uint64_t value, uint64_t to) {
    return (value + to - 1) / to * to;
}

// One sector of bitmap describes this much data.
constexpr uint64_t data_sectors_per_bitmap_sector = 32768;

}  // namespace

Status check_striping(AlStriping striping) {
    if (striping.stripes == 0 || striping.stripe_size_4k == 0)
        return error("activity log of {} stripes of {} 4k blocks: neither may be 0", striping.stripes,
                     striping.stripe_size_4k);
    if (striping.blocks() < al_blocks_min)
        return error("activity log of {} 4k blocks is too small, the least is {}", striping.blocks(),
                     al_blocks_min);
    if (striping.blocks() > al_blocks_max)
        return error("activity log of {} 4k blocks is too big, the most is {}", striping.blocks(),
                     al_blocks_max);
    return Ok{};
}

uint64_t Layout::bitmap_room_sectors() const {
    const int64_t room = index.is_internal() ? int64_t{al_offset_sectors} - bm_offset_sectors
                                             : int64_t{md_size_sectors} - bm_offset_sectors;
    return room > 0 ? static_cast<uint64_t>(room) : 0;
}

Result<Sector> superblock_sector(MetaIndex index, uint64_t meta_capacity_sectors) {
    uint64_t sector = 0;
    if (index.is_internal()) {
        const uint64_t aligned = meta_capacity_sectors / 8 * 8;
        if (aligned < superblock_sectors)
            return error("a device of {} sectors has no room for a superblock", meta_capacity_sectors);
        return Sector(aligned - superblock_sectors);
    }
    if (index.is_slot()) sector = static_cast<uint64_t>(index.value()) * slot_sectors;
    if (sector + superblock_sectors > meta_capacity_sectors)
        return error("the superblock at sector {} lies outside a device of {} sectors", sector,
                     meta_capacity_sectors);
    return Sector(sector);
}

uint64_t internal_bitmap_sectors(uint64_t capacity_sectors) {
    return align_up(
        align_up(capacity_sectors, data_sectors_per_bitmap_sector) / data_sectors_per_bitmap_sector, 8);
}

Result<Layout> compute_layout(MetaIndex index, uint64_t meta_capacity_sectors, AlStriping striping) {
    if (Status s = check_striping(striping); !s) return s.error();
    if (index.is_slot() && !striping.is_default())
        return error("indexed meta data has 1 activity log stripe of 8 4k blocks, not {} of {}",
                     striping.stripes, striping.stripe_size_4k);
    if (meta_capacity_sectors > max_data_sectors_flexible)
        return error("a device of {} sectors is larger than the largest possible, {}", meta_capacity_sectors,
                     max_data_sectors_flexible);
    Result<Sector> superblock = superblock_sector(index, meta_capacity_sectors);
    if (!superblock) return superblock.error();

    const uint64_t al_sectors = striping.sectors();
    const uint64_t before_bitmap = superblock_sectors + al_sectors;
    uint64_t size = 0;
    uint64_t bitmap = 0;
    if (index.is_internal()) {
        bitmap = internal_bitmap_sectors(meta_capacity_sectors);
        size = before_bitmap + bitmap;
        if (size > superblock->value + superblock_sectors)
            return error("internal meta data of {} sectors does not fit a device of {} sectors", size,
                         meta_capacity_sectors);
    } else {
        size = index.is_slot() ? slot_sectors : meta_capacity_sectors;
        if (superblock->value + size > meta_capacity_sectors || size <= before_bitmap)
            return error("external meta data{} does not fit a device of {} sectors",
                         index.is_slot() ? fmt::format(" in slot {}", index.value()) : "",
                         meta_capacity_sectors);
    }
    if (size > std::numeric_limits<int32_t>::max() && (index.is_internal() || size > UINT32_MAX))
        return error("meta data of {} sectors is larger than its 32 bit fields can say", size);

    Layout layout;
    layout.index = index;
    layout.superblock = *superblock;
    layout.md_size_sectors = static_cast<uint32_t>(size);
    layout.al = striping;
    if (index.is_internal()) {
        layout.al_offset_sectors = -static_cast<int32_t>(al_sectors);
        layout.bm_offset_sectors = -static_cast<int32_t>(al_sectors + bitmap);
    } else {
        layout.al_offset_sectors = static_cast<int32_t>(superblock_sectors);
        layout.bm_offset_sectors = static_cast<int32_t>(before_bitmap);
    }
    return layout;
}

uint64_t max_data_sectors(const Layout& layout, uint64_t backing_capacity_sectors) {
    if (layout.index.is_slot()) return std::min(max_data_sectors_indexed, backing_capacity_sectors);
    if (layout.index.is_internal()) return std::min(max_data_sectors_flexible, layout.area_first().value);
    return std::min({max_data_sectors_flexible, backing_capacity_sectors,
                     layout.bitmap_room_sectors() * data_sectors_per_bitmap_sector});
}

EffectiveSize effective_size(const SizeInputs& in) {
    const uint64_t own = in.own_max_sectors;
    const uint64_t peer = !in.connected && in.forced ? own : in.peer_max_sectors;
    uint64_t size = 0;
    if (own != 0 && peer != 0) {
        size = std::min(own, peer);
    } else if (in.la_size_sectors != 0) {
        size = in.la_size_sectors;
        if (own != 0) size = std::min(size, own);
        if (peer != 0) size = std::min(size, peer);
    } else {
        size = own != 0 ? own : peer;
    }
    if (in.configured_sectors > size) return {size, true};
    return {in.configured_sectors != 0 ? in.configured_sectors : size, false};
}

}  // namespace duplex::meta
