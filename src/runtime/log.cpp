#include "runtime/log.hpp"

#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/ensure.hpp"
#include "runtime/fd.hpp"

namespace duplex::runtime {

namespace {

struct Sink {
    std::string name = "duplex";
    engine::LogLevel least = engine::LogLevel::info;
    bool stderr_is_journal = false;
    Fd system_log;
    uint64_t lost = 0;
};

Sink& sink() {
    static Sink the_sink;
    return the_sink;
}

int priority(engine::LogLevel level) {
    switch (level) {
        case engine::LogLevel::debug:
            return LOG_DEBUG;
        case engine::LogLevel::info:
            return LOG_INFO;
        case engine::LogLevel::warning:
            return LOG_WARNING;
        case engine::LogLevel::error:
            return LOG_ERR;
        case engine::LogLevel::alert:
            return LOG_ALERT;
    }
    return LOG_ERR;
}

// systemd names the device and inode of the journal's stream; it may have been redirected since.
bool is_journal(int fd) {
    const char* stream = std::getenv("JOURNAL_STREAM");
    struct stat status {};
    if (!stream || fstat(fd, &status) != 0) return false;
    return fmt::format("{}:{}", status.st_dev, status.st_ino) == stream;
}

Fd connect_system_log() {
    Fd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, "/dev/log");
    if (fd && connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
    return {};
}

bool to_system_log(const Sink& to, int level, std::string_view line) {
    const time_t now = time(nullptr);
    tm local{};
    localtime_r(&now, &local);
    char stamp[32];
    strftime(stamp, sizeof stamp, "%b %e %H:%M:%S", &local);
    const std::string text =
        fmt::format("<{}>{} {}[{}]: {}", LOG_DAEMON | level, stamp, to.name, getpid(), line);
    return ::send(to.system_log.get(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

void to_stderr(const Sink& to, int level, std::string_view line) {
    const std::string text =
        to.stderr_is_journal ? fmt::format("<{}>{}\n", level, line) : fmt::format("{}\n", line);
    // Nowhere left to complain to if this fails.
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
}

}  // namespace

void open_log(std::string_view name, engine::LogLevel least) {
    Sink& to = sink();
    to.name = name;
    to.least = least;
    to.stderr_is_journal = is_journal(STDERR_FILENO);
    if (!to.stderr_is_journal) to.system_log = connect_system_log();
    report_failed_checks_to([](const char* line) { log_line(engine::LogLevel::alert, line); });
}

void log_line(engine::LogLevel level, std::string_view line) {
    Sink& to = sink();
    if (level < to.least) return;
    to_stderr(to, priority(level), line);
    if (!to.system_log) return;
    if (to.lost > 0 &&
        to_system_log(to, LOG_WARNING, fmt::format("{} lines did not fit into the system log", to.lost)))
        to.lost = 0;
    if (to.lost > 0 || !to_system_log(to, priority(level), line)) ++to.lost;
}

}  // namespace duplex::runtime
