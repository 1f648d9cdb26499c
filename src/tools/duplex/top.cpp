#include "tools/duplex/top.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <ctime>
#include <poll.h>
#include <string>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include <fmt/format.h>

#include "control/run_dir.hpp"
#include "tools/duplex/top_screen.hpp"

namespace duplex::tool {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto interval = std::chrono::seconds(1);

void put(std::string_view text) {
    while (!text.empty()) {
        const ssize_t length = write(STDOUT_FILENO, text.data(), text.size());
        if (length < 0 && errno != EINTR) return;  // the terminal is gone, and its hang-up ends the program
        if (length > 0) text.remove_prefix(static_cast<size_t>(length));
    }
}

// The terminal for this program alone: the other screen without a cursor, keys at once and unseen.
class Screen {
  public:
    Screen() {
        tcgetattr(STDIN_FILENO, &before_);
        termios keys = before_;
        keys.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
        keys.c_cc[VSUSP] = _POSIX_VDISABLE;  // a stopped program could not give the terminal back
        tcsetattr(STDIN_FILENO, TCSANOW, &keys);
        put("\033[?1049h\033[?25l");
    }
    ~Screen() {
        put("\033[?25h\033[?1049l");
        tcsetattr(STDIN_FILENO, TCSANOW, &before_);
    }
    Screen(const Screen&) = delete;
    Screen& operator=(const Screen&) = delete;

  private:
    termios before_{};
};

class Signals {
  public:
    Signals() {
        sigset_t set{};
        sigemptyset(&set);
        for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH}) sigaddset(&set, number);
        sigprocmask(SIG_BLOCK, &set, nullptr);
        fd_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    }
    ~Signals() { close(fd_); }
    Signals(const Signals&) = delete;
    Signals& operator=(const Signals&) = delete;

    int fd() const { return fd_; }
    // One of those that end the program has come. A changed size only ends the wait.
    bool want_an_end() const {
        signalfd_siginfo info{};
        bool end = false;
        while (read(fd_, &info, sizeof(info)) == sizeof(info)) end = end || info.ssi_signo != SIGWINCH;
        return end;
    }

  private:
    int fd_ = -1;
};

bool quit_was_typed() {
    std::array<char, 64> typed{};
    const ssize_t length = read(STDIN_FILENO, typed.data(), typed.size());
    if (length <= 0) return errno != EINTR;  // nobody can type any more
    constexpr char ctrl_d = 4;
    for (ssize_t i = 0; i < length; ++i) {
        const char key = typed[static_cast<size_t>(i)];
        if (key == 'q' || key == 'Q' || key == ctrl_d) return true;
    }
    return false;
}

void draw(const TopScreen& screen) {
    winsize size{};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) {
        size.ws_col = 80;
        size.ws_row = 24;
    }
    std::array<char, 256> host{};
    gethostname(host.data(), host.size() - 1);
    const std::time_t now = std::time(nullptr);
    std::tm local{};
    localtime_r(&now, &local);
    const std::string title = fmt::format("duplex top  {}  {:02}:{:02}:{:02}", host.data(), local.tm_hour,
                                          local.tm_min, local.tm_sec);
    std::string text = "\033[H";
    bool first = true;
    for (const std::string& line : screen.lines(title, size.ws_col, size.ws_row)) {
        // No newline behind the last line: it would scroll a full screen.
        text += (first ? "" : "\r\n") + line + "\033[K";
        first = false;
    }
    put(text + "\033[J");
}

// False: the user, or a signal, wants no more.
bool wait_until(Clock::time_point next, const Signals& signals, const TopScreen& screen) {
    for (;;) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - Clock::now());
        if (left.count() <= 0) return true;
        std::array<pollfd, 2> polled{{{STDIN_FILENO, POLLIN, 0}, {signals.fd(), POLLIN, 0}}};
        if (poll(polled.data(), polled.size(), static_cast<int>(left.count())) <= 0) continue;
        if (polled[0].revents != 0 && quit_was_typed()) return false;
        if (polled[1].revents != 0) {
            if (signals.want_an_end()) return false;
            draw(screen);
        }
    }
}

}  // namespace

int run_top() {
    constexpr int exit_usage = 20;
    constexpr int answer_timeout_ms = 1000;
    if (isatty(STDIN_FILENO) == 0 || isatty(STDOUT_FILENO) == 0) {
        fmt::print(stderr, "duplex top needs a terminal; for programs there is drbdsetup status --json\n");
        return exit_usage;
    }
    const control::RunDir run_dir = control::RunDir::of_node();
    const Signals signals;
    const Screen terminal;
    TopScreen screen;
    Clock::time_point next = Clock::now();
    do {
        const auto now =
            std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now().time_since_epoch());
        screen.update(control::ask_all(run_dir, answer_timeout_ms), static_cast<uint64_t>(now.count()));
        draw(screen);
        next = std::max(next + interval, Clock::now());
    } while (wait_until(next, signals, screen));
    return 0;
}

}  // namespace duplex::tool
