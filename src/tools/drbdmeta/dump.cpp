// dump-md (meta data 16.4).
#include <array>
#include <bit>
#include <ctime>
#include <unistd.h>
#include <vector>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "base/byte_order.hpp"
#include "meta/activity_log.hpp"
#include "meta/bitmap.hpp"
#include "tools/drbdmeta/area.hpp"
#include "tools/drbdmeta/commands.hpp"
#include "tools/drbdmeta/exit_code.hpp"

namespace duplex::drbdmeta {

namespace {

constexpr unsigned verbosity_for_log = 10;
// Runs of equal words do not cross these windows, as in the reference's dumps.
constexpr uint64_t window_bytes = uint64_t{32} << 20;
constexpr uint64_t words_per_line = 4;
constexpr uint64_t words_per_heading = 32;
constexpr uint64_t kb_per_word = 64 * bit_bytes / 1024;

void print_header(const Options& options) {
    const std::time_t now = std::time(nullptr);
    std::array<char, 256> host{};
    gethostname(host.data(), host.size() - 1);
    fmt::print("# DRBD meta data dump\n# {:%Y-%m-%d %H:%M:%S %z} [{}]\n# {}> {}\n#\n\nversion \"v08\";\n\n",
               fmt::localtime(now), now, host.data(), options.command_line);
}

void print_offsets(const char* mark, const meta::Layout& layout) {
    fmt::print("{0} md_offset {1}\n{0} al_offset {2}\n{0} bm_offset {3}\n", mark, byte_of(layout.superblock),
               byte_of(layout.al_first()), byte_of(layout.bitmap_first()));
}

void print_position(const Device& device, const Options& options, const Area& area) {
    fmt::print("# md_size_sect {}\n", area.superblock.md_size_sectors);
    if (area.last_known) {
        fmt::print(
            "#\n### Device seems to have been resized!\n### dumping meta data from the last known position\n"
            "### current size of {}: {} byte\n### expected position of meta data:\n",
            device.name(), device.size_bytes());
        if (const auto expected =
                meta::compute_layout(options.index, device.size_sectors(), area.superblock.al))
            print_offsets("##", *expected);
        fmt::print("### last known size of {}: {} byte\n### adjusted position of meta data:\n",
                   area.last_known->device_name, area.last_known->size_bytes);
    }
    print_offsets("#", area.layout);
}

void print_superblock(const meta::Superblock& sb, uint64_t bitmap_bytes) {
    fmt::print("\nuuid {{\n    0x{:016X}; 0x{:016X}; 0x{:016X}; 0x{:016X};\n    flags 0x{:08X};\n}}\n",
               sb.uuids[0], sb.uuids[1], sb.uuids[2], sb.uuids[3], sb.flags);
    fmt::print("# al-extents {};\nla-size-sect {};\nbm-byte-per-bit {};\ndevice-uuid 0x{:016X};\n",
               sb.al_nr_extents, sb.la_size_sectors, sb.bm_bytes_per_bit, sb.device_uuid);
    fmt::print("la-peer-max-bio-size {};\nal-stripes {};\nal-stripe-size-4k {};\n# bm-bytes {};\n",
               sb.la_peer_max_bio_size_bytes, sb.al.stripes, sb.al.stripe_size_4k, bitmap_bytes);
}

// How many words from `i` on can be printed as a run of one value: whole lines, and more than one of them.
uint64_t run_length(std::span<const uint64_t> words, uint64_t i) {
    const uint64_t value = words[i];
    if (static_cast<uint32_t>(value) != value >> 32) return 0;
    uint64_t run = 1;
    while (i + run < words.size() && words[i + run] == value) ++run;
    run -= run % words_per_line;
    return run > words_per_line ? run : 0;
}

void print_words(std::span<const uint64_t> words, uint64_t first_word, fmt::memory_buffer& out) {
    for (uint64_t i = 0; i < words.size();) {
        const uint64_t position = first_word + i;
        fmt::format_to(std::back_inserter(out), "\n");
        if (position % words_per_heading == 0)
            fmt::format_to(std::back_inserter(out), "   # at {}kB\n", position * kb_per_word);
        fmt::format_to(std::back_inserter(out), "   ");
        if (const uint64_t run = run_length(words, i); run != 0) {
            fmt::format_to(std::back_inserter(out), " {} times 0x{:016X};", run, words[i]);
            i += run;
        } else {
            for (uint64_t end = i + words_per_line; i < end; ++i)
                fmt::format_to(std::back_inserter(out), " 0x{:016X};", words[i]);
        }
        if (out.size() > (size_t{1} << 20)) {
            std::fwrite(out.data(), 1, out.size(), stdout);
            out.clear();
        }
    }
}

Status print_bitmap(Device& device, const Area& area, uint64_t bitmap_bytes) {
    fmt::print("bm {{");
    fmt::memory_buffer out;
    std::vector<uint64_t> words;
    uint64_t bits_set = 0;
    // A flexible meta device may end inside the last page; what lies beyond reads as zero.
    const uint64_t on_device = std::min(bitmap_bytes, area.layout.bitmap_room_sectors() * sector_bytes);
    for (uint64_t at = 0; at < bitmap_bytes; at += window_bytes) {
        words.assign(std::min(window_bytes, bitmap_bytes - at) / 8, 0);
        const std::span bytes(reinterpret_cast<uint8_t*>(words.data()),
                              std::min(words.size() * 8, on_device > at ? on_device - at : 0));
        if (Status s = device.read(byte_of(area.layout.bitmap_first()) + at, bytes); !s) return s;
        bits_set += meta::count_bits(words);
        print_words(words, at / 8, out);
    }
    std::fwrite(out.data(), 1, out.size(), stdout);
    fmt::print("\n}}\n# bits-set {};\n", bits_set);
    return Ok{};
}

void print_transaction(uint64_t block, const meta::AlTransaction& tr) {
    if (tr.type == meta::AlBlockType::initialised) {
        fmt::print("#     block {:2} {{ INITIALIZED }}\n", block);
        return;
    }
    fmt::print("#     block {:2} {{\n# \tmagic: 0x69cb65a2\n# \ttype: {:#06x}\n# \ttr: {:10}\n", block,
               static_cast<uint16_t>(tr.type), tr.number);
    fmt::print("# \tactive set size: {}\n", tr.context_size);
    for (size_t i = 0; i < meta::al_context_labels && tr.context_start + i < tr.context_size; ++i)
        fmt::print("# \t{:2}: {:10} {:10}\n", i, tr.context_start + i, tr.context[i]);
    fmt::print("# \tupdates: {}\n", tr.n_updates);
    for (size_t i = 0; i < std::min<size_t>(tr.n_updates, meta::al_updates_max); ++i)
        fmt::print("# \t{:2}: {:10} {:10}\n", i, tr.updates[i].slot, tr.updates[i].extent);
    fmt::print("# \tcrc32c: {:#010x}\n#     }}\n", tr.crc);
}

Status print_log(Device& device, const Area& area) {
    std::vector<uint8_t> bytes(area.superblock.al.blocks() * meta::al_block_bytes);
    if (Status s = device.read(byte_of(area.layout.al_first()), bytes); !s) return s;
    fmt::print("# al {{\n");
    for (uint64_t block = 0; block < area.superblock.al.blocks(); ++block) {
        const uint64_t at = block * meta::al_block_bytes;
        Result<meta::AlTransaction> tr =
            meta::decode_al_block(std::span(bytes).subspan(at).first<meta::al_block_bytes>());
        if (tr)
            print_transaction(block, *tr);
        else
            fmt::print("#     block {:2} {{ INVALID }}\n", block);
    }
    fmt::print("# }}\n");
    const meta::AlReplay replay = meta::replay_al(bytes, area.superblock.al);
    if (replay.update_blocks > 0 && replay.highest_slot >= area.superblock.al_nr_extents)
        fmt::print("### CAUTION: the activity log names slot {}\n### CAUTION: but has al-extents {}\n",
                   replay.highest_slot, area.superblock.al_nr_extents);
    return Ok{};
}

}  // namespace

int dump_md(const Options& options, Device& device) {
    Result<std::optional<Area>> found = find_area(device, options);
    if (found && !*found) found = find_at_last_known_place(device, options);
    if (!found) return fail(exit_io, found.error());
    if (!*found) return fail(exit_failed, error("No valid meta data found"));
    const Area& area = **found;
    const bool clean = area.superblock.is_clean();
    if (!clean) fmt::print(stderr, "Found meta data is \"unclean\", please apply-al first\n");
    if (!clean && !options.force) return exit_failed;

    if (area.stored_la_size_sectors != 0)
        fmt::print("# la-size-sect was too big ({}), truncated ({})!\n", area.stored_la_size_sectors,
                   area.superblock.la_size_sectors);
    print_header(options);
    if (!clean)
        // Makes the dump unparsable on purpose.
        fmt::print(
            "This_is_an_unclean_meta_data_dump._Don't_trust_the_bitmap.\n"
            "# You should \"apply-al\" first, if you plan to restore this.\n\n");
    const uint64_t bitmap_bytes = meta::bitmap_bytes(bits_for(area.superblock.la_size_sectors));
    print_position(device, options, area);
    print_superblock(area.superblock, bitmap_bytes);
    if (Status s = print_bitmap(device, area, bitmap_bytes); !s) return fail(exit_io, s.error());
    if (options.verbose >= verbosity_for_log)
        if (Status s = print_log(device, area); !s) return fail(exit_io, s.error());
    return exit_ok;
}

}  // namespace duplex::drbdmeta
