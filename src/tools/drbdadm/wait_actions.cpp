// Waiting for connections (cli 16).
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <fmt/format.h>

#include "tools/drbdadm/actions.hpp"
#include "tools/drbdadm/session.hpp"

namespace duplex::drbdadm {
namespace {

using config::Resource;
using config::Volume;
using Clock = std::chrono::steady_clock;

// A stacked resource's peer comes up later than the timeouts, which are made for the boot, provide for.
std::vector<std::string> stacked_timeout(const Resource& resource) {
    constexpr int64_t default_s = 20;
    const config::OptionSetting* interval = config::find_setting(resource.net, "connect-int");
    int64_t seconds = default_s;
    if (interval != nullptr) {
        const Result<int64_t> number = config::parse_number(interval->value, config::NumberUnit::one);
        if (number) seconds = 2 * *number;
    }
    return {"--wfc-timeout", fmt::to_string(seconds)};
}

ToolCall wait_call(const Session& session, const Resource& resource, const Volume& volume) {
    ToolCall call;
    call.words = {session.line.drbdsetup, "wait-connect", fmt::to_string(volume.minor.value_or(0))};
    if (resource.stacked() && !resource.stacked_timeouts) {
        for (std::string& word : stacked_timeout(resource)) call.words.push_back(std::move(word));
    } else {
        add_options(call.words, resource.startup);
    }
    call.limit = TimeLimit::none;
    call.resource = resource.name;
    return call;
}

std::string startup_value(const Resource& resource, std::string_view name) {
    const config::OptionSetting* setting = config::find_setting(resource.startup, name);
    return setting != nullptr ? setting->value : "0";
}

// The terminal in raw mode as long as this lives.
class RawTerminal {
  public:
    explicit RawTerminal(int fd) : fd_(fd) {
        active_ = fd >= 0 && tcgetattr(fd, &saved_) == 0;
        if (!active_) return;
        termios raw = saved_;
        raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | ISIG);
        tcsetattr(fd, TCSANOW, &raw);
    }
    RawTerminal(const RawTerminal&) = delete;
    RawTerminal& operator=(const RawTerminal&) = delete;
    ~RawTerminal() {
        if (active_) tcsetattr(fd_, TCSANOW, &saved_);
    }

  private:
    int fd_;
    bool active_ = false;
    termios saved_{};
};

// Recognises "yes" and a newline, or three times Ctrl-C or Ctrl-D, in what is typed.
class AbortWord {
  public:
    bool typed(char c) {
        constexpr char ctrl_c = 3;
        constexpr char ctrl_d = 4;
        if (c == ctrl_c || c == ctrl_d) {
            controls_ = c == last_ ? controls_ + 1 : 1;
            last_ = c;
            return controls_ == 3;
        }
        last_ = c;
        controls_ = 0;
        const bool newline = c == '\n' || c == '\r';
        if (newline && word_ == "yes") return true;
        if (newline) {
            word_.clear();
        } else {
            word_ += c;
        }
        return false;
    }

  private:
    std::string word_;
    char last_ = 0;
    int controls_ = 0;
};

class ConnectionDialogue {
  public:
    ConnectionDialogue(const Session& session, int in, int out) : session_(session), in_(in), out_(out) {}
    ~ConnectionDialogue() {
        for (const Child& child : children_) close(child.fd);
    }
    ConnectionDialogue(const ConnectionDialogue&) = delete;
    ConnectionDialogue& operator=(const ConnectionDialogue&) = delete;

    void add(const ToolCall& call) {
        const int pid = session_.runner.start(call);
        if (pid < 0) return;
        children_.push_back({pid, static_cast<int>(syscall(SYS_pidfd_open, pid, 0))});
    }

    void run(const Resource& first);

  private:
    struct Child {
        pid_t pid;
        int fd;
    };

    void write_text(const std::string& text) const {
        if (out_ < 0) return;
        std::string_view rest = text;
        while (!rest.empty()) {
            const ssize_t count = write(out_, rest.data(), rest.size());
            if (count <= 0) return;
            rest.remove_prefix(static_cast<std::size_t>(count));
        }
    }
    void reap();
    bool wait_a_while(int timeout_ms, AbortWord* abort);
    void show_dots();
    std::string banner(const Resource& first) const;
    void prompt() const;

