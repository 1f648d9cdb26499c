// The commands that look at or change a few fields of the superblock (meta data 15.7).
#include <charconv>

#include <fmt/format.h>

#include "tools/drbdmeta/area.hpp"
#include "tools/drbdmeta/ask.hpp"
#include "tools/drbdmeta/commands.hpp"
#include "tools/drbdmeta/exit_code.hpp"

namespace duplex::drbdmeta {

namespace {

namespace flag = meta::flag;

int write_changed(const Options& options, Device& device, const Area& area) {
    permit_area(device, area.layout);
    if (Status s = write_superblock(device, area); !s) return fail(exit_io, s.error());
    if (Status s = finish(device, options, area.superblock); !s) return fail(exit_io, s.error());
    return exit_ok;
}

}  // namespace

int outdate(const Options& options, Device& device) {
    Result<std::optional<Area>> found = find_area(device, options);
    if (!found) return fail(exit_io, found.error());
    if (!*found) return exit_failed;
    Area& area = **found;
    if (!area.superblock.has(flag::consistent))
        return fail(exit_inconsistent, error("Device is inconsistent."));
    area.superblock.flags &= ~flag::was_up_to_date;
    return write_changed(options, device, area);
}

int invalidate(const Options& options, Device& device) {
    Result<std::optional<Area>> found = find_area(device, options);
    if (!found) return fail(exit_io, found.error());
    if (!*found) return exit_failed;
    Area& area = **found;
    area.superblock.flags &= ~(flag::consistent | flag::was_up_to_date);
    area.superblock.flags |= flag::full_sync;
    return write_changed(options, device, area);
}

int dstate(const Options& options, Device& device) {
    Result<std::optional<Area>> found = find_area(device, options);
    if (!found) return fail(exit_io, found.error());
    if (!*found) return fail(exit_failed, error("No valid meta data found"));
    const meta::Superblock& sb = (*found)->superblock;
    const char* state = !sb.has(flag::consistent)       ? "Inconsistent"
                        : !sb.has(flag::was_up_to_date) ? "Outdated"
                        : sb.has(flag::peer_out_dated)  ? "UpToDate"
                                                        : "Consistent";
    fmt::print("{}\n", state);
    return exit_ok;
}

int read_dev_uuid(const Options& options, Device& device) {
    Result<std::optional<Area>> found = find_area(device, options);
    if (!found) return fail(exit_io, found.error());
    if (!*found) return exit_failed;
    fmt::print("{:016X}\n", (*found)->superblock.device_uuid);
    return exit_ok;
}

int write_dev_uuid(const Options& options, Device& device) {
    Result<std::optional<Area>> found = find_area(device, options);
    if (!found) return fail(exit_io, found.error());
    if (!*found) return exit_failed;
    std::string_view text = options.arguments[0];
    if (text.starts_with("0x") || text.starts_with("0X")) text.remove_prefix(2);
    uint64_t uuid = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), uuid, 16);
    if (problem != std::errc() || end != text.data() + text.size())
        return fail(exit_io, error("'{}' is not a number.", options.arguments[0]));
    (*found)->superblock.device_uuid = uuid;
    return write_changed(options, device, **found);
}

int wipe_md(const Options& options, Device& device) {
    Result<std::optional<Area>> found = find_area(device, options);
    if (!found) return fail(exit_io, found.error());
    if (!*found) return fail(exit_ok, error("There appears to be no drbd meta data to wipe out?"));
    if (!confirmed(options, "Do you really want to wipe out the DRBD meta data?")) {
        fmt::print("Operation cancelled.\n");
        return exit_failed;
    }
    fmt::print("Wiping meta data...\n");
    const meta::Layout& layout = (*found)->layout;
    permit_area(device, layout);
    if (Status s =
            device.zero(byte_of(layout.superblock), meta::superblock_bytes, BitmapInit::pwrite, "wipe_md");
        !s)
        return fail(exit_io, s.error());
    if (Status s = device.flush(); !s) return fail(exit_io, s.error());
    forget_last_known(options);
    fmt::print("DRBD meta data block successfully wiped out.\n");
    return exit_ok;
}

}  // namespace duplex::drbdmeta
