// engine::Socket: one TCP connection.
//
// Sending: packets queue up during a turn; at its end as many as fit into one sendmsg go together, heads and
// payloads as the caller left them, without a copy of ours. Only one sendmsg is in the kernel at a time.
// Receiving: into one linear buffer that is offered whole. A new receive starts only when all of it was
// taken, so a reader that waits closes the TCP window and the peer waits too.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "base/list.hpp"
#include "engine/ports.hpp"
#include "runtime/fd.hpp"
#include "runtime/operation.hpp"

namespace duplex::runtime {

class Socket final : public engine::Socket, public ListNode<Socket> {
  public:
    static constexpr size_t receive_bytes = 256u << 10;
    static constexpr size_t iovecs_max = 64;
    static constexpr uint64_t linger_ms = 1000;

    // Adds itself to `all` and takes itself off when it destroys itself: after close(), once nothing of it is
    // in the kernel any more. cork: hint that more follows when a batch needs several sends.
    Socket(Loop& loop, List<Socket, Socket>& all, Fd fd, bool cork);

    void set_events(engine::SocketEvents& events) override;
    void send(engine::OutPacket& packet) override;
    void resume() override;
    void close(bool orderly) override;
    uint64_t sent_bytes() const override { return sent_bytes_; }

    // Closes at once, whatever state it is in: the process ends.
    void abandon();

  private:
    enum class State : uint8_t {
        open,
        draining,  // closed by the engine; the queue still goes out and the FIN, for linger_ms
        closing,   // only waits for the kernel to give back what it holds
    };

    ~Socket() = default;

    void flush();
    bool gather();
    void sent(int result);
    void account(size_t bytes);
    void send_failed(int error);

    void receive();
    void received(int result);
    void offer();
    void offer_again();
    void peer_gone(int error);

    void abort();
    void drained();
    void linger_over();
    void settle();

    Loop* loop_;
    List<Socket, Socket>* all_;
    Fd fd_;
    bool cork_;
    State state_ = State::open;
    engine::SocketEvents* events_ = nullptr;  // set whenever a receive is in flight and state_ is open

    List<engine::OutPacket, engine::OutPacket> queue_;
    size_t front_sent_bytes_ = 0;  // of the first packet in queue_
    uint64_t sent_bytes_ = 0;
    int send_error_ = 0;  // nothing can be sent any more
    msghdr message_{};
    std::array<iovec, iovecs_max> iovecs_;

    std::unique_ptr<uint8_t[]> buffer_;
    size_t begin_ = 0;
    size_t end_ = 0;
    bool offering_ = false;  // inside SocketEvents::received()
    bool stopped_ = false;   // the reader took less than it was offered
    bool resumed_ = false;   // resume() came while offering_
    bool end_seen_ = false;  // EOF or error: no receive any more

    On<&Socket::sent> send_operation_;
    On<&Socket::received> receive_operation_;
    CallLater<&Socket::flush> flush_call_;
    CallLater<&Socket::offer_again> offer_call_;
    CallLater<&Socket::settle> settle_call_;
    CallAfter<&Socket::linger_over> linger_timer_;
};

}  // namespace duplex::runtime
