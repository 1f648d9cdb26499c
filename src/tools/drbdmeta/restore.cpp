// restore-md and verify-dump (meta data 16.4).
#include <algorithm>
#include <array>
#include <fstream>
#include <iostream>
#include <iterator>
#include <vector>

#include <fmt/format.h>

#include "tools/drbdmeta/area.hpp"
#include "tools/drbdmeta/ask.hpp"
#include "tools/drbdmeta/commands.hpp"
#include "tools/drbdmeta/dump_file.hpp"
#include "tools/drbdmeta/existing_data.hpp"
#include "tools/drbdmeta/exit_code.hpp"

namespace duplex::drbdmeta {

namespace {

constexpr size_t chunk_words = size_t{1} << 17;

// The file named on the command line, or else stdin.
std::optional<std::string> read_input(const Options& options) {
    std::ifstream file;
    if (!options.arguments.empty()) {
        file.open(options.arguments[0], std::ios::binary);
        if (!file) {
            fmt::print(stderr, "open of '{}' failed.\n", options.arguments[0]);
            return std::nullopt;
        }
    }
    std::istream& in = options.arguments.empty() ? std::cin : file;
    return std::string(std::istreambuf_iterator<char>(in), {});
}

// Writes the words of the dump as they come, then zeroes the rest of the bitmap's room.
class BitmapWriter {
  public:
    BitmapWriter(Device& device, const meta::Layout& layout)
        : device_(device),
          at_(byte_of(layout.bitmap_first())),
          end_(at_ + layout.bitmap_room_sectors() * sector_bytes) {
        chunk_.reserve(chunk_words);
    }

    Status add(DumpFile::Run run) {
        const uint64_t room = (end_ - at_) / 8 - chunk_.size();
        truncated_ |= run.count > room;
        for (uint64_t left = std::min(run.count, room); left > 0;) {
            const uint64_t now = std::min<uint64_t>(left, chunk_words - chunk_.size());
            chunk_.insert(chunk_.end(), now, run.word);
            left -= now;
            if (chunk_.size() == chunk_words)
                if (Status s = write_chunk(); !s) return s;
        }
        return Ok{};
    }
    Status finish() {
        while (chunk_.size() % (sector_bytes / 8) != 0) chunk_.push_back(0);
        if (Status s = write_chunk(); !s) return s;
        return device_.zero(at_, end_ - at_, BitmapInit::automatic, "restore_md");
    }
    bool truncated() const { return truncated_; }

  private:
    Status write_chunk() {
        if (chunk_.empty()) return Ok{};
        const std::span bytes(reinterpret_cast<const uint8_t*>(chunk_.data()), chunk_.size() * 8);
        if (Status s = device_.write(at_, bytes, "restore_md"); !s) return s;
        at_ += bytes.size();
        chunk_.clear();
        return Ok{};
    }

    Device& device_;
    uint64_t at_;
    uint64_t end_;
    std::vector<uint64_t> chunk_;
    bool truncated_ = false;
};

meta::Superblock superblock_from(const DumpFile& dump, const meta::Layout& layout) {
    meta::Superblock sb;
    sb.la_size_sectors = dump.la_size_sectors;
    sb.uuids = dump.uuids;
    sb.device_uuid = dump.device_uuid;
    sb.flags = dump.flags;
    sb.la_peer_max_bio_size_bytes = dump.la_peer_max_bio_size_bytes;
    meta::set_layout(sb, layout);
    const uint64_t most = meta::max_data_sectors(layout, UINT64_MAX);
    if (sb.la_size_sectors > most) {
        fmt::print("# la-size-sect was too big ({}), truncated ({})!\n", sb.la_size_sectors, most);
        sb.la_size_sectors = most;
    }
    return sb;
}

Status write_all(Device& device, const Options& options, const DumpFile& dump, const Area& area) {
    permit_area(device, area.layout);
    BitmapWriter writer(device, area.layout);
    for (const DumpFile::Run& run : dump.bitmap)
        if (Status s = writer.add(run); !s) return s;
    if (Status s = writer.finish(); !s) return s;
    if (writer.truncated()) fmt::print(stderr, "Bitmap info too large, truncated!\n");
    if (Status s = device.flush(); !s) return s;
    if (Status s = write_superblock(device, area); !s) return s;
    return finish(device, options, area.superblock);
}

}  // namespace

int restore_md(const Options& options, Device& device) {
    const std::optional<std::string> text = read_input(options);
    if (!text) return exit_usage;
    Result<std::optional<Area>> found = find_area(device, options);
    if (!found) return fail(exit_io, found.error());
    if (*found && !confirmed(options, "Valid meta-data in place, overwrite?")) return exit_failed;
    fmt::print(stderr, "reinitializing\n");
    // Nothing is written before the whole dump has been understood.
    Result<DumpFile> dump = parse_dump(*text);
    if (!dump) return fail(exit_io, dump.error());
    if (options.striping_given()) {
        fmt::print(stderr, "override activity log striping from commandline\n");
        dump->al = options.striping();
    }
    Result<meta::Layout> layout = meta::compute_layout(options.index, device.size_sectors(), dump->al);
    if (!layout) return fail(exit_io, layout.error());
    if (const int code = check_for_existing_data(options, device, *layout); code != exit_ok) return code;
    Area area;
    area.layout = *layout;
    area.superblock = superblock_from(*dump, *layout);
    if (Status s = write_all(device, options, *dump, area); !s) return fail(exit_io, s.error());
    fmt::print("Successfully restored meta data\n");
    return exit_ok;
}

int verify_dump(const Options& options) {
    const std::optional<std::string> text = read_input(options);
    if (!text) return exit_usage;
    Result<DumpFile> dump = parse_dump(*text);
    if (!dump) return fail(exit_io, dump.error());
    // There is no device here whose bitmap could serve any size.
    if (dump->la_size_sectors != 0)
        fmt::print("# la-size-sect was too big ({}), truncated (0)!\n", dump->la_size_sectors);
    fmt::print("input file parsed ok\n");
    return exit_ok;
}

}  // namespace duplex::drbdmeta
