#include "control/device_lock.hpp"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <unistd.h>
#include <utility>

#include "control/directories.hpp"

namespace duplex::control {
namespace {

void interrupt_the_wait(int) {}

std::string path_of(unsigned minor) {
    return fmt::format("{}/drbd-147-{}", lock_directory(), minor);
}

struct flock whole_file() {
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    return lock;
}

}  // namespace

Result<DeviceLock> DeviceLock::take(unsigned minor) {
    const std::string path = path_of(minor);
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return error("open({}) failed: {}", path, std::strerror(errno));
    DeviceLock lock(fd);
    struct sigaction on_alarm {};
    struct sigaction before {};
    on_alarm.sa_handler = interrupt_the_wait;  // without SA_RESTART: the alarm ends the wait
    sigaction(SIGALRM, &on_alarm, &before);
    alarm(1);
    struct flock whole = whole_file();
    const int locked = fcntl(fd, F_SETLKW, &whole);
    const int problem = errno;
    alarm(0);
    sigaction(SIGALRM, &before, nullptr);
    if (locked == 0) return lock;
    if (problem != EINTR) return error("lock on {} failed: {}", path, std::strerror(problem));
    whole = whole_file();
    const bool known = fcntl(fd, F_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
    return error("lock on {} currently held by pid:{}", path, known ? whole.l_pid : 0);
}

DeviceLock::DeviceLock(DeviceLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

DeviceLock::~DeviceLock() {
    if (fd_ >= 0) close(fd_);
}

}  // namespace duplex::control
