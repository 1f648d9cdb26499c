#include "config/options.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <type_traits>
#include <vector>

#include "base/ensure.hpp"
#include "config/quote.hpp"

namespace duplex::config {
namespace {

template <typename>
struct MemberOf;
template <typename Owner, typename T>
struct MemberOf<T Owner::*> {
    using owner = Owner;
    using type = T;
};
template <auto member>
using owner_of = typename MemberOf<decltype(member)>::owner;
template <auto member>
using type_of = typename MemberOf<decltype(member)>::type;

template <typename Options>
struct GroupOf;
template <>
struct GroupOf<ResourceOptions> {
    static constexpr OptionGroup value = OptionGroup::resource;
};
template <>
struct GroupOf<NetOptions> {
    static constexpr OptionGroup value = OptionGroup::net;
};
template <>
struct GroupOf<DiskOptions> {
    static constexpr OptionGroup value = OptionGroup::disk;
};
template <>
struct GroupOf<StartupOptions> {
    static constexpr OptionGroup value = OptionGroup::startup;
};
template <>
struct GroupOf<CommandOptions> {
    static constexpr OptionGroup value = OptionGroup::command;
};

template <auto member>
Value get_member(const owner_of<member>& options) {
    if constexpr (std::is_same_v<type_of<member>, std::string>) {
        return options.*member;
    } else {
        return static_cast<int64_t>(options.*member);
    }
}

template <auto member>
void set_member(owner_of<member>& options, const Value& value) {
    if constexpr (std::is_same_v<type_of<member>, std::string>) {
        options.*member = std::get<std::string>(value);
    } else {
        options.*member = static_cast<type_of<member>>(std::get<int64_t>(value));
    }
}

template <auto member>
int64_t default_of() {
    return static_cast<int64_t>(owner_of<member>{}.*member);
}

template <auto member>
Field<owner_of<member>> field(Option option) {
    option.group = GroupOf<owner_of<member>>::value;
    return {option, get_member<member>, set_member<member>};
}

// Not constants of the compiler: clang 14 cannot evaluate std::string members at compile time.

enum Checked : bool { in_setup_only = false, in_files = true };

template <auto member>
auto number(std::string_view name, NumberUnit unit, int64_t min, int64_t max, Checked checked,
            std::string_view show_comment = {}, RangeRule rule = RangeRule::refuse) {
    Option option;
    option.name = name;
    option.type = OptionType::number;
    option.unit = unit;
    option.min = min;
    option.max = max;
    option.checked_in_files = checked;
    option.show_comment = show_comment;
    option.range_rule = rule;
    option.default_number = default_of<member>();
    return field<member>(option);
}

template <typename Options>
Field<Options> attach_only(Field<Options> field) {
    field.option.attach_only = true;
    return field;
}

template <auto member>
auto flag(std::string_view name) {
    Option option;
    option.name = name;
    option.type = OptionType::flag;
    option.max = 1;
    option.default_number = default_of<member>();
    return field<member>(option);
}

template <auto member>
auto word(std::string_view name, std::span<const EnumWord> words) {
    Option option;
    option.name = name;
    option.type = OptionType::enumeration;
    option.words = words;
    option.default_number = default_of<member>();
    return field<member>(option);
}

template <auto member>
auto text(std::string_view name, std::size_t max_length) {
    Option option;
    option.name = name;
    option.type = OptionType::text;
    option.max_length = max_length;
    return field<member>(option);
}

template <auto member>
auto address(std::string_view name) {
    auto made = text<member>(name, 128);
    made.option.type = OptionType::address;
    return made;
}

template <typename Enum>
constexpr EnumWord value_word(std::string_view name, Enum value) {
    return {name, static_cast<uint8_t>(value)};
}

constexpr std::array protocol_words{value_word("A", Protocol::a), value_word("B", Protocol::b),
                                    value_word("C", Protocol::c)};
constexpr std::array after_sb_0pri_words{
    value_word("disconnect", AfterSplitBrain::disconnect),
    value_word("discard-younger-primary", AfterSplitBrain::discard_younger_primary),
    value_word("discard-older-primary", AfterSplitBrain::discard_older_primary),
    value_word("discard-zero-changes", AfterSplitBrain::discard_zero_changes),
    value_word("discard-least-changes", AfterSplitBrain::discard_least_changes),
    value_word("discard-local", AfterSplitBrain::discard_local),
    value_word("discard-remote", AfterSplitBrain::discard_remote)};
constexpr std::array after_sb_1pri_words{
    value_word("disconnect", AfterSplitBrain::disconnect),
    value_word("consensus", AfterSplitBrain::consensus),
    value_word("discard-secondary", AfterSplitBrain::discard_secondary),
    value_word("call-pri-lost-after-sb", AfterSplitBrain::call_pri_lost_after_sb),
    value_word("violently-as0p", AfterSplitBrain::violently_as0p)};
constexpr std::array after_sb_2pri_words{
    value_word("disconnect", AfterSplitBrain::disconnect),
    value_word("call-pri-lost-after-sb", AfterSplitBrain::call_pri_lost_after_sb),
    value_word("violently-as0p", AfterSplitBrain::violently_as0p)};
constexpr std::array rr_conflict_words{value_word("disconnect", RrConflict::disconnect),
                                       value_word("call-pri-lost", RrConflict::call_pri_lost),
                                       value_word("violently", RrConflict::violently)};
constexpr std::array on_congestion_words{value_word("block", OnCongestion::block),
                                         value_word("pull-ahead", OnCongestion::pull_ahead),
                                         value_word("disconnect", OnCongestion::disconnect)};
constexpr std::array on_io_error_words{value_word("pass_on", OnIoError::pass_on),
                                       value_word("call-local-io-error", OnIoError::call_local_io_error),
                                       value_word("detach", OnIoError::detach)};
constexpr std::array fencing_words{value_word("dont-care", Fencing::dont_care),
                                   value_word("resource-only", Fencing::resource_only),
                                   value_word("resource-and-stonith", Fencing::resource_and_stonith)};
constexpr std::array on_no_data_words{value_word("io-error", OnNoData::io_error),
                                      value_word("suspend-io", OnNoData::suspend_io)};
constexpr std::array read_balancing_words{
    value_word("prefer-local", ReadBalancing::prefer_local),
    value_word("prefer-remote", ReadBalancing::prefer_remote),
    value_word("round-robin", ReadBalancing::round_robin),
    value_word("least-pending", ReadBalancing::least_pending),
    value_word("when-congested-remote", ReadBalancing::when_congested_remote),
    value_word("32K-striping", ReadBalancing::striping_32k),
    value_word("64K-striping", ReadBalancing::striping_64k),
    value_word("128K-striping", ReadBalancing::striping_128k),
    value_word("256K-striping", ReadBalancing::striping_256k),
    value_word("512K-striping", ReadBalancing::striping_512k),
    value_word("1M-striping", ReadBalancing::striping_1m)};

constexpr auto one = NumberUnit::one;
constexpr auto kib = NumberUnit::kib;
constexpr auto sectors = NumberUnit::sectors;

const std::array resource_fields{
    text<&ResourceOptions::cpu_mask>("cpu-mask", 32),
    word<&ResourceOptions::on_no_data_accessible>("on-no-data-accessible", on_no_data_words),
};

const std::array net_fields{
    word<&NetOptions::protocol>("protocol", protocol_words),
    number<&NetOptions::timeout_ds>("timeout", one, 1, 600, in_files, "1/10 seconds"),
    number<&NetOptions::max_epoch_size>("max-epoch-size", one, 1, 20000, in_files),
    number<&NetOptions::max_buffers>("max-buffers", one, 32, 131072, in_files),
    number<&NetOptions::unplug_watermark>("unplug-watermark", one, 1, 131072, in_setup_only),
    number<&NetOptions::connect_int_s>("connect-int", one, 1, 120, in_files, "seconds"),
    number<&NetOptions::ping_int_s>("ping-int", one, 1, 120, in_files, "seconds"),
    number<&NetOptions::sndbuf_size_bytes>("sndbuf-size", one, 0, 10485760, in_files, "bytes"),
    number<&NetOptions::rcvbuf_size_bytes>("rcvbuf-size", one, 0, 10485760, in_files, "bytes"),
    number<&NetOptions::ko_count>("ko-count", one, 0, 200, in_files),
    flag<&NetOptions::allow_two_primaries>("allow-two-primaries"),
    text<&NetOptions::cram_hmac_alg>("cram-hmac-alg", 63),
    text<&NetOptions::shared_secret>("shared-secret", 63),
    word<&NetOptions::after_sb_0pri>("after-sb-0pri", after_sb_0pri_words),
    word<&NetOptions::after_sb_1pri>("after-sb-1pri", after_sb_1pri_words),
    word<&NetOptions::after_sb_2pri>("after-sb-2pri", after_sb_2pri_words),
    flag<&NetOptions::always_asbp>("always-asbp"),
    word<&NetOptions::rr_conflict>("rr-conflict", rr_conflict_words),
    number<&NetOptions::ping_timeout_ds>("ping-timeout", one, 1, 300, in_setup_only, "1/10 seconds"),
    text<&NetOptions::data_integrity_alg>("data-integrity-alg", 63),
    flag<&NetOptions::tcp_cork>("tcp-cork"),
    word<&NetOptions::on_congestion>("on-congestion", on_congestion_words),
    number<&NetOptions::congestion_fill_sectors>("congestion-fill", sectors, 0, 20971520, in_files, "bytes"),
    number<&NetOptions::congestion_extents>("congestion-extents", one, 67, 65534, in_files),
    text<&NetOptions::csums_alg>("csums-alg", 63),
    flag<&NetOptions::csums_after_crash_only>("csums-after-crash-only"),
    text<&NetOptions::verify_alg>("verify-alg", 63),
    flag<&NetOptions::use_rle>("use-rle"),
    number<&NetOptions::socket_check_timeout_ds>("socket-check-timeout", one, 0, 300, in_setup_only),
};

const std::array disk_fields{
    attach_only(number<&DiskOptions::size_sectors>("size", sectors, 0, max_sector, in_files, "bytes")),
    attach_only(number<&DiskOptions::max_bio_bvecs>("max-bio-bvecs", one, 0, 128, in_setup_only)),
    word<&DiskOptions::on_io_error>("on-io-error", on_io_error_words),
    word<&DiskOptions::fencing>("fencing", fencing_words),
    flag<&DiskOptions::disk_barrier>("disk-barrier"),
    flag<&DiskOptions::disk_flushes>("disk-flushes"),
    flag<&DiskOptions::disk_drain>("disk-drain"),
    flag<&DiskOptions::md_flushes>("md-flushes"),
    number<&DiskOptions::resync_rate_kib>("resync-rate", kib, 1, 4194304, in_files, "bytes/second"),
    number<&DiskOptions::resync_after>("resync-after", one, -1, 1048575, in_setup_only),
    // Files written for 8.3 hold 7..66, which the kernel raises to its minimum (cli 6).
    number<&DiskOptions::al_extents>("al-extents", one, 67, 65534, in_setup_only, {}, RangeRule::clamp),
    flag<&DiskOptions::al_updates>("al-updates"),
    flag<&DiskOptions::discard_zeroes_if_aligned>("discard-zeroes-if-aligned"),
    flag<&DiskOptions::disable_write_same>("disable-write-same"),
    number<&DiskOptions::c_plan_ahead_ds>("c-plan-ahead", one, 0, 300, in_files, "1/10 seconds"),
    number<&DiskOptions::c_delay_target_ds>("c-delay-target", one, 1, 100, in_files, "1/10 seconds"),
    number<&DiskOptions::c_fill_target_sectors>("c-fill-target", sectors, 0, 1048576, in_files, "bytes"),
    number<&DiskOptions::c_max_rate_kib>("c-max-rate", kib, 250, 4194304, in_files, "bytes/second"),
    number<&DiskOptions::c_min_rate_kib>("c-min-rate", kib, 0, 4194304, in_files, "bytes/second"),
    number<&DiskOptions::disk_timeout_ds>("disk-timeout", one, 0, 6000, in_setup_only, "1/10 seconds"),
    word<&DiskOptions::read_balancing>("read-balancing", read_balancing_words),
    number<&DiskOptions::rs_discard_granularity_bytes>("rs-discard-granularity", one, 0, 1048576,
                                                       in_setup_only),
};

const std::array startup_fields{
    number<&StartupOptions::wfc_timeout_s>("wfc-timeout", one, 0, 300000, in_files),
    number<&StartupOptions::degr_wfc_timeout_s>("degr-wfc-timeout", one, 0, 300000, in_files),
    number<&StartupOptions::outdated_wfc_timeout_s>("outdated-wfc-timeout", one, 0, 300000, in_files),
    flag<&StartupOptions::wait_after_sb>("wait-after-sb"),
};

const std::array command_fields{
    flag<&CommandOptions::set_defaults>("set-defaults"),
    flag<&CommandOptions::force>("force"),
    flag<&CommandOptions::tentative>("tentative"),
    flag<&CommandOptions::discard_my_data>("discard-my-data"),
    address<&CommandOptions::alternate_address>("alternate-address"),
    address<&CommandOptions::alternate_peer_address>("alternate-peer-address"),
    flag<&CommandOptions::clear_bitmap>("clear-bitmap"),
    flag<&CommandOptions::assume_peer_has_space>("assume-peer-has-space"),
    flag<&CommandOptions::assume_clean>("assume-clean"),
    number<&CommandOptions::al_stripes>("al-stripes", one, 1, 1024, in_setup_only),
    number<&CommandOptions::al_stripe_size_kib>("al-stripe-size-kB", kib, 4, 16777216, in_setup_only),
    number<&CommandOptions::start_sector>("start", sectors, 0, max_sector, in_setup_only),
    number<&CommandOptions::stop_sector>("stop", sectors, 0, max_sector, in_setup_only),
};

// Handler commands and the proxy's settings are handed on as the text they are.
consteval Option plain_text(OptionGroup group, std::string_view name) {
    Option option;
    option.name = name;
    option.group = group;
    option.type = OptionType::text;
    option.max_length = std::numeric_limits<std::size_t>::max();
    return option;
}
consteval Option handler(std::string_view name) {
    return plain_text(OptionGroup::handlers, name);
}
consteval Option proxy(std::string_view name) {
    return plain_text(OptionGroup::proxy, name);
}

constexpr std::array handler_options{
    handler("pri-on-incon-degr"),   handler("pri-lost-after-sb"),    handler("pri-lost"),
    handler("fence-peer"),          handler("unfence-peer"),         handler("local-io-error"),
    handler("initial-split-brain"), handler("split-brain"),          handler("before-resync-target"),
    handler("after-resync-target"), handler("before-resync-source"), handler("out-of-sync"),
};

constexpr std::array proxy_options{
    proxy("memlimit"),    proxy("read-loops"),  proxy("compression"),  proxy("bwlimit"),
    proxy("sndbuf-size"), proxy("rcvbuf-size"), proxy("ping-timeout"),
};

template <typename Options, std::size_t count>
std::array<const Option*, count> pointers(const std::array<Field<Options>, count>& fields) {
    std::array<const Option*, count> result{};
    for (std::size_t i = 0; i < count; ++i) result[i] = &fields[i].option;
    return result;
}
template <std::size_t count>
std::array<const Option*, count> pointers(const std::array<Option, count>& options) {
    std::array<const Option*, count> result{};
    for (std::size_t i = 0; i < count; ++i) result[i] = &options[i];
    return result;
}

const auto resource_pointers = pointers(resource_fields);
const auto net_pointers = pointers(net_fields);
const auto disk_pointers = pointers(disk_fields);
const auto startup_pointers = pointers(startup_fields);
const auto command_pointers = pointers(command_fields);
const auto handler_pointers = pointers(handler_options);
const auto proxy_pointers = pointers(proxy_options);

Result<Value> parse_word(const Option& option, std::string_view text) {
    const bool ignore_case = option.name == "protocol";  // cli 19
    for (const EnumWord& candidate : option.words) {
        const bool same = std::ranges::equal(candidate.word, text, [ignore_case](char a, char b) {
            const bool upper = ignore_case && b >= 'a' && b <= 'z';
            return a == (upper ? static_cast<char>(b - 'a' + 'A') : b);
        });
        if (same) return Value{int64_t{candidate.value}};
    }
    return error("Option --{}: invalid argument '{}'", option.name, text);
}

}  // namespace

template <>
std::span<const Field<ResourceOptions>> fields_of<ResourceOptions>() {
    return resource_fields;
}
template <>
std::span<const Field<NetOptions>> fields_of<NetOptions>() {
    return net_fields;
}
template <>
std::span<const Field<DiskOptions>> fields_of<DiskOptions>() {
    return disk_fields;
}
template <>
std::span<const Field<StartupOptions>> fields_of<StartupOptions>() {
    return startup_fields;
}
template <>
std::span<const Field<CommandOptions>> fields_of<CommandOptions>() {
    return command_fields;
}

std::span<const Option* const> options_of(OptionGroup group) {
    switch (group) {
        case OptionGroup::resource:
            return resource_pointers;
        case OptionGroup::net:
            return net_pointers;
        case OptionGroup::disk:
            return disk_pointers;
        case OptionGroup::startup:
            return startup_pointers;
        case OptionGroup::command:
            return command_pointers;
        case OptionGroup::handlers:
            return handler_pointers;
        case OptionGroup::proxy:
            return proxy_pointers;
    }
    return {};
}

const Option* find_option(OptionGroup group, std::string_view name) {
    for (const Option* option : options_of(group)) {
        if (option->name == name) return option;
    }
    return nullptr;
}

std::string_view unit_suffix(NumberUnit unit) {
    switch (unit) {
        case NumberUnit::one:
            return "";
        case NumberUnit::kib:
            return "k";
        case NumberUnit::sectors:
            return "s";
    }
    return "";
}

Result<int64_t> parse_number(std::string_view text, NumberUnit unit) {
    if (text.empty()) return error("missing number argument");
    std::string_view digits = text;
    const bool negative = digits.front() == '-';
    if (negative) digits.remove_prefix(1);

    unsigned suffix_shift = 0;
    bool has_suffix = !digits.empty();
    switch (digits.empty() ? '\0' : digits.back()) {
        case 'K':
        case 'k':
            suffix_shift = 10;
            break;
        case 'M':
        case 'm':
            suffix_shift = 20;
            break;
        case 'G':
        case 'g':
            suffix_shift = 30;
            break;
        case 's':
            suffix_shift = 9;
            break;
        default:
            has_suffix = false;
    }
    if (has_suffix) digits.remove_suffix(1);

    uint64_t number = 0;
    constexpr uint64_t limit = uint64_t{1} << 62;
    if (digits.empty()) return error("{} is not a valid number", text);
    for (char c : digits) {
        if (c < '0' || c > '9') return error("{} is not a valid number", text);
        number = number * 10 + static_cast<uint64_t>(c - '0');
        if (number >= limit) return error("{} is not a valid number", text);
    }
    if (has_suffix) {
        if (number >= limit >> suffix_shift) return error("{} is not a valid number", text);
        number <<= suffix_shift;
        const unsigned unit_shift = unit == NumberUnit::kib ? 10 : unit == NumberUnit::sectors ? 9 : 0;
        number = (number + ((uint64_t{1} << unit_shift) - 1)) >> unit_shift;
    }
    return negative ? -static_cast<int64_t>(number) : static_cast<int64_t>(number);
}

Status check_range(const Option& option, std::string_view text, int64_t number) {
    if (number >= option.min && number <= option.max) return Ok{};
    const std::string_view unit = unit_suffix(option.unit);
    // A negative number is shown as the unsigned one it would be taken for, unless the option knows such.
    const std::string shown = number < 0 && option.min >= 0 ? fmt::to_string(static_cast<uint64_t>(number))
                                                            : fmt::to_string(number);
    return error("{} {} => {}{} out of range [{}..{}]{}.", option.name, text, shown, unit, option.min,
                 option.max, unit);
}

Result<Value> parse_value(const Option& option, std::string_view text) {
    switch (option.type) {
        case OptionType::number: {
            Result<int64_t> number = parse_number(text, option.unit);
            if (!number) return number.error();
            if (option.range_rule == RangeRule::clamp) {
                return Value{std::clamp(*number, option.min, option.max)};
            }
            if (Status status = check_range(option, text, *number); !status) return status.error();
            return Value{*number};
        }
        case OptionType::enumeration:
            return parse_word(option, text);
        case OptionType::flag:
            if (text == "yes") return Value{int64_t{1}};
            if (text == "no") return Value{int64_t{0}};
            return error("Option --{}: invalid argument '{}'", option.name, text);
        case OptionType::text:
        case OptionType::address:
            if (text.size() > option.max_length) {
                return error("Option --{}: argument longer than {} characters", option.name,
                             option.max_length);
            }
            return Value{std::string(text)};
    }
    ensure(false);
}

std::string format_value(const Option& option, const Value& value) {
    switch (option.type) {
        case OptionType::number:
            return fmt::format("{}{}", std::get<int64_t>(value), unit_suffix(option.unit));
        case OptionType::enumeration:
            for (const EnumWord& candidate : option.words) {
                if (candidate.value == std::get<int64_t>(value)) return std::string(candidate.word);
            }
            ensure(false);
        case OptionType::flag:
            return std::get<int64_t>(value) != 0 ? "yes" : "no";
        case OptionType::text:
            return quoted(std::get<std::string>(value));
        case OptionType::address:
            return std::get<std::string>(value);
    }
    ensure(false);
}

Value default_value(const Option& option) {
    if (option.type == OptionType::text || option.type == OptionType::address) return std::string();
    return option.default_number;
}

}  // namespace duplex::config
