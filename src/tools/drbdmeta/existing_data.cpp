#include "tools/drbdmeta/existing_data.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <blkid/blkid.h>
#include <fmt/format.h>

#include "base/byte_order.hpp"
#include "tools/drbdmeta/area.hpp"
#include "tools/drbdmeta/ask.hpp"
#include "tools/drbdmeta/exit_code.hpp"
#include "tools/drbdmeta/program.hpp"

namespace duplex::drbdmeta {

namespace {

// Beginning of the device that is looked at; nothing beyond it decides in the reference tool.
constexpr size_t probed_bytes = 68 * 1024;

enum class Class : uint8_t { nothing, some_data, sized, swap, physical_volume };

struct Existing {
    Class what = Class::nothing;
    std::string name;
    std::optional<uint64_t> used_bytes;
    std::string details;  // what libblkid makes of it, where the table below has no name
};

bool has(std::span<const uint8_t> bytes, size_t at, std::string_view text) {
    return at + text.size() <= bytes.size() && std::memcmp(bytes.data() + at, text.data(), text.size()) == 0;
}

Existing sized(std::string name, uint64_t blocks, uint64_t block_bytes) {
    return {Class::sized, std::move(name), blocks * block_bytes, {}};
}

bool is_swap(std::span<const uint8_t> b) {
    for (size_t end : {size_t{4096}, size_t{8192}})
        if (has(b, end - 10, "SWAP-SPACE") || has(b, end - 10, "SWAPSPACE2")) return true;
    return false;
}

// The signatures of meta data 15.6; the first match wins.
std::optional<Existing> by_signature(std::span<const uint8_t> b) {
    const uint8_t* at = b.data();
    if (is_swap(b)) return Existing{Class::swap, "swap space signature", {}, {}};
    if (has(b, 0x218, "LVM2"))
        return Existing{Class::physical_volume, "LVM2 physical volume signature", {}, {}};
    if (load_le<uint16_t>(at + 0x438) == 0xEF53) {
        const uint64_t block =
            std::min<uint64_t>(uint64_t{1024} << std::min(load_le<uint32_t>(at + 0x418), 10U), 4096);
        const bool journal = (at[0x45C] & 4) != 0;
        return sized(journal ? "ext3 filesystem" : "ext2 filesystem", load_le<uint32_t>(at + 0x404), block);
    }
    if (load_be<uint32_t>(at) == 0x58465342)
        return sized("xfs filesystem", load_be<uint64_t>(at + 8), load_be<uint32_t>(at + 4));
    if (has(b, 0x8000, "JFS1"))
        return sized("JFS filesystem", load_le<uint64_t>(at + 0x8008), load_le<uint32_t>(at + 0x8018));
    if (has(b, 0x10034, "ReIsErFs") || has(b, 0x10034, "ReIsEr2Fs"))
        return sized("reiser filesystem", load_le<uint32_t>(at + 0x10000), load_le<uint16_t>(at + 0x1002C));
    return std::nullopt;
}

// All that libblkid recognises, wherever on the device; "" if nothing. DRBD's own meta data does not count.
std::string by_blkid(const std::string& device) {
    const std::unique_ptr<std::remove_pointer_t<blkid_probe>, decltype(&blkid_free_probe)> probe(
        blkid_new_probe_from_filename(device.c_str()), &blkid_free_probe);
    if (!probe) return {};
    blkid_probe_enable_superblocks(probe.get(), 1);
    blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_TYPE);
    blkid_probe_enable_partitions(probe.get(), 1);
    std::string names;
    while (blkid_do_probe(probe.get()) == 0) {
        for (const char* key : {"TYPE", "PTTYPE"}) {
            const char* value = nullptr;
            if (blkid_probe_lookup_value(probe.get(), key, &value, nullptr) != 0) continue;
            const std::string_view name = value;
            if (name.starts_with("drbd")) continue;
            if (!names.empty()) names += ", ";
            names += name;
            if (std::string_view(key) == "PTTYPE") names += " partition table";
        }
    }
    return names;
}

std::optional<uint64_t> physical_volume_bytes(const std::string& device) {
    const Answer answer =
        run_program({"pvs", "--noheadings", "--nosuffix", "--units", "s", "-o", "pv_size", device});
    const size_t first = answer.text.find_first_not_of(" \t\n");
    uint64_t sectors = 0;
    if (answer.exit_code != 0 || first == std::string::npos) return std::nullopt;
    const char* begin = answer.text.data() + first;
    if (std::from_chars(begin, answer.text.data() + answer.text.size(), sectors).ec != std::errc())
        return std::nullopt;
    return sectors * sector_bytes;
}

Result<Existing> look(Device& device) {
    std::vector<uint8_t> bytes(std::min<uint64_t>(probed_bytes, device.size_bytes()));
    if (Status s = device.read(0, bytes); !s) return s.error();
    bytes.resize(probed_bytes);
    std::optional<Existing> known = by_signature(bytes);
    if (known && known->what == Class::physical_volume)
        known->used_bytes = physical_volume_bytes(device.name());
    if (known) return *known;
    Existing existing;
    existing.details = by_blkid(device.name());
    const bool all_zero = std::ranges::all_of(bytes, [](uint8_t byte) { return byte == 0; });
    if (!all_zero || !existing.details.empty())
        existing = {Class::some_data, "some data", {}, existing.details};
    return existing;
}

constexpr std::string_view would_be_truncated =
    "Device size would be truncated, which\n"
    "would corrupt data and result in\n"
    "'access beyond end of device' errors.\n";
constexpr std::string_view zero_it_out =
    "If you want me to do this, you need to zero out the first part\n"
    "of the device (destroy the content).\n"
    "You should be very sure that you mean it.\n"
    "Operation refused.\n\n";
constexpr std::string_view three_ways =
    "You need to either\n"
    "   * use external meta data (recommended)\n"
    "   * shrink that filesystem first\n"
    "   * zero out the device (destroy the filesystem)\n"
    "Operation refused.\n\n";

int ask_to_proceed(const Options& options) {
    if (confirmed(options, "Do you want to proceed?")) return exit_ok;
    fmt::print("Operation canceled.\n");
    return exit_failed;
}

int refuse_unless_ignored(const Options& options) {
    if (options.ignore_sanity_checks) {
        fmt::print("\nIgnoring sanity check on user request.\n\n");
        return exit_ok;
    }
    fmt::print("{}", zero_it_out);
    return exit_refused;
}

int decide_external(const Options& options) {
    fmt::print("\nThis would corrupt existing data.\n");
    return refuse_unless_ignored(options);
}

int decide_internal(const Options& options, const Existing& existing, uint64_t usable_bytes) {
    if (existing.used_bytes) fmt::print("{:12} kB data area apparently used\n", *existing.used_bytes / 1024);
    fmt::print("{:12} kB left usable by current configuration\n", usable_bytes / 1024);
    if (!existing.used_bytes) {
        if (existing.what == Class::physical_volume)
            fmt::print("Could not determine the size of the actually used data area.\n\n");
        fmt::print("{}", would_be_truncated);
        return refuse_unless_ignored(options);
    }
    if (*existing.used_bytes > usable_bytes) {
        fmt::print("\n{}{}", would_be_truncated, three_ways);
        return exit_refused;
    }
    fmt::print(
        "\nEven though it looks like this would place the new meta data into\n"
        "unused space, you still need to confirm, as this is only a guess.\n");
    return ask_to_proceed(options);
}

}  // namespace

int check_for_existing_data(const Options& options, Device& device, const meta::Layout& layout) {
    Result<Existing> existing = look(device);
    if (!existing) return fail(exit_io, existing.error());
    if (existing->what == Class::nothing) return exit_ok;
    fmt::print("md_offset {}\nal_offset {}\nbm_offset {}\n\nFound {}\n", byte_of(layout.superblock),
               byte_of(layout.al_first()), byte_of(layout.bitmap_first()), existing->name);
    if (existing->what == Class::some_data) {
        if (!existing->details.empty()) fmt::print("    libblkid recognises: {}\n", existing->details);
        fmt::print("\n ==> This might destroy existing data! <==\n");
        return ask_to_proceed(options);
    }
    if (!options.index.is_internal()) return decide_external(options);
    return decide_internal(options, *existing, meta::max_data_sectors(layout, 0) * sector_bytes);
}

}  // namespace duplex::drbdmeta
