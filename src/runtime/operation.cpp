#include "runtime/operation.hpp"

#include "base/ensure.hpp"

namespace duplex::runtime {

io_uring_sqe& Operation::start() {
    ensure(!busy_);
    busy_ = true;
    return loop_->prepare(*this);
}

void Operation::complete(int result, uint32_t flags) {
    if (!(flags & IORING_CQE_F_MORE)) busy_ = false;
    finished(result);  // may destroy *this
}

void Operation::cancel() {
    if (busy_) loop_->cancel(*this);
}

void Operation::recv(int fd, std::span<uint8_t> buffer) {
    io_uring_prep_recv(&start(), fd, buffer.data(), buffer.size(), 0);
}

void Operation::send(int fd, std::span<const uint8_t> bytes, int flags) {
    io_uring_prep_send(&start(), fd, bytes.data(), bytes.size(), flags | MSG_NOSIGNAL);
}

void Operation::recvmsg(int fd, msghdr& message, int flags) {
    io_uring_prep_recvmsg(&start(), fd, &message, static_cast<unsigned>(flags | MSG_CMSG_CLOEXEC));
}

void Operation::sendmsg(int fd, const msghdr& message, int flags) {
    io_uring_prep_sendmsg(&start(), fd, &message, static_cast<unsigned>(flags | MSG_NOSIGNAL));
}

void Operation::accept(int fd, sockaddr* address, socklen_t* address_bytes) {
    io_uring_prep_accept(&start(), fd, address, address_bytes, SOCK_CLOEXEC);
}

void Operation::connect(int fd, const sockaddr* address, socklen_t address_bytes) {
    io_uring_prep_connect(&start(), fd, address, address_bytes);
}

void Operation::read(int fd, std::span<uint8_t> buffer, uint64_t offset) {
    io_uring_prep_read(&start(), fd, buffer.data(), static_cast<unsigned>(buffer.size()), offset);
}

void Operation::write(int fd, std::span<const uint8_t> bytes, uint64_t offset) {
    io_uring_prep_write(&start(), fd, bytes.data(), static_cast<unsigned>(bytes.size()), offset);
}

void Operation::poll(int fd, uint32_t events) {
    io_uring_prep_poll_add(&start(), fd, events);
}

void Operation::poll_multishot(int fd, uint32_t events) {
    io_uring_prep_poll_multishot(&start(), fd, events);
}

}  // namespace duplex::runtime
