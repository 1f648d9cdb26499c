#include "tools/drbdmeta/options.hpp"

#include <charconv>
#include <cstdio>
#include <getopt.h>
#include <string_view>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <fmt/format.h>

#include "tools/drbdmeta/exit_code.hpp"

namespace duplex::drbdmeta {

namespace {

constexpr unsigned drbd_block_major = 147;
constexpr uint32_t peer_max_bio_size_limit = 1U << 20;
constexpr uint64_t al_blocks_tool_max = 8192;  // 32 MiB; meta data 2

void print_usage() {
    std::fputs(
        "\nUSAGE: drbdmeta [--force] DEVICE FORMAT [FORMAT ARGS...] COMMAND [CMD ARGS...]\n"
        "\nFORMATS:\n"
        "  v08 device index\n"
        "\nCOMMANDS:\n"
        "  get-gi --node-id {val} \n"
        "  show-gi --node-id {val} \n"
        "  dump-md \n"
        "  restore-md file\n"
        "  verify-dump file\n"
        "  apply-al \n"
        "  wipe-md \n"
        "  outdate \n"
        "  invalidate \n"
        "  dstate \n"
        "  check-resize \n"
        "  create-md [--peer-max-bio-size {val}] [--al-stripes {val}] [--al-stripe-size-kB {val}] "
        "{max_peers}\n"
        "\n",
        stdout);
}

template <typename T>
std::optional<T> parse_decimal(std::string_view text) {
    T value{};
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (problem != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

// A number with an optional unit (s, k, M, G), in bytes. Without a unit it counts `default_unit_bytes`.
std::optional<uint64_t> parse_bytes(std::string_view text, uint64_t default_unit_bytes) {
    if (text.empty()) return std::nullopt;
    uint64_t unit = default_unit_bytes;
    switch (text.back()) {
        case 's':
            unit = 512;
            break;
        case 'k':
        case 'K':
            unit = uint64_t{1} << 10;
            break;
        case 'm':
        case 'M':
            unit = uint64_t{1} << 20;
            break;
        case 'g':
        case 'G':
            unit = uint64_t{1} << 30;
            break;
        default:
            unit = 0;
    }
    if (unit != 0)
        text.remove_suffix(1);
    else
        unit = default_unit_bytes;
    const auto number = parse_decimal<uint64_t>(text);
    if (!number || *number > UINT64_MAX / unit) return std::nullopt;
    return *number * unit;
}

std::optional<int> minor_of(const std::string& device) {
    std::string_view name = device;
    if (name.starts_with("/dev/drbd")) name.remove_prefix(9);
    if (const auto number = parse_decimal<int>(name); number && *number >= 0) return number;
    struct stat status {};
    if (stat(device.c_str(), &status) == 0 && S_ISBLK(status.st_mode) &&
        major(status.st_rdev) == drbd_block_major)
        return static_cast<int>(minor(status.st_rdev));
    return std::nullopt;
}

std::optional<meta::MetaIndex> parse_index(const std::string& word) {
    if (word == "internal" || word == "flex-internal") return meta::MetaIndex::internal();
    if (word == "flex-external") return meta::MetaIndex::flexible();
    const auto number = parse_decimal<uint32_t>(word);
    if (!number || *number > 255) return std::nullopt;
    return meta::MetaIndex::slot(*number);
}

// One option; an exit code if it cannot be used.
int take_option(int letter, const char* value, Options& options) {
    const std::string_view text = value != nullptr ? value : "";
    const auto not_a_number = [&] { return fail(exit_usage, error("{} is not a valid number", text)); };
    switch (letter) {
        case 'f':
            options.force = true;
            return exit_ok;
        case 'v':
            ++options.verbose;
            return exit_ok;
        case 'I':
            options.ignore_sanity_checks = true;
            return exit_ok;
        case 'D':
            options.dry_run = true;
            return exit_ok;
        case 'p': {
            const auto bytes = parse_bytes(text, 1);
            if (!bytes) return not_a_number();
            if (*bytes > peer_max_bio_size_limit)
                return fail(exit_io, error("peer-max-bio-size out of range (0...1M)"));
            options.peer_max_bio_size_bytes = static_cast<uint32_t>(*bytes);
            return exit_ok;
        }
        case 's': {
            options.al_stripes = parse_decimal<uint32_t>(text);
            return options.al_stripes ? exit_ok : not_a_number();
        }
        case 'z': {
            const auto bytes = parse_bytes(text, 1024);
            if (!bytes) return not_a_number();
            options.al_stripe_size_4k = static_cast<uint32_t>(std::min<uint64_t>(*bytes / 4096, UINT32_MAX));
            return exit_ok;
        }
        case 'b':
            if (text == "automatic")
                options.bitmap_init = BitmapInit::automatic;
            else if (text == "zeroout")
                options.bitmap_init = BitmapInit::zeroout;
            else if (text == "pwrite")
                options.bitmap_init = BitmapInit::pwrite;
            else if (text == "skip")
                options.bitmap_init = BitmapInit::skip;
            else
                return fail(exit_io, error("invalid initialize-bitmap-mode \"{}\", should be one of "
                                           "automatic|zeroout|pwrite|skip",
                                           text));
            return exit_ok;
        case 'i': {
            options.node_id = parse_decimal<int>(text);
            return options.node_id ? exit_ok : not_a_number();
        }
        default:
            print_usage();
            return exit_usage;
    }
}

int check_striping_option(const Options& options) {
    if (!options.striping_given()) return exit_ok;
    const uint64_t blocks = options.striping().blocks();
    if (blocks < meta::al_blocks_min) return fail(exit_io, error("invalid (too small) al-stripe* settings"));
    if (blocks > al_blocks_tool_max) return fail(exit_io, error("invalid (too large) al-stripe* settings"));
    return exit_ok;
}

int take_words(const std::vector<std::string>& words, Options& options) {
    if (words.size() < 3) {
        print_usage();
        return exit_usage;
    }
    options.drbd_device = words[0];
    if (words[0] != "-") {
        options.minor = minor_of(words[0]);
        if (!options.minor)
            return fail(exit_usage,
                        error("Cannot determine minor device number of drbd device '{}'", words[0]));
    }
    const std::string& format = words[1];
    if (format == "v06" || format == "v07" || format == "v09")
        return fail(exit_usage, error("Meta data format '{}' is not supported, only 'v08' is.", format));
    if (format != "v08") return fail(exit_usage, error("Unknown format '{}'.", format));
    if (words.size() < 4) return fail(exit_usage, error("Too few arguments for format"));
    options.device = words[2];
    const auto index = parse_index(words[3]);
    if (!index) return fail(exit_usage, error("'{}' is not a valid index number.", words[3]));
    options.index = *index;
    if (words.size() < 5) return fail(exit_usage, error("command missing"));
    options.command = words[4];
    options.arguments.assign(words.begin() + 5, words.end());
    return exit_ok;
}

}  // namespace

std::optional<Options> parse_command_line(int argc, char** argv, int& exit_code) {
    static const option long_options[] = {
        {"force", no_argument, nullptr, 'f'},
        {"verbose", no_argument, nullptr, 'v'},
        {"ignore-sanity-checks", no_argument, nullptr, 'I'},
        {"dry-run", no_argument, nullptr, 'D'},
        {"peer-max-bio-size", required_argument, nullptr, 'p'},
        {"al-stripes", required_argument, nullptr, 's'},
        {"al-stripe-size-kB", required_argument, nullptr, 'z'},
        {"initialize-bitmap", required_argument, nullptr, 'b'},
        {"node-id", required_argument, nullptr, 'i'},
        {"help", no_argument, nullptr, 'h'},
        {nullptr, 0, nullptr, 0},
    };
    Options options;
    const std::string_view path = argv[0];
    options.command_line = path.substr(path.rfind('/') + 1);
    for (int i = 1; i < argc; ++i) options.command_line += fmt::format(" {}", argv[i]);
    exit_code = exit_ok;
    int letter = 0;
    // The tool runs in one thread.
    while (exit_code == exit_ok && (letter = getopt_long(argc, argv, "fvp:s:z:b:i:h", long_options,
                                                         nullptr)) != -1)  // NOLINT(concurrency-mt-unsafe)
        exit_code = take_option(letter, optarg, options);
    if (exit_code == exit_ok) exit_code = take_words({argv + optind, argv + argc}, options);
    if (exit_code == exit_ok) exit_code = check_striping_option(options);
    if (exit_code != exit_ok) return std::nullopt;
    return options;
}

}  // namespace duplex::drbdmeta
