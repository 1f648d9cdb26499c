#include "tools/drbdsetup/start.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace duplex::drbdsetup {
namespace {

constexpr int ready_fd = 3;

// Beside this program, else to be found in PATH.
std::string program_path(const std::string& name) {
    std::array<char, PATH_MAX> self{};
    const ssize_t length = readlink("/proc/self/exe", self.data(), self.size());
    if (length > 0 && static_cast<size_t>(length) < self.size()) {
        std::string path(self.data(), static_cast<size_t>(length));
        path.resize(path.rfind('/') + 1);
        path += name;
        if (access(path.c_str(), X_OK) == 0) return path;
    }
    return name;
}

std::string log_path(std::string name) {
    std::ranges::replace(name, '/', '_');
    const char* const directory = std::getenv("DUPLEX_LOG_DIR");
    const std::string path = directory != nullptr && *directory != '\0' ? directory : "/var/log/duplex";
    mkdir(path.c_str(), 0750);
    return fmt::format("{}/{}.log", path, name);
}

[[noreturn]] void become(const std::string& program, std::vector<char*>& arguments, const std::string& log,
                         int ready) {
    setsid();
    const int null = open("/dev/null", O_RDWR);
    const int log_fd = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0640);
    dup2(null, STDIN_FILENO);
    // Without a place for them its words are lost; that is no reason not to run.
    dup2(log_fd >= 0 ? log_fd : null, STDOUT_FILENO);
    dup2(log_fd >= 0 ? log_fd : null, STDERR_FILENO);
    if (ready == ready_fd) {
        fcntl(ready_fd, F_SETFD, 0);
    } else {
        dup2(ready, ready_fd);
    }
    close_range(ready_fd + 1, UINT_MAX, 0);
    if (chdir("/") != 0) _exit(126);
    umask(022);
    execvp(program.c_str(), arguments.data());
    const std::string why = fmt::format("cannot start {}: {}", program, strerrordesc_np(errno));
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

// The process writes "ready" to the pipe it inherits, or what is wrong; or it dies and the pipe ends.
Status start(const std::string& program, std::vector<std::string> words, const std::string& log) {
    std::array<int, 2> ready{};
    if (pipe2(ready.data(), O_CLOEXEC) != 0) return error("pipe: {}", strerrordesc_np(errno));
    words.push_back(fmt::format("--ready-fd={}", ready_fd));
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    const pid_t child = fork();
    if (child == 0) become(program_path(program), arguments, log, ready[1]);
    const int problem = errno;
    close(ready[1]);
    if (child < 0) {
        close(ready[0]);
        return error("fork: {}", strerrordesc_np(problem));
    }
    const std::string answer = read_all(ready[0]);
    close(ready[0]);
    if (answer == "ready") return Ok{};
    waitpid(child, nullptr, 0);
    if (!answer.empty()) return error("{}", answer);
    return error("{} ended while it started; see {}", program, log);
}

}  // namespace

Status start_resource_process(const std::string& resource) {
    return start("duplexd", {"duplexd", resource}, log_path(resource));
}

Status start_proc_process() {
    return start("duplex", {"duplex", "procfs"}, log_path("procfs"));
}

}  // namespace duplex::drbdsetup
