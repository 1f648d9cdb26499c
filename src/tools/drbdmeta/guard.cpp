#include "tools/drbdmeta/guard.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <sys/file.h>
#include <unistd.h>

#include <fmt/format.h>

#include "tools/drbdmeta/directories.hpp"
#include "tools/drbdmeta/program.hpp"

namespace duplex::drbdmeta {

namespace {

void interrupt_the_wait(int) {}

// drbdsetup beside this program, or else the one in the path.
std::string drbdsetup_path() {
    std::array<char, 4096> self{};
    const ssize_t length = readlink("/proc/self/exe", self.data(), self.size() - 1);
    if (length > 0) {
        std::string path(self.data(), static_cast<size_t>(length));
        path.resize(path.rfind('/') + 1);
        path += "drbdsetup";
        if (access(path.c_str(), X_OK) == 0) return path;
    }
    return "drbdsetup";
}

}  // namespace

Status lock_minor(int minor) {
    const std::string path = fmt::format("{}/drbd-147-{}", lock_directory(), minor);
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return error("open({}) failed: {}", path, std::strerror(errno));
    struct sigaction on_alarm {};
    struct sigaction before {};
    on_alarm.sa_handler = interrupt_the_wait;  // without SA_RESTART: the alarm ends the wait
    sigaction(SIGALRM, &on_alarm, &before);
    alarm(1);
    struct flock whole_file {};
    whole_file.l_type = F_WRLCK;
    whole_file.l_whence = SEEK_SET;
    const int locked = fcntl(fd, F_SETLKW, &whole_file);
    const int problem = errno;
    alarm(0);
    sigaction(SIGALRM, &before, nullptr);
    if (locked == 0) return Ok{};  // the descriptor stays open: closing it would release the lock
    close(fd);
    if (problem != EINTR) return error("lock on {} failed: {}", path, std::strerror(problem));
    const int probe = open(path.c_str(), O_RDWR | O_CLOEXEC);
    whole_file.l_type = F_WRLCK;
    const bool known = probe >= 0 && fcntl(probe, F_GETLK, &whole_file) == 0 && whole_file.l_type != F_UNLCK;
    if (probe >= 0) close(probe);
    return error("lock on {} currently held by pid:{}", path, known ? whole_file.l_pid : 0);
}

Result<bool> is_attached(int minor) {
    const std::string claim = fmt::format("{}/minors/{}", run_directory(), minor);
    const int fd = open(claim.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        if (errno == ENOENT || errno == ENOTDIR) return false;
        return error("open({}) failed: {}", claim, std::strerror(errno));
    }
    const bool free =
        flock(fd, LOCK_SH | LOCK_NB) == 0;  // the owner holds it exclusively as long as it lives
    close(fd);
    if (free) return false;

    const Answer answer = run_program({drbdsetup_path(), "dstate", fmt::format("{}", minor)});
    if (answer.exit_code == 10 || answer.exit_code == 20) return false;
    if (answer.exit_code != 0)
        return error(
            "minor {} is in use, and 'drbdsetup dstate {}' does not tell whether it has a disk (exit code "
            "{})",
            minor, minor, answer.exit_code);
    const std::string own = answer.text.substr(0, answer.text.find_first_of("/ \t\n"));
    return own != "Diskless" && own != "Unconfigured";
}

}  // namespace duplex::drbdmeta
