#include "tools/drbdadm/tool_runner.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <optional>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "config/quote.hpp"
#include "config/report.hpp"
#include "control/program_path.hpp"

namespace duplex::drbdadm {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int status_cannot_run = config::exit_fatal;

class FileDescriptor {
  public:
    FileDescriptor() = default;
    explicit FileDescriptor(int fd) : fd_(fd) {}
    FileDescriptor(const FileDescriptor&) = delete;
    FileDescriptor& operator=(const FileDescriptor&) = delete;
    ~FileDescriptor() { reset(); }
    void reset(int fd = -1) {
        if (fd_ >= 0) close(fd_);
        fd_ = fd;
    }
    int get() const { return fd_; }

  private:
    int fd_ = -1;
};

struct Pipe {
    FileDescriptor read_end;
    FileDescriptor write_end;

    bool open() {
        std::array<int, 2> ends{};
        if (pipe2(ends.data(), O_CLOEXEC) != 0) return false;
        read_end.reset(ends[0]);
        write_end.reset(ends[1]);
        return true;
    }
};

[[noreturn]] void become_tool(const ToolCall& call, const std::string& path, int out, int err) {
    // A tool does not outlive the drbdadm that waits for it.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (out >= 0) dup2(out, STDOUT_FILENO);
    if (err >= 0) dup2(err, STDERR_FILENO);
    if (!call.resource.empty()) setenv("DRBD_RESOURCE", call.resource.c_str(), 1);
    for (const auto& [name, value] : call.environment) setenv(name.c_str(), value.c_str(), 1);
    std::vector<char*> arguments;
    arguments.reserve(call.words.size() + 1);
    for (const std::string& word : call.words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    execv(path.c_str(), arguments.data());
    fmt::print(stderr, "Can not exec\n");
    std::fflush(stderr);
    _exit(status_cannot_run);
}

bool is_executable(const std::string& path) {
    return access(path.c_str(), X_OK) == 0 && !std::filesystem::is_directory(path);
}

// Appends what there is to read; false at the end.
bool read_some(int fd, std::string& text) {
    std::array<char, 4096> buffer{};
    const ssize_t count = read(fd, buffer.data(), buffer.size());
    if (count < 0) return errno == EINTR;
    text.append(buffer.data(), static_cast<std::size_t>(count));
    return count > 0;
}

int status_of(int wait_status) {
    return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : status_cannot_run;
}

// Waits for the child and for the end of what it writes; nothing if the time ran out.
std::optional<int> wait_for(pid_t child, Pipe& out, std::string* out_text, Pipe& err, std::string* err_text,
                            unsigned limit_s) {
    const FileDescriptor child_fd(static_cast<int>(syscall(SYS_pidfd_open, child, 0)));
    const Clock::time_point deadline = Clock::now() + std::chrono::seconds(limit_s);
    bool ended = false;
    while (!ended || out.read_end.get() >= 0 || err.read_end.get() >= 0) {
        std::array<pollfd, 3> polled{{{ended ? -1 : child_fd.get(), POLLIN, 0},
                                      {out.read_end.get(), POLLIN, 0},
                                      {err.read_end.get(), POLLIN, 0}}};
        int timeout_ms = -1;
        if (limit_s > 0) {
            const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
            timeout_ms = static_cast<int>(std::max<int64_t>(left.count(), 0));
        }
        const int ready = poll(polled.data(), polled.size(), timeout_ms);
        if (ready == 0) return std::nullopt;
        if (ready < 0) continue;
        if (polled[0].revents != 0) ended = true;
        if (polled[1].revents != 0 && !read_some(polled[1].fd, *out_text)) out.read_end.reset();
        if (polled[2].revents != 0 && !read_some(polled[2].fd, *err_text)) err.read_end.reset();
    }
    int wait_status = 0;
    while (waitpid(child, &wait_status, 0) < 0 && errno == EINTR) {
    }
    return status_of(wait_status);
}

}  // namespace

unsigned ToolRunner::limit_s(TimeLimit limit) const {
    switch (limit) {
        case TimeLimit::short_time:
            return settings_.limits.cmd_timeout_short_s;
        case TimeLimit::medium_time:
            return settings_.limits.cmd_timeout_medium_s;
        case TimeLimit::long_time:
            return settings_.limits.cmd_timeout_long_s;
        case TimeLimit::none:
            break;
    }
    return 0;
}

std::string ToolRunner::find_program(const std::string& name) const {
    if (name.find('/') != std::string::npos) return is_executable(name) ? name : std::string();
    if (const std::size_t slash = settings_.own_path.rfind('/'); slash != std::string::npos) {
        std::string beside = settings_.own_path.substr(0, slash + 1) + name;
        if (is_executable(beside)) return beside;
    }
    const char* path_variable = std::getenv("PATH");
    std::string_view path = path_variable != nullptr ? path_variable : "";
    while (!path.empty()) {
        const std::size_t end = std::min(path.find(':'), path.size());
        std::string candidate = fmt::format("{}/{}", path.substr(0, end), name);
        if (end > 0 && is_executable(candidate)) return candidate;
        path.remove_prefix(std::min(end + 1, path.size()));
    }
    const std::string directory = control::program_directory();
    if (directory.empty()) return {};
    std::string beside = directory + name;
    return is_executable(beside) ? beside : std::string();
}

void ToolRunner::show(const ToolCall& call) const {
    if (settings_.dry_run == 0 && settings_.verbose == 0) return;
    if (!settings_.shell_variable.empty() && !call.resource.empty()) {
        fmt::print("{}={}\n", settings_.shell_variable, config::shell_escaped(call.resource));
    }
    std::string text;
    for (const std::string& word : call.words) {
        if (!text.empty()) text += ' ';
        text += config::shell_escaped(word);
    }
    fmt::print("{}\n", text);
}

int ToolRunner::start(const ToolCall& call) const {
    const std::string path = find_program(call.words.front());
    std::fflush(stdout);
    std::fflush(stderr);
    const pid_t child = fork();
    if (child == 0) become_tool(call, path, -1, -1);
    return child;
}

int ToolRunner::run(const ToolCall& call) const {
    timed_out_ = false;
    if (!call.always) {
        show(call);
        if (settings_.dry_run > 0) return 0;
    }
    const std::string path = find_program(call.words.front());
    if (path.empty()) {
        fmt::print(stderr, "Can not exec {}: not found\n", call.words.front());
        return status_cannot_run;
    }
    Pipe out;
    Pipe err;
    FileDescriptor nowhere;
    if ((call.stdout_text != nullptr && !out.open()) || (call.stderr_text != nullptr && !err.open())) {
        fmt::print(stderr, "Can not exec {}: no pipe\n", call.words.front());
        return status_cannot_run;
    }
    const bool drop_stderr = call.drop_stderr || settings_.drop_stderr;
    if (drop_stderr) nowhere.reset(open("/dev/null", O_WRONLY | O_CLOEXEC));
    std::fflush(stdout);
    std::fflush(stderr);
    const pid_t child = fork();
    if (child == 0) {
        become_tool(call, path, out.write_end.get(), drop_stderr ? nowhere.get() : err.write_end.get());
    }
    if (child < 0) {
        fmt::print(stderr, "Can not fork\n");
        return status_cannot_run;
    }
    out.write_end.reset();
    err.write_end.reset();

    const unsigned limit = limit_s(call.limit);
    const std::optional<int> status = wait_for(child, out, call.stdout_text, err, call.stderr_text, limit);
    const bool quiet = drop_stderr || call.stderr_text != nullptr;
    if (!status) {
        timed_out_ = true;
        kill(child, SIGKILL);
        waitpid(child, nullptr, 0);
        if (!quiet) {
            fmt::print(stderr, "Command '{}' did not terminate within {} seconds\n",
                       fmt::join(call.words, " "), limit);
        }
        return status_cannot_run;
    }
    if (*status >= 10 && !quiet && call.limit != TimeLimit::none) {
        fmt::print(stderr, "Command '{}' terminated with exit code {}\n", fmt::join(call.words, " "),
                   *status);
    }
    return *status;
}

}  // namespace duplex::drbdadm
