#include "tools/drbdsetup/start_process.hpp"

#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

namespace duplex::drbdsetup {
namespace {

class Descriptor {
  public:
    explicit Descriptor(int fd) : fd_(fd) {}
    ~Descriptor() { reset(); }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    int get() const { return fd_; }
    void reset() {
        if (fd_ >= 0) close(std::exchange(fd_, -1));
    }

  private:
    int fd_;
};

constexpr int ready_fd = 3;

// In the child, between fork and exec: nothing but system calls. main() has seen to it that descriptors 0 to
// 2 were taken before log and ready were opened, one after the other with the pipe's other end between them:
// so ready is not ready_fd itself, whose close-on-exec would stay.
[[noreturn]] void become(const char* const* words, int log, int ready) {
    setsid();
    const int nothing = open("/dev/null", O_RDONLY);
    dup2(nothing, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    dup2(ready, ready_fd);
    close_range(ready_fd + 1, ~0u, 0);
    if (chdir("/") != 0) _exit(127);
    execvp(words[0], const_cast<char* const*>(words));
    const char* const reason = strerrordesc_np(errno);
    constexpr std::string_view start = "cannot execute it: ";
    [[maybe_unused]] ssize_t written = write(ready_fd, start.data(), start.size());
    written = write(ready_fd, reason, std::strlen(reason));
    _exit(127);
}

Result<int> open_log(const std::string& path) {
    std::error_code problem;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path(), problem);
    const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (fd < 0) return error("cannot open the log {}: {}", path, std::strerror(errno));
    return fd;
}

// Until its end is closed on all sides.
std::string read_all(int fd) {
    std::string text;
    std::array<char, 4096> bytes;
    for (;;) {
        const ssize_t length = read(fd, bytes.data(), bytes.size());
        if (length > 0) text.append(bytes.data(), static_cast<size_t>(length));
        if (length == 0 || (length < 0 && errno != EINTR)) return text;
    }
}

std::string end_of(pid_t pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFSIGNALED(status)) return fmt::format("signal {} ended it", WTERMSIG(status));
    return fmt::format("it ended with status {}", WEXITSTATUS(status));
}

}  // namespace

std::string log_path_of(std::string_view resource) {
    const char* const directory = std::getenv("DUPLEX_LOG_DIR");
    std::string name(resource);
    for (char& c : name) {
        if (c == '/') c = '_';
    }
    return fmt::format("{}/{}.log",
                       directory != nullptr && *directory != '\0' ? directory : "/var/log/duplex", name);
}

Status start_process(const std::string& program, const std::string& resource) {
    const std::string log_path = log_path_of(resource);
    const Result<int> opened = open_log(log_path);
    if (!opened) return opened.error();
    const Descriptor log(*opened);
    std::array<int, 2> pipe_ends{};
    if (pipe2(pipe_ends.data(), O_CLOEXEC) != 0) return error("cannot make a pipe: {}", std::strerror(errno));
    const Descriptor from_process(pipe_ends[0]);
    Descriptor ready(pipe_ends[1]);
    const std::string ready_option = fmt::format("--ready-fd={}", ready_fd);
    const std::array<const char*, 4> words{program.c_str(), resource.c_str(), ready_option.c_str(), nullptr};
    const pid_t pid = fork();
    if (pid < 0) return error("cannot fork: {}", std::strerror(errno));
    if (pid == 0) become(words.data(), log.get(), ready.get());
    ready.reset();
    const std::string answer = read_all(from_process.get());
    if (answer == "ready") return Ok{};
    return error("{} {} did not start: {} (its log is {})", program, resource,
                 answer.empty() ? end_of(pid) : answer, log_path);
}

std::string duplexd_path() {
    std::array<char, PATH_MAX> self{};
    const ssize_t length = readlink("/proc/self/exe", self.data(), self.size());
    if (length > 0 && static_cast<size_t>(length) < self.size()) {
        std::string path(self.data(), static_cast<size_t>(length));
        path.resize(path.rfind('/') + 1);
        path += "duplexd";
        if (access(path.c_str(), X_OK) == 0) return path;
    }
    return "duplexd";
}

}  // namespace duplex::drbdsetup
