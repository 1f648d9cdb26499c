#include "tools/drbdmeta/area.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include <fmt/format.h>

#include "base/byte_order.hpp"
#include "meta/activity_log.hpp"

namespace duplex::drbdmeta {

namespace {

using Block = std::array<uint8_t, meta::superblock_bytes>;

// Reads and checks a superblock at a place that is right for a device of `capacity_sectors`.
Result<std::optional<Area>> load(Device& device, const Options& options, Sector at,
                                 uint64_t capacity_sectors) {
    Block block;
    if (Status s = device.read(byte_of(at), block); !s) return s.error();
    const auto magic = load_be<uint32_t>(&block[60]);
    Result<meta::Superblock> superblock = meta::decode(block);
    Status valid = superblock ? meta::check_for_tool(*superblock, options.index, capacity_sectors)
                              : Status(superblock.error());
    if (!valid) {
        const bool has_magic = magic == meta::magic_v08_clean || magic == meta::magic_v08_unclean;
        if (has_magic || options.verbose > 0)
            fmt::print(stderr, "at byte offset {}: {}\n", byte_of(at), valid.error().text);
        return std::optional<Area>{};
    }
    Area area;
    area.superblock = *superblock;
    area.layout = meta::layout_of(*superblock, options.index, at);
    // The tool does not know the backing device of external meta data.
    const uint64_t most = meta::max_data_sectors(area.layout, UINT64_MAX);
    if (area.superblock.la_size_sectors > most) {
        area.stored_la_size_sectors = area.superblock.la_size_sectors;
        area.superblock.la_size_sectors = most;
    }
    return std::optional<Area>{area};
}

// Whether meta data found at the old place may be the one that was last known.
bool same_device(const Options& options, const LastKnown& last_known, const Area& area) {
    const uint64_t found = area.superblock.device_uuid;
    if (last_known.device_uuid == 0 || found == 0 || last_known.device_uuid == found) return true;
    fmt::print(stderr, "Last known and found uuid differ!?\n{:016X} != {:016X}\n{}\n", last_known.device_uuid,
               found,
               options.force ? "You --force'ed me to ignore that." : "You may --force me to ignore that.");
    return options.force;
}

}  // namespace

Result<std::optional<Area>> find_area(Device& device, const Options& options) {
    Result<Sector> at = meta::superblock_sector(options.index, device.size_sectors());
    if (!at) return at.error();
    return load(device, options, *at, device.size_sectors());
}

Result<std::optional<Area>> find_at_last_known_place(Device& device, const Options& options) {
    const std::optional<Area> nothing;
    if (!options.index.is_internal()) return nothing;
    const std::optional<LastKnown> last_known = load_last_known(options);
    if (!last_known || last_known->size_bytes == device.size_bytes()) return nothing;
    const uint64_t capacity = last_known->size_bytes / sector_bytes;
    Result<Sector> at = meta::superblock_sector(options.index, capacity);
    if (!at || byte_of(*at) + meta::superblock_bytes > device.size_bytes()) return nothing;  // it shrank
    Result<std::optional<Area>> found = load(device, options, *at, capacity);
    if (!found || !*found) return found;
    if (!same_device(options, *last_known, **found)) return nothing;
    (*found)->last_known = last_known;
    return found;
}

void permit_area(Device& device, const meta::Layout& layout) {
    device.permit_writes(byte_of(layout.area_first()), uint64_t{layout.md_size_sectors} * sector_bytes);
}

Status write_superblock(Device& device, const Area& area) {
    Block block;
    meta::encode(area.superblock, block);
    return device.write(byte_of(area.layout.superblock), block, "write_superblock");
}

Status initialise_activity_log(Device& device, const meta::Layout& layout) {
    std::vector<uint8_t> log(layout.al.blocks() * meta::al_block_bytes);
    for (size_t at = 0; at < log.size(); at += meta::al_block_bytes)
        meta::encode_initialised_al_block(std::span(log).subspan(at).first<meta::al_block_bytes>());
    return device.write(byte_of(layout.al_first()), log, "initialise_activity_log");
}

Status finish(Device& device, const Options& options, const meta::Superblock& superblock) {
    if (Status s = device.flush(); !s) return s;
    if (!options.index.is_internal()) {
        forget_last_known(options);
        return Ok{};
    }
    return store_last_known(options, {device.size_bytes(), device.name(), superblock.device_uuid});
}

std::string pretty_size(uint64_t bytes) {
    constexpr std::string_view units = "KMGTPE";
    uint64_t value = bytes / 1024;
    size_t unit = 0;
    while (value >= 10000 && unit + 1 < units.size()) {
        value = value / 1024 + (value / 512 % 2);
        ++unit;
    }
    return fmt::format("{} {}B", value, units[unit]);
}

}  // namespace duplex::drbdmeta
