// One asynchronous operation on a descriptor at a time, for sockets, pipes and devices that exports and
// control serve:
//
//     class Client {
//         void received(int result);   // bytes, 0 at the end of the stream, or -errno
//         On<&Client::received> receive_{loop, *this};
//     };
//     receive_.recv(fd, buffer);       // -> received() from the loop, never from inside the call
//
// An Operation is used again as often as one likes, but not while busy(). Descriptor and buffers must stay
// until it is over. It must not be destroyed while busy(): cancel() it and wait for its result (-ECANCELED,
// or the real one if that came first); finished methods may start it again or destroy it.
#pragma once

#include <cstdint>
#include <span>
#include <sys/socket.h>

#include "runtime/loop.hpp"

namespace duplex::runtime {

class Operation : public Completion {
  public:
    explicit Operation(Loop& loop) : loop_(&loop) {}
    Operation(const Operation&) = delete;
    Operation& operator=(const Operation&) = delete;

    bool busy() const { return busy_; }
    // Harmless when not busy.
    void cancel();

    // Sockets. Sockets and pipes should be blocking ones (no O_NONBLOCK): io_uring then waits for readiness
    // itself. Short results are normal.
    void recv(int fd, std::span<uint8_t> buffer);
    void send(int fd, std::span<const uint8_t> bytes, int flags = 0);  // MSG_NOSIGNAL is added
    void recvmsg(int fd, msghdr& message, int flags = 0);              // for descriptors in messages
    void sendmsg(int fd, const msghdr& message, int flags = 0);        // MSG_NOSIGNAL is added
    // Result: the new descriptor, close-on-exec; the caller's. address may be null.
    void accept(int fd, sockaddr* address = nullptr, socklen_t* address_bytes = nullptr);
    void connect(int fd, const sockaddr* address, socklen_t address_bytes);

    // Files and devices. offset -1: the current position, for what has none.
    void read(int fd, std::span<uint8_t> buffer, uint64_t offset = UINT64_MAX);
    void write(int fd, std::span<const uint8_t> bytes, uint64_t offset = UINT64_MAX);

    // Waits until one of the poll(2) events; result: the events.
    void poll(int fd, uint32_t events);
    // Reports events again and again, edge by edge: read until EAGAIN each time. Stays busy until cancelled
    // or until the kernel ends it; when busy() is false in the finished method, start it again.
    void poll_multishot(int fd, uint32_t events);

    // For ..._prep_ functions not named above; the entry must be filled in at once.
    io_uring_sqe& start();

    void complete(int result, uint32_t flags) final;

  protected:
    ~Operation() { ensure(!busy_); }
    virtual void finished(int result) = 0;

  private:
    Loop* loop_;
    bool busy_ = false;
};

// An Operation that calls `Method` of its owner.
template <auto Method>
class On;

template <typename Owner, void (Owner::*Method)(int)>
class On<Method> final : public Operation {
  public:
    On(Loop& loop, Owner& owner) : Operation(loop), owner_(&owner) {}

  private:
    void finished(int result) override { (owner_->*Method)(result); }
    Owner* owner_;
};

// A Deferred and a Timer that call a method of their owner.
template <auto Method>
class CallLater;

template <typename Owner, void (Owner::*Method)()>
class CallLater<Method> final : public Deferred {
  public:
    explicit CallLater(Owner& owner) : owner_(&owner) {}
    void run() override { (owner_->*Method)(); }

  private:
    Owner* owner_;
};

template <auto Method>
class CallAfter;

template <typename Owner, void (Owner::*Method)()>
class CallAfter<Method> final : public engine::Timer {
  public:
    explicit CallAfter(Owner& owner) : owner_(&owner) {}
    void fired() override { (owner_->*Method)(); }

  private:
    Owner* owner_;
};

}  // namespace duplex::runtime
