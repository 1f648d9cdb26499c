#include "runtime/socket.hpp"

#include <cerrno>

#include "base/ensure.hpp"

namespace duplex::runtime {

Socket::Socket(Loop& loop, List<Socket, Socket>& all, Fd fd, bool cork)
    : loop_(&loop),
      all_(&all),
      fd_(std::move(fd)),
      cork_(cork),
      buffer_(std::make_unique_for_overwrite<uint8_t[]>(receive_bytes)),
      send_operation_(loop, *this),
      receive_operation_(loop, *this),
      flush_call_(*this),
      offer_call_(*this),
      settle_call_(*this),
      linger_timer_(*this) {
    all_->push_back(*this);
}

// ---- sending
// ----------------------------------------------------------------------------------------------------------

void Socket::send(engine::OutPacket& packet) {
    ensure(state_ == State::open && packet.head_bytes > 0 && packet.head_bytes <= sizeof packet.head);
    queue_.push_back(packet);
    loop_->end_of_turn(flush_call_);
}

void Socket::flush() {
    if (send_operation_.busy() || queue_.empty() || send_error_ != 0 || state_ == State::closing) return;
    const bool all_gathered = gather();
    // TCP_CORK without its system calls: a full batch that has more behind it need not end in a short
    // segment.
    send_operation_.sendmsg(fd_.get(), message_, !all_gathered && cork_ ? MSG_MORE : 0);
}

bool Socket::gather() {
    size_t count = 0;
    size_t skip_bytes = front_sent_bytes_;
    const auto add = [&](const uint8_t* data, size_t bytes) {
        if (skip_bytes >= bytes) {
            skip_bytes -= bytes;
            return;
        }
        iovecs_[count++] = {const_cast<uint8_t*>(data) + skip_bytes, bytes - skip_bytes};
        skip_bytes = 0;
    };
    bool all_gathered = true;
    for (const engine::OutPacket& packet : queue_) {
        if (count + 2 > iovecs_max) {
            all_gathered = false;
            break;
        }
        add(packet.head, packet.head_bytes);
        add(packet.payload, packet.payload_bytes);
    }
    message_.msg_iov = iovecs_.data();
    message_.msg_iovlen = count;
    return all_gathered;
}

void Socket::sent(int result) {
    if (result >= 0)
        account(static_cast<size_t>(result));
    else if (result != -EINTR && state_ != State::closing)
        send_failed(-result);
    if (state_ == State::closing) return settle();
    if (!queue_.empty())
        loop_->end_of_turn(flush_call_);
    else if (state_ == State::draining)
        drained();
}

// done() may queue more packets and may close the socket, but what it closes is only taken apart later.
void Socket::account(size_t bytes) {
    sent_bytes_ += bytes;
    while (bytes > 0) {
        engine::OutPacket& packet = queue_.front();
        const size_t left_bytes = size_t{packet.head_bytes} + packet.payload_bytes - front_sent_bytes_;
        if (bytes < left_bytes) {
            front_sent_bytes_ += bytes;
            return;
        }
        bytes -= left_bytes;
        front_sent_bytes_ = 0;
        queue_.pop_front();
        packet.done(true);
    }
}

// The reader learns of it after all that the peer sent was taken: with both directions shut down, the receive
// side ends when it is empty, also after an error that TCP itself would survive.
void Socket::send_failed(int error) {
    if (state_ == State::draining) return abort();
    send_error_ = error;
    ::shutdown(fd_.get(), SHUT_RDWR);
}

// ---- receiving
// --------------------------------------------------------------------------------------------------------

void Socket::set_events(engine::SocketEvents& events) {
    ensure(state_ == State::open);
    events_ = &events;
    if (offering_ || stopped_)
        resume();
    else if (!receive_operation_.busy() && !end_seen_)
        receive();
}

void Socket::resume() {
    ensure(state_ == State::open);
    if (offering_)
        resumed_ = true;
    else if (stopped_)
        loop_->next_turn(offer_call_);
}

void Socket::receive() {
    begin_ = end_ = 0;
    receive_operation_.recv(fd_.get(), {buffer_.get(), receive_bytes});
}

void Socket::received(int result) {
    if (state_ == State::closing) return settle();
    if (result == -EINTR) return receive();
    if (state_ == State::draining) {
        if (result > 0)
            return receive();  // nobody reads it, but left unread it would turn the FIN into a reset
        end_seen_ = true;
        if (result < 0 || queue_.empty()) abort();
        return;
    }
    if (result <= 0) return peer_gone(-result);
    end_ = static_cast<size_t>(result);
    offer();
}

void Socket::offer() {
    const std::span<const uint8_t> bytes{buffer_.get() + begin_, end_ - begin_};
    offering_ = true;
    resumed_ = false;
    const size_t taken = events_->received(*this, bytes);
    offering_ = false;
    if (state_ != State::open) return;
    ensure(taken <= bytes.size());
    begin_ += taken;
    if (begin_ == end_) return receive();
    stopped_ = true;
    if (resumed_) loop_->next_turn(offer_call_);
}

void Socket::offer_again() {
    if (!stopped_) return;
    stopped_ = false;
    offer();
}

void Socket::peer_gone(int error) {
    end_seen_ = true;
    if (send_error_ != 0) error = send_error_;
    send_error_ = error;
    events_->closed(*this, error);
}

// ---- closing
// ----------------------------------------------------------------------------------------------------------

void Socket::close(bool orderly) {
    ensure(state_ == State::open);
    events_ = nullptr;
    if (!orderly || send_error_ != 0) return abort();
    state_ = State::draining;
    loop_->cancel(offer_call_);
    loop_->arm(linger_timer_, linger_ms);
    if (queue_.empty() && !send_operation_.busy()) return drained();
    if (!receive_operation_.busy() && !end_seen_) receive();
}

// Everything was sent: the FIN goes out, and the peer's is awaited so that nothing unread is left.
void Socket::drained() {
    if (end_seen_) return abort();
    ::shutdown(fd_.get(), SHUT_WR);
    if (!receive_operation_.busy()) receive();
}

void Socket::linger_over() {
    abort();
}

void Socket::abandon() {
    events_ = nullptr;
    if (state_ != State::closing) abort();
}

void Socket::abort() {
    state_ = State::closing;
    loop_->cancel(linger_timer_);
    send_operation_.cancel();
    receive_operation_.cancel();
    loop_->next_turn(settle_call_);
}

void Socket::settle() {
    if (send_operation_.busy() || receive_operation_.busy()) return;
    while (!queue_.empty()) queue_.pop_front().done(false);
    loop_->cancel(flush_call_);
    loop_->cancel(offer_call_);
    loop_->cancel(settle_call_);
    all_->remove(*this);
    delete this;
}

}  // namespace duplex::runtime
