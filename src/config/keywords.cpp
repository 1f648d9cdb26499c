#include "config/keywords.hpp"

#include <algorithm>
#include <array>

namespace duplex::config {
namespace {

struct Keyword {
    std::string_view word;
    int number;
};

constexpr std::array keywords{
    Keyword{"global", 258},
    Keyword{"resource", 259},
    Keyword{"on", 260},
    Keyword{"stacked-on-top-of", 261},
    Keyword{"ignore-on", 262},
    Keyword{"net", 263},
    Keyword{"disk", 264},
    Keyword{"skip", 265},
    Keyword{"syncer", 266},
    Keyword{"startup", 267},
    Keyword{"disable-ip-verification", 268},
    Keyword{"dialog-refresh", 269},
    Keyword{"handlers", 271},
    Keyword{"common", 272},
    Keyword{"address", 273},
    Keyword{"alternate-link-address", 274},
    Keyword{"device", 275},
    Keyword{"minor", 276},
    Keyword{"meta-disk", 277},
    Keyword{"flexible-meta-disk", 278},
    Keyword{"minor-count", 279},
    Keyword{"usage-count", 296},
    Keyword{"ask", 297},
    Keyword{"yes", 298},
    Keyword{"no", 299},
    Keyword{"_this_host", 300},
    Keyword{"_remote_host", 301},
    Keyword{"proxy", 302},
    Keyword{"inside", 303},
    Keyword{"outside", 304},
    Keyword{"plugin", 307},
    Keyword{"sci", 311},
    Keyword{"sdp", 312},
    Keyword{"ssocks", 313},
    Keyword{"ipv4", 314},
    Keyword{"ipv6", 315},
    Keyword{"include", 318},
    Keyword{"floating", 320},
    Keyword{"volume", 322},
    Keyword{"cmd-timeout-short", 323},
    Keyword{"cmd-timeout-medium", 324},
    Keyword{"cmd-timeout-long", 325},
    Keyword{"options", 327},
    Keyword{"udev-always-use-vnr", 328},
    Keyword{"stacked-timeouts", 294},
    Keyword{"become-primary-on", 294},
    Keyword{"discard-my-data", 317},
};

// 8.3 spellings.
struct OldName {
    std::string_view word;
    OptionGroup section;
    std::string_view name;  // empty: accepted and dropped
    bool negated;
};

constexpr std::array old_names{
    OldName{"rate", OptionGroup::disk, "resync-rate", false},
    OldName{"after", OptionGroup::disk, "resync-after", false},
    OldName{"no-disk-barrier", OptionGroup::disk, "disk-barrier", true},
    OldName{"no-disk-flushes", OptionGroup::disk, "disk-flushes", true},
    OldName{"no-disk-drain", OptionGroup::disk, "disk-drain", true},
    OldName{"no-md-flushes", OptionGroup::disk, "md-flushes", true},
    OldName{"no-tcp-cork", OptionGroup::net, "tcp-cork", true},
    OldName{"outdate-peer", OptionGroup::handlers, "fence-peer", false},
};

// The only flag among the words that mean nothing any more.
constexpr std::string_view dropped_disk_flag = "use-bmbv";

constexpr std::array dropped_words{
    std::string_view("delay-probe-volume"), std::string_view("delay-probe-interval"),
    std::string_view("throttle-threshold"), std::string_view("hold-off-threshold")};

constexpr std::array syncer_words{
    std::string_view("rate"),
    std::string_view("after"),
    std::string_view("al-extents"),
    std::string_view("c-plan-ahead"),
    std::string_view("c-delay-target"),
    std::string_view("c-fill-target"),
    std::string_view("c-max-rate"),
    std::string_view("c-min-rate"),
    std::string_view("csums-alg"),
    std::string_view("verify-alg"),
    std::string_view("use-rle"),
    std::string_view("cpu-mask"),
    std::string_view("on-no-data-accessible"),
};

template <typename Words>
bool contains(const Words& words, std::string_view word) {
    return std::ranges::find(words, word) != words.end();
}

const OldName* find_old_name(std::string_view word) {
    const auto* found = std::ranges::find(old_names, word, &OldName::word);
    return found == old_names.end() ? nullptr : found;
}

int option_number(OptionGroup group, bool is_flag) {
    switch (group) {
        case OptionGroup::disk:
            return is_flag ? 284 : 286;
        case OptionGroup::net:
            return is_flag ? 287 : 289;
        case OptionGroup::startup:
            return is_flag ? 292 : 293;
        case OptionGroup::handlers:
            return 295;
        case OptionGroup::proxy:
            return 306;
        case OptionGroup::resource:
            return 326;
        case OptionGroup::command:
            break;
    }
    return token_string;
}

// Words of the syncer section and of the proxy carry a second group in their number: cli 2.1.
int group_bits(std::string_view word) {
    if (find_option(OptionGroup::proxy, word) != nullptr) return 0x3000;
    return contains(syncer_words, word) ? 0x2000 : 0;
}

constexpr std::array file_groups{OptionGroup::disk,     OptionGroup::net,   OptionGroup::startup,
                                 OptionGroup::handlers, OptionGroup::proxy, OptionGroup::resource};

}  // namespace

std::optional<int> keyword_number(std::string_view word) {
    if (const auto* found = std::ranges::find(keywords, word, &Keyword::word); found != keywords.end()) {
        return found->number;
    }
    for (OptionGroup group : file_groups) {
        if (const Option* option = find_option(group, word)) {
            return option_number(group, option->type == OptionType::flag) | group_bits(word);
        }
    }
    if (const OldName* old = find_old_name(word)) {
        const int number = old->section == OptionGroup::disk && old->negated ? 285
                           : old->section == OptionGroup::net && old->negated
                               ? 288
                               : option_number(old->section, false);
        return number | group_bits(word);
    }
    if (contains(dropped_words, word)) return 321;
    if (word == dropped_disk_flag) return option_number(OptionGroup::disk, true);
    return std::nullopt;
}

std::optional<OptionWord> option_word(OptionGroup section, std::string_view word) {
    if (const Option* option = find_option(section, word)) {
        return OptionWord{option, option->type == OptionType::flag, false};
    }
    if (const OldName* old = find_old_name(word); old != nullptr && old->section == section) {
        return OptionWord{find_option(section, old->name), false, old->negated};
    }
    if (section == OptionGroup::disk && word == dropped_disk_flag) return OptionWord{nullptr, true, false};
    if (contains(dropped_words, word)) return OptionWord{};
    return std::nullopt;
}

std::optional<OptionWord> syncer_word(std::string_view word) {
    if (!contains(syncer_words, word)) return std::nullopt;
    for (OptionGroup group : {OptionGroup::disk, OptionGroup::net, OptionGroup::resource}) {
        if (std::optional<OptionWord> found = option_word(group, word)) return found;
    }
    return std::nullopt;
}

}  // namespace duplex::config
