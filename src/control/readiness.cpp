#include "control/readiness.hpp"

#include <charconv>
#include <unistd.h>

namespace duplex::control {

Result<std::optional<int>> ready_fd_from(std::string_view word) {
    constexpr std::string_view option = "--ready-fd=";
    if (!word.starts_with(option)) return std::optional<int>();
    const std::string_view digits = word.substr(option.size());
    int fd = -1;
    const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), fd);
    if (failed != std::errc() || end != digits.data() + digits.size() || fd < 0)
        return error("--ready-fd: '{}' is no file descriptor", digits);
    return std::optional<int>(fd);
}

void report_ready(int fd, std::string_view text) {
    if (fd < 0) return;
    // Whoever waits may have gone; then nobody needs to know.
    [[maybe_unused]] const ssize_t written = write(fd, text.data(), text.size());
    close(fd);
}

}  // namespace duplex::control
