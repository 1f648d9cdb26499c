#include "tools/drbdsetup/process_end.hpp"

#include <cerrno>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

namespace duplex::drbdsetup {

Result<ProcessEnd> ProcessEnd::of(const control::Client& client) {
    ucred peer{};
    socklen_t length = sizeof(peer);
    if (getsockopt(client.fd(), SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) {
        return error("cannot find out the process of the resource: {}", std::strerror(errno));
    }
    const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, peer.pid, 0));
    if (pidfd < 0) {
        return error("cannot watch process {} of the resource: {}", peer.pid, std::strerror(errno));
    }
    return ProcessEnd(pidfd);
}

ProcessEnd::ProcessEnd(ProcessEnd&& other) noexcept : pidfd_(std::exchange(other.pidfd_, -1)) {}

ProcessEnd::~ProcessEnd() {
    if (pidfd_ >= 0) close(pidfd_);
}

void ProcessEnd::wait() const {
    pollfd ended{pidfd_, POLLIN, 0};
    while (poll(&ended, 1, -1) < 0 && errno == EINTR) {
    }
}

}  // namespace duplex::drbdsetup
