// get-gi, show-gi, set-gi (meta data 16.1 to 16.3).
#include <charconv>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "meta/generation_text.hpp"
#include "tools/drbdmeta/area.hpp"
#include "tools/drbdmeta/ask.hpp"
#include "tools/drbdmeta/commands.hpp"
#include "tools/drbdmeta/exit_code.hpp"

namespace duplex::drbdmeta {

namespace {

namespace flag = meta::flag;

std::string gi_text(const meta::Superblock& sb) {
    return meta::generation_text(sb.uuids, sb.flags);
}

bool parse_number(std::string_view text, int base, uint64_t& value) {
    if (base == 16 && (text.starts_with("0x") || text.starts_with("0X"))) text.remove_prefix(2);
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    return problem == std::errc() && end == text.data() + text.size();
}

// Applies a GI text to the superblock; an empty field leaves its value (meta data 16.3).
Status apply_gi(std::string_view text, meta::Superblock& sb) {
    const size_t fields = sb.uuids.size() + meta::generation_flags.size();
    for (size_t field = 0; field < fields; ++field) {
        const size_t colon = text.find(':');
        const std::string_view word = text.substr(0, colon);
        uint64_t value = 0;
        if (field < sb.uuids.size()) {
            if (!word.empty() && !parse_number(word, 16, value)) return error("'{}' is not a number.", word);
            if (!word.empty()) sb.uuids[field] = value;
        } else if (!word.empty()) {
            if (!parse_number(word, 10, value)) return error("'{}' is not a number.", word);
            if (value > 1) return error("'{}' is not 0 or 1.", value);
            const uint32_t bit = meta::generation_flags[field - sb.uuids.size()];
            sb.flags = value == 1 ? sb.flags | bit : sb.flags & ~bit;
        }
        if (colon == std::string_view::npos) break;
        text.remove_prefix(colon + 1);
    }
    return Ok{};
}

}  // namespace

int get_gi(const Options& options, Device& device) {
    Result<std::optional<Area>> found = find_area(device, options);
    if (!found) return fail(exit_io, found.error());
    if (!*found) return exit_failed;
    fmt::print("{}\n", gi_text((*found)->superblock));
    return exit_ok;
}

int show_gi(const Options& options, Device& device) {
    Result<std::optional<Area>> found = find_area(device, options);
    if (!found) return fail(exit_io, found.error());
    if (!*found) return exit_failed;
    const meta::Superblock& sb = (*found)->superblock;
    fmt::print("{}meta-data: {}\n", meta::explained_generation_text(sb.uuids, sb.flags),
               sb.has(flag::al_clean) ? "clean" : "need apply-al");
    if (sb.la_size_sectors == 0) {
        fmt::print("zero size device -- never seen peer yet?\n");
        return exit_ok;
    }
    fmt::print("last agreed size: {} ({} sectors)\nlast agreed max bio size: {} Byte\n",
               pretty_size(sb.la_size_sectors * sector_bytes), sb.la_size_sectors,
               sb.la_peer_max_bio_size_bytes);
    return exit_ok;
}

int set_gi(const Options& options, Device& device) {
    Result<std::optional<Area>> found = find_area(device, options);
    if (!found) return fail(exit_io, found.error());
    if (!*found) return exit_failed;
    Area& area = **found;
    const std::string before = gi_text(area.superblock);
    if (Status s = apply_gi(options.arguments[0], area.superblock); !s) return fail(exit_io, s.error());
    fmt::print("previously {}\nset GI to  {}\n", before, gi_text(area.superblock));
    if (!confirmed(options, "Write new GI to disk?")) {
        fmt::print("Operation canceled.\n");
        return exit_ok;
    }
    permit_area(device, area.layout);
    if (Status s = write_superblock(device, area); !s) return fail(exit_io, s.error());
    if (Status s = finish(device, options, area.superblock); !s) return fail(exit_io, s.error());
    return exit_ok;
}

}  // namespace duplex::drbdmeta
