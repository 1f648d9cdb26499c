// create-md (meta data 15.5).
#include <array>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "base/byte_order.hpp"
#include "tools/drbdmeta/area.hpp"
#include "tools/drbdmeta/ask.hpp"
#include "tools/drbdmeta/commands.hpp"
#include "tools/drbdmeta/existing_data.hpp"
#include "tools/drbdmeta/exit_code.hpp"
#include "tools/drbdmeta/move.hpp"

namespace duplex::drbdmeta {

namespace {

constexpr uint64_t v07_area_bytes = uint64_t{128} << 20;  // v07 internal meta data had a fixed place and size

// Meta data of another DRBD, found where ours goes or where v07 had it.
struct Foreign {
    std::string_view format;
    std::string_view kind;
    uint64_t at_byte;
};

// Empty if there is none.
Result<std::string_view> foreign_format(Device& device, uint64_t at_byte) {
    std::array<uint8_t, meta::superblock_bytes> block;
    if (Status s = device.read(at_byte, block); !s) return s.error();
    std::string_view format;
    if (load_be<uint32_t>(&block[28]) == meta::magic_v07) format = "v07";
    if (load_be<uint32_t>(&block[60]) == meta::magic_v09) format = "v09";
    return format;
}

Result<std::optional<Foreign>> find_foreign(Device& device, const Options& options, Sector superblock) {
    if (options.index.is_internal() && device.size_bytes() >= v07_area_bytes) {
        const uint64_t at = device.size_bytes() / 4096 * 4096 - v07_area_bytes;
        Result<std::string_view> format = foreign_format(device, at);
        if (!format) return format.error();
        if (*format == "v07") return std::optional<Foreign>({*format, "fixed-size", at});
    }
    Result<std::string_view> format = foreign_format(device, byte_of(superblock));
    if (!format) return format.error();
    if (format->empty()) return std::optional<Foreign>{};
    return std::optional<Foreign>({*format, "flexible-size", byte_of(superblock)});
}

void say_what_is_there(const Options& options, std::string_view format, std::string_view kind,
                       uint64_t at_byte) {
    if (!options.index.is_internal()) return;
    fmt::print(stderr,
               "You want me to create a v08 style flexible-size internal meta data block.\n"
               "There appears to be a {} {} internal meta data block\n"
               "already in place on {} at byte offset {}\n",
               format, kind, options.device, at_byte);
}

int cancelled() {
    fmt::print("Operation cancelled.\n");
    return exit_failed;
}

// Meta data of ours is there: overwrite it?
int ask_to_overwrite(const Options& options, const Area& found) {
    if (!options.index.is_internal()) {
        const bool yes =
            confirmed(options, "Valid meta data seems to be in place.\nDo you really want to overwrite?");
        return yes ? exit_ok : cancelled();
    }
    say_what_is_there(options, "v08", "flexible-size", byte_of(found.layout.superblock));
    if (options.striping() != found.superblock.al &&
        confirmed(options, "Do you want to change the activity log stripe settings *only*?"))
        return fail(exit_not_implemented, error("Sorry, not yet fully implemented\n"
                                                "Try dump-md > dump.txt; restore-md -s x -z y dump.txt"));
    return confirmed(options, "Do you really want to overwrite the existing meta-data?") ? exit_ok
                                                                                         : cancelled();
}

// Meta data of another version is there: replace it? The reference tool would convert; --force alone must not
// throw away what it would have kept.
int ask_to_replace(const Options& options, const Foreign& foreign) {
    say_what_is_there(options, foreign.format, foreign.kind, foreign.at_byte);
    if (options.force)
        return fail(exit_not_implemented,
                    error("\nConverting {} meta-data is not supported, and --force does not replace it.\n"
                          "Wipe it with the tools of the DRBD that made it, or call again without --force.",
                          foreign.format));
    const std::string question = fmt::format(
        "So you want me to replace the {} meta-data\nwith newly initialized v08 meta-data?", foreign.format);
    return confirmed(options, question) ? exit_ok : cancelled();
}

// The device has grown since its meta data was written. nullopt: go on as if there were none.
std::optional<int> offer_move(const Options& options, Device& device, const Area& old) {
    if (options.striping_given() && options.striping() != old.superblock.al)
        return fail(exit_usage,
                    error("Cannot move after offline resize and change AL-striping at the same time, yet."));
    // --force means fresh meta data here, as in the reference tool.
    if (options.force || !confirmed(options, "Move internal meta data from last-known position?"))
        return std::nullopt;
    Result<meta::Layout> layout = meta::compute_layout(options.index, device.size_sectors(), old.layout.al);
    if (!layout) return fail(exit_io, layout.error());
    if (const int code = check_for_existing_data(options, device, *layout); code != exit_ok) return code;
    return move_internal(options, device, old);
}

Status write_fresh(const Options& options, Device& device, const Area& area) {
    permit_area(device, area.layout);
    fmt::print("initializing activity log\n");
    if (Status s = initialise_activity_log(device, area.layout); !s) return s;
    const uint64_t bitmap_bytes = area.layout.bitmap_room_sectors() * sector_bytes;
    std::fflush(stdout);
    if (options.bitmap_init == BitmapInit::skip) {
        fmt::print(stderr, "SKIPPED initializing bitmap area\n");
    } else {
        fmt::print(stderr, "initializing bitmap ({}) to all zero\n", pretty_size(bitmap_bytes));
    }
    if (Status s = device.zero(byte_of(area.layout.bitmap_first()), bitmap_bytes, options.bitmap_init,
                               "zero_bitmap");
        !s)
        return s;
    // A superblock must not become readable before what it describes.
    if (Status s = device.flush(); !s) return s;
    fmt::print("Writing meta data...\n");
    return write_superblock(device, area);
}

int create_fresh(const Options& options, Device& device, const std::optional<Foreign>& foreign) {
    Result<meta::Layout> layout =
        meta::compute_layout(options.index, device.size_sectors(), options.striping());
    if (!layout) return fail(exit_io, layout.error());
    if (const int code = check_for_existing_data(options, device, *layout); code != exit_ok) return code;
    Area area;
    area.layout = *layout;
    meta::set_layout(area.superblock, *layout);
    area.superblock.la_peer_max_bio_size_bytes = options.peer_max_bio_size_bytes;
    if (Status s = write_fresh(options, device, area); !s) return fail(exit_io, s.error());
    if (foreign && foreign->at_byte != byte_of(layout->superblock)) {
        device.permit_writes(foreign->at_byte, meta::superblock_bytes);
        if (Status s = device.zero(foreign->at_byte, meta::superblock_bytes, BitmapInit::pwrite,
                                   "wipe_old_superblock");
            !s)
            return fail(exit_io, s.error());
    }
    if (Status s = finish(device, options, area.superblock); !s) return fail(exit_io, s.error());
    fmt::print("New drbd meta data block successfully created.\n");
    return exit_ok;
}

}  // namespace

int create_md(const Options& options, Device& device) {
    Result<std::optional<Area>> found = find_area(device, options);
    if (!found) return fail(exit_io, found.error());
    if (*found) {
        if (const int code = ask_to_overwrite(options, **found); code != exit_ok) return code;
        return create_fresh(options, device, std::nullopt);
    }
    Result<std::optional<Area>> old = find_at_last_known_place(device, options);
    if (!old) return fail(exit_io, old.error());
    if (*old)
        if (const std::optional<int> code = offer_move(options, device, **old)) return *code;
    Result<Sector> superblock = meta::superblock_sector(options.index, device.size_sectors());
    if (!superblock) return fail(exit_io, superblock.error());
    Result<std::optional<Foreign>> foreign = find_foreign(device, options, *superblock);
    if (!foreign) return fail(exit_io, foreign.error());
    if (*foreign)
        if (const int code = ask_to_replace(options, **foreign); code != exit_ok) return code;
    return create_fresh(options, device, *foreign);
}

}  // namespace duplex::drbdmeta
