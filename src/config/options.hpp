// The one option table of drbd.conf and of the tools' command lines: for every option its name, section,
// type, unit, range and words (cli 5). The parser, the checks, dump, adjust, drbdsetup's arguments and show,
// and the daemon's typed settings are all driven by it. Defaults are stated once: as the member initialisers
// of the typed structs below.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "base/result.hpp"

namespace duplex::config {

// --- typed settings ---------------------------------------------------------------------------------------
// Field names end in their unit: _s seconds, _ds tenths of a second, _kib KiB, _sectors 512 bytes, _bytes.

enum class Protocol : uint8_t { a = 1, b = 2, c = 3 };  // numbers of P_PROTOCOL, wire protocol 5.5

// Numbers of P_PROTOCOL, wire protocol 5.5. Each of the three after-sb options accepts a subset.
enum class AfterSplitBrain : uint8_t {
    disconnect = 0,
    discard_younger_primary = 1,
    discard_older_primary = 2,
    discard_zero_changes = 3,
    discard_least_changes = 4,
    discard_local = 5,
    discard_remote = 6,
    consensus = 7,
    discard_secondary = 8,
    call_pri_lost_after_sb = 9,
    violently_as0p = 10,
};

enum class RrConflict : uint8_t { disconnect, call_pri_lost, violently };
enum class OnCongestion : uint8_t { block, pull_ahead, disconnect };
enum class OnIoError : uint8_t { pass_on, call_local_io_error, detach };
enum class Fencing : uint8_t { dont_care, resource_only, resource_and_stonith };
enum class OnNoData : uint8_t { io_error, suspend_io };

enum class ReadBalancing : uint8_t {  // numbers: states 11.1
    prefer_local,
    prefer_remote,
    round_robin,
    least_pending,
    when_congested_remote,
    striping_32k,
    striping_64k,
    striping_128k,
    striping_256k,
    striping_512k,
    striping_1m,
};

// options { }: cli 5.2
struct ResourceOptions {
    std::string cpu_mask;  // hexadecimal
    OnNoData on_no_data_accessible = OnNoData::io_error;
    bool operator==(const ResourceOptions&) const = default;
};

// net { }: cli 5.3
struct NetOptions {
    Protocol protocol = Protocol::c;
    uint32_t timeout_ds = 60;
    uint32_t max_epoch_size = 2048;   // requests
    uint32_t max_buffers = 2048;      // 4 KiB pages
    uint32_t unplug_watermark = 128;  // requests
    uint32_t connect_int_s = 10;
    uint32_t ping_int_s = 10;
    uint32_t sndbuf_size_bytes = 0;  // 0: automatic
    uint32_t rcvbuf_size_bytes = 0;  // 0: automatic
    uint32_t ko_count = 7;           // timeouts; 0: never
    bool allow_two_primaries = false;
    std::string cram_hmac_alg;  // empty: no authentication
    std::string shared_secret;
    AfterSplitBrain after_sb_0pri = AfterSplitBrain::disconnect;
    AfterSplitBrain after_sb_1pri = AfterSplitBrain::disconnect;
    AfterSplitBrain after_sb_2pri = AfterSplitBrain::disconnect;
    bool always_asbp = false;
    RrConflict rr_conflict = RrConflict::disconnect;
    uint32_t ping_timeout_ds = 5;
    std::string data_integrity_alg;  // empty: none
    bool tcp_cork = true;
    OnCongestion on_congestion = OnCongestion::block;
    uint32_t congestion_fill_sectors = 0;
    uint32_t congestion_extents = 1237;
    std::string csums_alg;  // empty: none
    bool csums_after_crash_only = false;
    std::string verify_alg;  // empty: none
    bool use_rle = true;
    uint32_t socket_check_timeout_ds = 0;
    bool operator==(const NetOptions&) const = default;
};

// disk { }: cli 5.4
struct DiskOptions {
    uint64_t size_sectors = 0;   // 0: all there is
    uint32_t max_bio_bvecs = 0;  // 0: no limit
    OnIoError on_io_error = OnIoError::detach;
    Fencing fencing = Fencing::dont_care;
    bool disk_barrier = false;
    bool disk_flushes = true;
    bool disk_drain = true;
    bool md_flushes = true;
    uint32_t resync_rate_kib = 250;  // per second
    int32_t resync_after = -1;       // a minor number; -1: none
    uint32_t al_extents = 1237;      // 4 MiB each
    bool al_updates = true;
    bool discard_zeroes_if_aligned = true;
    bool disable_write_same = false;
    uint32_t c_plan_ahead_ds = 20;  // 0: the controller is off
    uint32_t c_delay_target_ds = 10;
    uint32_t c_fill_target_sectors = 100;
    uint32_t c_max_rate_kib = 102400;  // per second
    uint32_t c_min_rate_kib = 250;     // per second
    uint32_t disk_timeout_ds = 0;      // 0: off
    ReadBalancing read_balancing = ReadBalancing::prefer_local;
    uint32_t rs_discard_granularity_bytes = 0;
    bool operator==(const DiskOptions&) const = default;
};

// startup { }, as wait-connect and wait-sync take them: cli 5.5
struct StartupOptions {
    uint32_t wfc_timeout_s = 0;  // 0: for ever
    uint32_t degr_wfc_timeout_s = 0;
    uint32_t outdated_wfc_timeout_s = 0;
    bool wait_after_sb = false;
    bool operator==(const StartupOptions&) const = default;
};

// The end of the largest device there can be; verify without --stop runs to the end of its device.
inline constexpr uint64_t max_sector = uint64_t{1} << 41;

// What only command lines know: cli 5.8. Each command uses its own few.
struct CommandOptions {
    bool set_defaults = false;           // disk-options, net-options, resource-options
    bool force = false;                  // primary, disconnect, detach
    bool tentative = false;              // connect
    bool discard_my_data = false;        // connect
    std::string alternate_address;       // connect: accepted without effect, as the kernel does
    std::string alternate_peer_address;  // connect
    bool clear_bitmap = false;           // new-current-uuid
    bool assume_peer_has_space = false;  // resize
    bool assume_clean = false;           // resize
    uint32_t al_stripes = 1;             // resize
    uint32_t al_stripe_size_kib = 32;    // resize
    uint64_t start_sector = 0;           // verify
    uint64_t stop_sector = max_sector;   // verify
    bool operator==(const CommandOptions&) const = default;
};

// --- descriptors ------------------------------------------------------------------------------------------

enum class OptionType : uint8_t { number, enumeration, flag, text, address };
enum class OptionGroup : uint8_t { resource, net, disk, startup, command, handlers, proxy };
enum class NumberUnit : uint8_t { one, kib, sectors };  // what a bare number counts: cli 5.1

struct EnumWord {
    std::string_view word;
    uint8_t value;
};

// Numbers outside min..max: refused, or (al-extents of 8.3 files) moved to the nearer limit.
enum class RangeRule : uint8_t { refuse, clamp };

struct Option {
    std::string_view name;
    OptionGroup group{};
    OptionType type{};
    // number:
    NumberUnit unit = NumberUnit::one;
    int64_t min = 0;
    int64_t max = 0;
    RangeRule range_rule = RangeRule::refuse;
    bool checked_in_files =
        false;  // drbdadm checks the range already when it reads the file ("chk" in cli 5)
    // Settled when a disk is attached: disk-options does not take it, and adjust does not change it that way.
    bool attach_only = false;
    std::string_view show_comment;  // unit as drbdsetup show names it after '#', or empty
    // number, flag (0, 1), enumeration:
    int64_t default_number = 0;
    // enumeration:
    std::span<const EnumWord> words;
    // text, address:
    std::size_t max_length = 0;
};

// An option's value: number (in the option's unit), enumeration value and flag (0, 1) as int64_t; text as
// string.
using Value = std::variant<int64_t, std::string>;

// The options of a group, in the order in which "drbdsetup show" prints them (cli 21).
std::span<const Option* const> options_of(OptionGroup group);

// nullptr if the group has no such option. Names are the 8.4 ones.
const Option* find_option(OptionGroup group, std::string_view name);

// DIGITS[SUFFIX] in the given unit: cli 5.1. A leading '-' is allowed; the sum is not range-checked.
Result<int64_t> parse_number(std::string_view text, NumberUnit unit);

// "NAME TEXT => VALUE[UNIT] out of range [MIN..MAX][UNIT]." if the number is outside (cli 5.1).
Status check_range(const Option& option, std::string_view text, int64_t number);

// Reads a value as drbdsetup does: numbers with range check, words, yes/no, length of strings.
Result<Value> parse_value(const Option& option, std::string_view text);

// The value as "drbdsetup show" prints it and the parser reads it: 10240k, yes, detach, "sha1" (quoted).
std::string format_value(const Option& option, const Value& value);

Value default_value(const Option& option);

// "", "k", "s"
std::string_view unit_suffix(NumberUnit unit);

// --- typed access by name ---------------------------------------------------------------------------------
// Options is one of ResourceOptions, NetOptions, DiskOptions, StartupOptions, CommandOptions.

template <typename Options>
struct Field {
    Option option;
    Value (*get)(const Options&);
    void (*set)(Options&, const Value&);
};

template <typename Options>
std::span<const Field<Options>> fields_of();

// Sets the option called name from text. Unknown name: "unrecognized option '--NAME'".
template <typename Options>
Status set_option(Options& options, std::string_view name, std::string_view text) {
    for (const Field<Options>& field : fields_of<Options>()) {
        if (field.option.name == name) {
            Result<Value> value = parse_value(field.option, text);
            if (!value) return value.error();
            field.set(options, *value);
            return Ok{};
        }
    }
    return error("unrecognized option '--{}'", name);
}

}  // namespace duplex::config