    const Session& session_;
    int in_;
    int out_;
    std::vector<Child> children_;
    Clock::time_point start_ = Clock::now();
};

void ConnectionDialogue::reap() {
    std::erase_if(children_, [](const Child& child) {
        if (waitpid(child.pid, nullptr, WNOHANG) == 0) return false;
        close(child.fd);
        return true;
    });
}

// Until something happens or the time is over. True if the user wants to wait no longer.
bool ConnectionDialogue::wait_a_while(int timeout_ms, AbortWord* abort) {
    std::vector<pollfd> polled;
    polled.reserve(children_.size() + 1);
    for (const Child& child : children_) polled.push_back({child.fd, POLLIN, 0});
    if (abort != nullptr && in_ >= 0) polled.push_back({in_, POLLIN, 0});
    if (poll(polled.data(), polled.size(), timeout_ms) <= 0) return false;
    const bool typed = abort != nullptr && in_ >= 0 && polled.back().revents != 0;
    reap();
    if (!typed) return false;
    std::array<char, 64> buffer{};
    const ssize_t count = read(in_, buffer.data(), buffer.size());
    if (count <= 0) in_ = -1;
    for (ssize_t i = 0; i < count; ++i) {
        if (abort->typed(buffer[static_cast<std::size_t>(i)])) return true;
    }
    return false;
}

void ConnectionDialogue::show_dots() {
    for (int second = 1; second <= 10 && !children_.empty(); ++second) {
        const Clock::time_point next = start_ + std::chrono::seconds(second);
        while (!children_.empty()) {
            const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - Clock::now());
            if (left.count() <= 0) break;
            wait_a_while(static_cast<int>(left.count()), nullptr);
        }
        if (!children_.empty()) write_text(".");
    }
}

std::string ConnectionDialogue::banner(const Resource& first) const {
    return fmt::format(
        "\n{:*^63}\n"
        " DRBD's startup script waits for the peer node(s) to appear.\n"
        " - If this node was already a degraded cluster before the\n"
        "   reboot, the timeout is {} seconds. [degr-wfc-timeout]\n"
        " - If the peer was available before the reboot, the timeout\n"
        "   is {} seconds. [wfc-timeout]\n"
        "   (These values are for resource '{}'; 0 sec -> wait forever)\n",
        "", startup_value(first, "degr-wfc-timeout"), startup_value(first, "wfc-timeout"), first.name);
}

void ConnectionDialogue::prompt() const {
    const auto waited_s = std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - start_).count();
    write_text(fmt::format("\r To abort waiting enter 'yes' [ -- ]: \033[s\033[31G[{:4}]:\033[u", waited_s));
}

void ConnectionDialogue::run(const Resource& first) {
    show_dots();
    if (children_.empty()) return write_text("\n");
    write_text(banner(first));
    if (in_ < 0) {
        write_text(
            fmt::format(" To abort waiting for DRBD connections, kill this process: kill {}\n", getpid()));
    }
    const RawTerminal raw(in_);
    AbortWord abort;
    const unsigned refresh_s = session_.config.global.dialog_refresh_s;
    if (in_ >= 0) prompt();
    while (!children_.empty()) {
        if (wait_a_while(refresh_s > 0 ? static_cast<int>(refresh_s) * 1000 : -1, &abort)) {
            for (const Child& child : children_) kill(child.pid, SIGINT);
            for (const Child& child : children_) waitpid(child.pid, nullptr, 0);
            break;
        }
        if (in_ >= 0 && refresh_s > 0) prompt();
    }
    write_text("\n");
}

}  // namespace

int wait_connect(Session& session, const Target& target) {
    ToolCall call = wait_call(session, *target.resource, *target.volume);
    session.add_setup_options(call.words);
    return session.runner.run(call);
}

int wait_connect_interruptible(Session& session, const Target& /*target*/) {
    int in = STDIN_FILENO;
    int out = STDOUT_FILENO;
    if (!session.on_terminal) {
        constexpr std::string_view warning = "WARN: stdin/stdout is not a TTY; using /dev/console";
        fmt::print(stderr, "{}", warning);
        fmt::print("{}", warning);
        in = open("/dev/console", O_RDWR | O_CLOEXEC | O_NOCTTY);
        // Without a console, as in containers, who reads the log is still told what is waited for.
        if (in >= 0) out = in;
    }
    ConnectionDialogue dialogue(session, in, out);
    const Resource* first = nullptr;
    for (const auto& resource : session.config.resources) {
        if (resource->ignored() || resource->stacked() != session.line.stacked) continue;
        if (first == nullptr) first = resource.get();
        for (const Volume& volume : resource->me->volumes) {
            const ToolCall call = wait_call(session, *resource, volume);
            session.runner.show(call);
            if (!session.dry_run()) dialogue.add(call);
        }
    }
    if (first != nullptr && !session.dry_run()) dialogue.run(*first);
    return 0;
}

}  // namespace duplex::drbdadm
