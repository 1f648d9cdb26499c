#include "tools/drbdmeta/move.hpp"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "base/ensure.hpp"
#include "meta/activity_log.hpp"
#include "meta/bitmap.hpp"
#include "tools/drbdmeta/commands.hpp"
#include "tools/drbdmeta/exit_code.hpp"

namespace duplex::drbdmeta {

namespace {

constexpr uint64_t chunk_bytes = uint64_t{4} << 20;

// Copies towards higher addresses, from the end to the beginning: the areas may overlap.
Status copy_up(Device& device, uint64_t from_byte, uint64_t to_byte, uint64_t length_bytes) {
    ensure(to_byte >= from_byte);
    std::vector<uint8_t> chunk(std::min(chunk_bytes, length_bytes));
    for (uint64_t left = length_bytes; left > 0;) {
        const auto part = std::span(chunk).first(std::min(left, chunk_bytes));
        left -= part.size();
        if (Status s = device.read(from_byte + left, part); !s) return s;
        if (Status s = device.write(to_byte + left, part, "move_bitmap"); !s) return s;
    }
    return Ok{};
}

Status move_bitmap(Device& device, const meta::Layout& from, const meta::Layout& to) {
    const uint64_t old_bytes = from.bitmap_room_sectors() * sector_bytes;
    const uint64_t new_bytes = to.bitmap_room_sectors() * sector_bytes;
    const uint64_t target = byte_of(to.bitmap_first());
    if (Status s = copy_up(device, byte_of(from.bitmap_first()), target, old_bytes); !s) return s;
    return device.zero(target + old_bytes, new_bytes - old_bytes, BitmapInit::automatic, "move_bitmap");
}

// The copies may run over the old superblock. Until the new one is complete, a crash must leave one that
// knows that its bitmap cannot be trusted.
Status write_provisional(Device& device, Area area) {
    area.superblock.flags |= meta::flag::full_sync;
    if (Status s = write_superblock(device, area); !s) return s;
    return device.flush();
}

Status move(Device& device, const Area& old, const Area& area) {
    const Sector old_superblock = old.layout.superblock;
    const bool overrun = old_superblock + meta::superblock_sectors > area.layout.area_first();
    std::vector<uint8_t> log(old.layout.al.blocks() * meta::al_block_bytes);
    if (Status s = device.read(byte_of(old.layout.al_first()), log); !s) return s;
    if (overrun)
        if (Status s = write_provisional(device, area); !s) return s;
    if (Status s = device.write(byte_of(area.layout.al_first()), log, "move_activity_log"); !s) return s;
    if (Status s = move_bitmap(device, old.layout, area.layout); !s) return s;
    if (Status s = device.flush(); !s) return s;
    if (Status s = write_superblock(device, area); !s) return s;
    if (Status s = device.flush(); !s) return s;
    if (overrun) return Ok{};
    device.permit_writes(byte_of(old_superblock), meta::superblock_bytes);
    return device.zero(byte_of(old_superblock), meta::superblock_bytes, BitmapInit::pwrite,
                       "wipe_old_superblock");
}

}  // namespace

int move_internal(const Options& options, Device& device, const Area& old) {
    std::fflush(stdout);
    fmt::print(stderr, "Moving the internal meta data to its proper location\n");
    Result<meta::Layout> layout = meta::compute_layout(options.index, device.size_sectors(), old.layout.al);
    if (!layout) return fail(exit_io, layout.error());
    if (layout->superblock < old.layout.superblock || layout->bitmap_first() < old.layout.bitmap_first())
        return fail(exit_failed, error("{} became smaller, its meta data cannot be moved", device.name()));
    Area area = old;
    area.layout = *layout;
    meta::set_layout(area.superblock, *layout);
    permit_area(device, *layout);
    if (Status s = move(device, old, area); !s) return fail(exit_io, s.error());
    if (Status s = finish(device, options, area.superblock); !s) return fail(exit_io, s.error());
    fmt::print("Internal drbd meta data successfully moved.\n");
    return exit_ok;
}

int check_resize(const Options& options, Device& device) {
    Result<std::optional<Area>> found = find_area(device, options);
    if (!found) return fail(exit_io, found.error());
    if (*found) {
        if (!options.index.is_internal()) {
            forget_last_known(options);
            return exit_ok;
        }
        const std::optional<LastKnown> known = load_last_known(options);
        const uint64_t uuid = (*found)->superblock.device_uuid;
        if (known && known->size_bytes == device.size_bytes() && known->device_uuid == uuid) return exit_ok;
        Status s = store_last_known(options, {device.size_bytes(), device.name(), uuid});
        return s ? exit_ok : fail(exit_io, s.error());
    }
    if (!options.index.is_internal())
        return fail(exit_failed, error("Operation only supported for >= v8 internal meta data"));
    found = find_at_last_known_place(device, options);
    if (!found) return fail(exit_io, found.error());
    if (!*found) return fail(exit_failed, error("no suitable meta data found :("));
    return move_internal(options, device, **found);
}

}  // namespace duplex::drbdmeta
