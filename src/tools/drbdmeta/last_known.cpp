#include "tools/drbdmeta/last_known.hpp"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <sstream>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "control/directories.hpp"

namespace duplex::drbdmeta {

namespace {

std::string path_of(const Options& options) {
    return fmt::format("{}/drbd-minor-{}.lkbd", control::state_directory(), *options.minor);
}

std::optional<uint64_t> parse(std::string_view text, int base) {
    uint64_t value = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (problem != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

}  // namespace

std::optional<LastKnown> load_last_known(const Options& options) {
    if (!options.minor) return std::nullopt;
    std::ifstream file(path_of(options));
    std::string first;
    std::string second;
    if (!file || !std::getline(file, first)) return std::nullopt;
    std::getline(file, second);
    const size_t tab = first.find('\t');
    const auto size = parse(std::string_view(first).substr(0, tab), 10);
    if (!size) {
        fmt::print(stderr, "{}: '{}' does not begin with a size in bytes, ignored\n", path_of(options),
                   first);
        return std::nullopt;
    }
    LastKnown last_known;
    last_known.size_bytes = *size;
    last_known.device_name = tab == std::string::npos ? "-unknown device name-" : first.substr(tab + 1);
    if (second.starts_with("uuid:\t"))
        last_known.device_uuid = parse(std::string_view(second).substr(6), 16).value_or(0);
    return last_known;
}

Status store_last_known(const Options& options, const LastKnown& last_known) {
    if (!options.minor || options.dry_run) return Ok{};
    const std::string path = path_of(options);
    std::string text = fmt::format("{}\t{}\n", last_known.size_bytes, last_known.device_name);
    if (last_known.device_uuid != 0) text += fmt::format("uuid:\t{:016X}\n", last_known.device_uuid);
    mkdir(control::state_directory().c_str(), 0700);  // if it is missing; if that fails, open() says so
    const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return error("open({}) failed: {}", path, std::strerror(errno));
    const bool written =
        write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && fsync(fd) == 0;
    const int problem = errno;
    close(fd);
    if (!written) return error("writing {} failed: {}", path, std::strerror(problem));
    return Ok{};
}

void forget_last_known(const Options& options) {
    if (options.minor && !options.dry_run) unlink(path_of(options).c_str());
}

}  // namespace duplex::drbdmeta
