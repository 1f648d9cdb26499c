#include "tools/drbdsetup/start.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <linux/close_range.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include <fmt/ranges.h>

#include "control/program_path.hpp"

namespace duplex::drbdsetup {
namespace {

constexpr int ready_fd = 3;

std::string log_path(std::string name) {
    std::ranges::replace(name, '/', '_');
    const char* const directory = std::getenv("DUPLEX_LOG_DIR");
    return fmt::format("{}/{}.log",
                       directory != nullptr && *directory != '\0' ? directory : "/var/log/duplex", name);
}

Result<int> open_log(const std::string& path) {
    std::error_code problem;  // if the directory cannot be made, open() says so
    std::filesystem::create_directories(std::filesystem::path(path).parent_path(), problem);
    const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (fd < 0) return error("cannot open the log {}: {}", path, strerrordesc_np(errno));
    return fd;
}

// In the child. main() has seen to it that descriptors 0 to 2 were taken before the others were opened; log
// and the pipe's other end lie between them and ready, so ready is not ready_fd, whose close-on-exec would
// stay.
[[noreturn]] void become(const std::string& program, std::vector<char*>& arguments, int log, int ready) {
    setsid();
    signal(SIGPIPE, SIG_DFL);
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    dup2(ready, ready_fd);
    close_range(ready_fd + 1, UINT_MAX, 0);
    if (chdir("/") != 0) _exit(126);
    umask(022);
    execvp(program.c_str(), arguments.data());
    const std::string why = fmt::format("cannot execute {}: {}", program, strerrordesc_np(errno));
    [[maybe_unused]] const ssize_t written = write(ready_fd, why.data(), why.size());
    _exit(127);
}

std::string read_all(int fd) {
    std::string text;
    std::array<char, 1024> bytes;
    for (;;) {
        const ssize_t length = read(fd, bytes.data(), bytes.size());
        if (length < 0 && errno == EINTR) continue;
        if (length <= 0) return text;
        text.append(bytes.data(), static_cast<size_t>(length));
    }
}

int wait_status_of(pid_t child) {
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

std::string end_of(pid_t child) {
    const int status = wait_status_of(child);
    if (WIFSIGNALED(status)) return fmt::format("signal {} ended it", WTERMSIG(status));
    return fmt::format("it ended with status {}", WEXITSTATUS(status));
}

// Where systemd runs, a process that a tool started would be killed with the session or the unit that the
// tool was called in. The units name the installed program and its usual directories; whoever uses others is
// on his own.
bool systemd_has_units_for(const std::string& program) {
    for (const char* const name :
         {"DUPLEX_RUN_DIR", "DUPLEX_CONF", "DUPLEX_LOG_DIR", "DUPLEX_LOCK_DIR", "DUPLEX_STATE_DIR"}) {
        if (std::getenv(name) != nullptr) return false;
    }
    return program.starts_with("/usr/sbin/") && access("/run/systemd/system", F_OK) == 0 &&
           access("/lib/systemd/system/duplexd@.service", F_OK) == 0;
}

Status start_unit(const std::string& unit) {
    const pid_t child = fork();
    if (child == 0) {
        execlp("systemctl", "systemctl", "start", "--quiet", unit.c_str(), nullptr);
        _exit(127);
    }
    if (child < 0) return error("fork: {}", strerrordesc_np(errno));
    if (wait_status_of(child) == 0) return Ok{};
    return error("{} did not start: \"journalctl -u '{}'\" says why", unit, unit);
}

}  // namespace

Status start_program(const std::string& program, std::vector<std::string> words, const std::string& log) {
    const std::string path = log_path(log);
    const Result<int> log_fd = open_log(path);
    if (!log_fd) return log_fd.error();
    std::array<int, 2> ready{};
    if (pipe2(ready.data(), O_CLOEXEC) != 0) return error("pipe: {}", strerrordesc_np(errno));
    words.insert(words.begin(), program);
    words.push_back(fmt::format("--ready-fd={}", ready_fd));
    std::vector<char*> arguments;
    arguments.reserve(words.size() + 1);
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    const pid_t child = fork();
    if (child == 0) become(program, arguments, *log_fd, ready[1]);
    const int problem = errno;
    close(*log_fd);
    close(ready[1]);
    const std::string answer = child > 0 ? read_all(ready[0]) : std::string();
    close(ready[0]);
    if (child < 0) return error("fork: {}", strerrordesc_np(problem));
    if (answer == "ready") return Ok{};
    const std::string end = end_of(child);
    return error("{} did not start: {} (its log is {})", fmt::join(words.begin(), words.end() - 1, " "),
                 answer.empty() ? end : answer, path);
}

std::string resource_unit(std::string_view resource) {
    std::string name = "duplexd@";
    for (const char c : resource) {
        const bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                           c == '_' || c == ':' || (c == '.' && name.back() != '@');
        if (plain) {
            name += c;
        } else if (c == '/') {
            name += '-';
        } else {
            name += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
        }
    }
    return name + ".service";
}

Status start_resource_process(const std::string& resource) {
    const std::string program = control::program_path("duplexd");
    if (systemd_has_units_for(program)) return start_unit(resource_unit(resource));
    return start_program(program, {resource}, resource);
}

Status start_proc_process() {
    const std::string program = control::program_path("duplex-procfs");
    if (systemd_has_units_for(program)) return start_unit("duplex-procfs.service");
    return start_program(program, {}, "procfs");
}

}  // namespace duplex::drbdsetup
