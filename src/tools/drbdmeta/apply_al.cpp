// apply-al (meta data 8.7 to 8.9): turns what the activity log of a crashed Primary covers into out-of-sync
// bits.
#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include <fmt/format.h>

#include "meta/activity_log.hpp"
#include "meta/bitmap.hpp"
#include "tools/drbdmeta/area.hpp"
#include "tools/drbdmeta/commands.hpp"
#include "tools/drbdmeta/exit_code.hpp"

namespace duplex::drbdmeta {

namespace {

struct ReadLog {
    meta::AlFormat format = meta::AlFormat::v84;
    meta::AlReplay replay;
};

Result<ReadLog> read_log(Device& device, const Area& area) {
    const meta::AlStriping striping = area.superblock.al;
    std::vector<uint8_t> bytes(striping.blocks() * meta::al_block_bytes);
    if (Status s = device.read(byte_of(area.layout.al_first()), bytes); !s) return s.error();
    ReadLog log;
    log.format = meta::al_format(bytes, area.superblock.magic == meta::magic_v08_unclean, striping);
    if (log.format == meta::AlFormat::pmem)
        return error("the activity log is in the persistent memory format of DRBD 9, which is not supported");
    log.replay =
        log.format == meta::AlFormat::v83
            ? meta::replay_al83(std::span(bytes).first(meta::al83_area_bytes), area.superblock.al_nr_extents)
            : meta::replay_al(bytes, striping);
    return log;
}

// What the replay leaves to say; exit_ok if the log can be used or does not matter.
int judge(const ReadLog& log, bool log_matters) {
    const meta::AlReplay& replay = log.replay;
    const bool v84 = log.format == meta::AlFormat::v84;
    if (v84 && replay.valid_blocks != 0 && replay.valid_blocks != replay.blocks)
        fmt::print(stderr, "{} corrupt AL transactions found\n", replay.blocks - replay.valid_blocks);
    if (replay.slots_out_of_range != 0)
        fmt::print(stderr, "{} entries of the activity log name impossible slots, ignored\n",
                   replay.slots_out_of_range);
    if (!v84 && replay.valid_blocks == 0) fmt::print(stderr, "No usable activity log found.\n");
    ExitCode code = exit_ok;
    if (replay.outcome == meta::AlReplayOutcome::no_data) {
        fmt::print(stderr, "No usable activity log found. Do you need to create-md?\n");
        code = exit_failed;
    } else if (replay.outcome == meta::AlReplayOutcome::invalid) {
        fmt::print(stderr, "No valid AL update transaction found.\n");
        code = exit_al_unusable;
    }
    if (code == exit_ok || log_matters) return code;
    fmt::print(stderr, "Error ignored, no need to apply the AL\n");
    return exit_ok;
}

// Sets the bits of the hot extents page by page; the number of bits that were clear.
Result<uint64_t> mark_hot_extents(Device& device, const Area& area, std::span<const uint32_t> hot) {
    const uint64_t pages = meta::bitmap_pages(bits_for(area.superblock.la_size_sectors));
    std::array<uint8_t, meta::bitmap_page_bytes> bytes;
    uint64_t newly_set = 0;
    for (size_t i = 0; i < hot.size();) {
        const uint64_t page = meta::bitmap_page_of(AlExtent(hot[i]));
        if (page >= pages) {
            fmt::print(stderr, "extent {} is beyond the end of the bitmap, ignored\n", hot[i++]);
            continue;
        }
        // A flexible meta device may end inside the last page.
        const uint64_t room = (area.layout.bitmap_room_sectors() - page * 8) * sector_bytes;
        const auto part = std::span(bytes).first(std::min<uint64_t>(bytes.size(), room));
        const uint64_t at = byte_of(area.layout.bitmap_page(page));
        if (Status s = device.read(at, part); !s) return s.error();
        for (; i < hot.size() && meta::bitmap_page_of(AlExtent(hot[i])) == page; ++i)
            newly_set +=
                meta::mark_al_extent(part, AlExtent(hot[i] % meta::al_extents_per_bitmap_page)).value_or(0);
        if (Status s = device.write(at, part, "apply_al"); !s) return s.error();
    }
    return newly_set;
}

Status apply_hot_extents(Device& device, const Area& area, std::span<const uint32_t> hot) {
    if (hot.empty()) {
        fmt::print(stderr, "Nothing to do.\n");
        return Ok{};
    }
    Result<uint64_t> newly_set = mark_hot_extents(device, area, hot);
    if (!newly_set) return newly_set.error();
    fmt::print(stderr, "Marked additional {} as out-of-sync based on AL.\n",
               pretty_size(*newly_set * bit_bytes));
    return Ok{};
}

// Each step is durable before the next: a crash in between must not lose what the log says.
Status carry_out(Device& device, const Options& options, Area& area, const ReadLog& log, bool log_matters) {
    const meta::AlReplay& replay = log.replay;
    permit_area(device, area.layout);
    if (log_matters && replay.outcome == meta::AlReplayOutcome::extents) {
        if (Status s = apply_hot_extents(device, area, replay.hot_extents); !s) return s;
        if (Status s = device.flush(); !s) return s;
    }
    const bool log_used = replay.update_blocks > 0 || replay.outcome == meta::AlReplayOutcome::no_data ||
                          replay.outcome == meta::AlReplayOutcome::invalid ||
                          log.format == meta::AlFormat::v83;
    if (log_used) {
        if (Status s = initialise_activity_log(device, area.layout); !s) return s;
        if (Status s = device.flush(); !s) return s;
    }
    if (area.superblock.is_clean()) return Ok{};
    area.superblock.flags |= meta::flag::al_clean;
    area.superblock.magic = meta::magic_v08_clean;
    if (Status s = write_superblock(device, area); !s) return s;
    return finish(device, options, area.superblock);
}

}  // namespace

int apply_al(const Options& options, Device& device) {
    Result<std::optional<Area>> found = find_area(device, options);
    if (!found) return fail(exit_io, found.error());
    if (!*found) return fail(exit_failed, error("No valid meta data found"));
    Area& area = **found;
    Result<ReadLog> log = read_log(device, area);
    if (!log) return fail(exit_io, log.error());
    // Only a node that was Primary has written under the protection of its log.
    const bool log_matters = area.superblock.has(meta::flag::primary_ind);
    // Where everything is out of sync, there need not be one: meta data that were being moved may have none
    // yet (meta data 14.1).
    const bool log_needed = log_matters && !area.superblock.has(meta::flag::full_sync);
    if (const int code = judge(*log, log_needed); code != exit_ok) return code;
    if (Status s = carry_out(device, options, area, *log, log_matters); !s) return fail(exit_io, s.error());
    return exit_ok;
}

}  // namespace duplex::drbdmeta
