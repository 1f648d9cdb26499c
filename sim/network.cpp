#include "sim/network.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/ensure.hpp"

namespace duplex::sim {

namespace {

constexpr uint64_t refused_us = 200;
constexpr uint64_t no_answer_us = 60'000'000;
constexpr uint64_t linger_us = 1'000'000;
constexpr uint64_t sweep_us = 1'000'000;
constexpr uint64_t loop_us_max = 20;  // until the port's loop gets to it

}  // namespace

// ---- the engine's side of a socket
// --------------------------------------------------------------------------------

void Socket::set_events(engine::SocketEvents& events) {
    ensure(state_ == State::open);
    events_ = &events;
    stopped_ = false;
    connection_.schedule_offer(side_, 0);
}

void Socket::send(engine::OutPacket& packet) {
    ensure(state_ == State::open && packet.head_bytes > 0 && packet.head_bytes <= sizeof packet.head);
    queue_.push_back(packet);
    queued_bytes_ += packet.head_bytes + packet.payload_bytes;
    if (CableWatch* const watch = connection_.cable_.watch) watch->queued(side_, *this, packet);
    connection_.schedule_pump(side_, connection_.cable_.scheduler_.random.below(loop_us_max));
}

void Socket::resume() {
    ensure(state_ == State::open);
    stopped_ = false;
    connection_.schedule_offer(side_, 0);
}

void Socket::close(bool orderly) {
    if (state_ == State::gone) return;  // the process is being taken apart after its machine lost power
    ensure(state_ == State::open);
    events_ = nullptr;
    if (CableWatch* const watch = connection_.cable_.watch) watch->closed(*this);
    Scheduler& scheduler = connection_.cable_.scheduler_;
    if (orderly && !broken_) {
        state_ = State::draining;
        connection_.schedule_pump(side_, 0);
        settle_event_ = scheduler.after(linger_us, [this] { connection_.give_back(side_); });
        return;
    }
    state_ = State::closed;
    settle_event_ = scheduler.after(0, [this] { connection_.give_back(side_); });
}

const Socket& Socket::peer() const {
    return connection_.sockets[1 - side_];
}

// ---- sending
// ------------------------------------------------------------------------------------------------------

size_t TcpConnection::window_used(unsigned receiver) const {
    const Socket& socket = sockets[receiver];
    size_t used = socket.arrived_.size() - socket.taken_bytes_;
    for (const Socket::Segment& segment : socket.under_way_) used += segment.bytes.size();
    return used;
}

void TcpConnection::schedule_pump(unsigned side, uint64_t delay_us) {
    Socket& socket = sockets[side];
    if (socket.pump_event_ != 0) return;
    socket.pump_event_ = cable_.scheduler_.after(delay_us, [this, side] {
        sockets[side].pump_event_ = 0;
        pump(side);
    });
}

void TcpConnection::pump(unsigned side) {
    Socket& socket = sockets[side];
    if (socket.state_ == Socket::State::closed || socket.state_ == Socket::State::gone || socket.broken_)
        return;
    const size_t used = window_used(1 - side);
    size_t room = cable_.model.window_bytes > used ? cable_.model.window_bytes - used : 0;
    std::vector<uint8_t> bytes;
    std::vector<engine::OutPacket*> sent;
    while (!socket.queue_.empty() && room > 0) {
        engine::OutPacket& packet = socket.queue_.front();
        const size_t size = size_t{packet.head_bytes} + packet.payload_bytes;
        const size_t part = std::min(room, size - socket.front_sent_bytes_);
        for (size_t i = socket.front_sent_bytes_; i < socket.front_sent_bytes_ + part;) {
            const bool in_head = i < packet.head_bytes;
            const size_t end = std::min(socket.front_sent_bytes_ + part, in_head ? packet.head_bytes : size);
            const uint8_t* from = in_head ? packet.head + i : packet.payload + (i - packet.head_bytes);
            bytes.insert(bytes.end(), from, from + (end - i));
            i = end;
        }
        room -= part;
        socket.front_sent_bytes_ += part;
        socket.sent_bytes_ += part;
        if (socket.front_sent_bytes_ < size) break;
        socket.front_sent_bytes_ = 0;
        sent.push_back(&socket.queue_.pop_front());
    }
    if (!bytes.empty()) transmit(1 - side, std::move(bytes));
    if (socket.state_ == Socket::State::draining && socket.queue_.empty() && !socket.end_sent_) {
        socket.end_sent_ = true;
        transmit(1 - side, {});
        cable_.scheduler_.cancel(socket.settle_event_);
        socket.state_ = Socket::State::closed;
    }
    for (engine::OutPacket* packet : sent) packet->done(true);
    if (!sent.empty()) cable_.ends_[side]->turn_.turn();
}

void TcpConnection::transmit(unsigned receiver, std::vector<uint8_t> bytes) {
    if (severed_) return;
    Socket& socket = sockets[receiver];
    const uint64_t earliest = socket.under_way_.empty() ? 0 : socket.under_way_.back().arrives_us;
    const uint64_t arrives_us = std::max(earliest, cable_.scheduler_.now_us() + cable_.latency_us());
    socket.under_way_.push_back({arrives_us, std::move(bytes)});
    schedule_arrival(receiver);
}

// ---- receiving
// ----------------------------------------------------------------------------------------------------

void TcpConnection::schedule_arrival(unsigned side) {
    Socket& socket = sockets[side];
    if (socket.arrival_event_ != 0 || socket.under_way_.empty() || cable_.cut_) return;
    const uint64_t now = cable_.scheduler_.now_us();
    const uint64_t at = std::max(now, socket.under_way_.front().arrives_us);
    socket.arrival_event_ = cable_.scheduler_.after(at - now, [this, side] { arrive(side); });
}

void TcpConnection::arrive(unsigned side) {
    Socket& socket = sockets[side];
    socket.arrival_event_ = 0;
    if (cable_.cut_ || socket.under_way_.empty()) return;
    const Socket::Segment segment = std::move(socket.under_way_.front());
    socket.under_way_.pop_front();
    const bool powered = cable_.ends_[side]->powered_;
    if (socket.state_ == Socket::State::gone) {
        // A machine that knows nothing of the connection says so; one that is off says nothing.
        if (powered) fail(1 - side, ECONNRESET);
    } else if (socket.state_ == Socket::State::closed) {
        if (!segment.bytes.empty()) fail(1 - side, ECONNRESET);
    } else if (segment.bytes.empty()) {
        socket.end_arrived_ = true;
        schedule_offer(side, 0);
    } else {
        socket.arrived_.insert(socket.arrived_.end(), segment.bytes.begin(), segment.bytes.end());
        schedule_offer(side, 0);
    }
    schedule_arrival(side);
}

void TcpConnection::schedule_offer(unsigned side, uint64_t delay_us) {
    Socket& socket = sockets[side];
    if (socket.offer_event_ != 0) return;
    socket.offer_event_ = cable_.scheduler_.after(delay_us, [this, side] {
        sockets[side].offer_event_ = 0;
        offer(side);
    });
}

void TcpConnection::offer(unsigned side) {
    Socket& socket = sockets[side];
    if (socket.state_ == Socket::State::draining) socket.taken_bytes_ = socket.arrived_.size();
    if (socket.state_ != Socket::State::open || !socket.events_ || socket.stopped_) return;
    Turn& turn = cable_.ends_[side]->turn_;
    const size_t available = socket.arrived_.size() - socket.taken_bytes_;
    if (available == 0) {
        if (socket.end_told_ || !(socket.broken_ || socket.end_arrived_)) return;
        socket.end_told_ = true;
        socket.events_->closed(socket, socket.broken_ ? socket.error_ : 0);
        turn.turn();
        return;
    }
    const size_t limit = std::min(available, cable_.model.segment_bytes_max);
    const size_t offered =
        cable_.scheduler_.random.chance(50) ? limit : 1 + cable_.scheduler_.random.below(limit);
    const size_t taken =
        socket.events_->received(socket, std::span(socket.arrived_).subspan(socket.taken_bytes_, offered));
    ensure(taken <= offered);
    cable_.scheduler_.note(taken);
    socket.taken_bytes_ += taken;
    socket.received_bytes_ += taken;
    if (socket.taken_bytes_ == socket.arrived_.size()) {
        socket.arrived_.clear();
        socket.taken_bytes_ = 0;
    }
    // resume() from inside received() has scheduled the next offer already.
    if (taken < offered && socket.offer_event_ == 0) socket.stopped_ = true;
    if (socket.state_ == Socket::State::open && !socket.stopped_)
        schedule_offer(side, cable_.scheduler_.random.below(loop_us_max));
    if (!sockets[1 - side].queue_.empty()) schedule_pump(1 - side, cable_.latency_us());
    turn.turn();
}

// ---- ends
// ---------------------------------------------------------------------------------------------------------

void TcpConnection::fail(unsigned side, int error) {
    Socket& socket = sockets[side];
    if (socket.broken_ || socket.state_ == Socket::State::gone) return;
    socket.broken_ = true;
    socket.error_ = error;
    if (socket.state_ == Socket::State::draining) {
        cable_.scheduler_.cancel(socket.settle_event_);
        socket.settle_event_ = cable_.scheduler_.after(0, [this, side] { give_back(side); });
    }
    schedule_offer(side, 0);
}

void TcpConnection::reset(uint64_t delay_us) {
    severed_ = true;
    for (const unsigned side : {0u, 1u}) {
        Socket& socket = sockets[side];
        const size_t keep = cable_.scheduler_.random.below(socket.under_way_.size() + 1);
        socket.under_way_.resize(keep);
        // It arrives before the reset does.
        while (!socket.under_way_.empty()) {
            const Socket::Segment& segment = socket.under_way_.front();
            socket.arrived_.insert(socket.arrived_.end(), segment.bytes.begin(), segment.bytes.end());
            socket.under_way_.pop_front();
        }
        cable_.scheduler_.after(delay_us > 0 ? cable_.scheduler_.random.below(delay_us) : 0,
                                [this, side] { fail(side, ECONNRESET); });
    }
}

// The engine has closed its socket: what is left in the queue goes back to it, and the peer is told.
void TcpConnection::give_back(unsigned side) {
    Socket& socket = sockets[side];
    if (socket.state_ == Socket::State::gone) return;
    socket.state_ = Socket::State::closed;
    if (!socket.end_sent_ && !socket.broken_) {
        // Unread data turn the end into a reset.
        if (socket.taken_bytes_ < socket.arrived_.size() || socket.front_sent_bytes_ > 0 ||
            cable_.scheduler_.random.chance(30)) {
            cable_.scheduler_.after(cable_.latency_us(), [this, side] {
                if (!cable_.cut_) fail(1 - side, ECONNRESET);
            });
        } else {
            transmit(1 - side, {});
        }
        socket.end_sent_ = true;
    }
    const bool any = !socket.queue_.empty();
    while (!socket.queue_.empty()) socket.queue_.pop_front().done(false);
    if (any) cable_.ends_[side]->turn_.turn();
}

void TcpConnection::forget(unsigned side) {
    Socket& socket = sockets[side];
    socket.events_ = nullptr;
    socket.queue_.clear();
    socket.state_ = Socket::State::gone;
    if (cable_.watch) cable_.watch->closed(socket);
    for (const Scheduler::EventId event : {socket.pump_event_, socket.settle_event_, socket.offer_event_})
        cable_.scheduler_.cancel(event);
    socket.pump_event_ = socket.settle_event_ = socket.offer_event_ = 0;
}

void TcpConnection::machine_gone(unsigned side) {
    forget(side);
}

void TcpConnection::machine_is_back(unsigned side) {
    if (sockets[side].state_ != Socket::State::gone) return;
    // TCP sends again what was never acknowledged.
    if (!sockets[side].under_way_.empty()) schedule_arrival(side);
    if (cable_.scheduler_.random.chance(50))
        cable_.scheduler_.after(cable_.scheduler_.random.below(3'000'000), [this, side] {
            if (!cable_.cut_ && cable_.ends_[side]->powered_) fail(1 - side, ECONNRESET);
        });
}

void TcpConnection::mended() {
    for (const unsigned side : {0u, 1u}) {
        const uint64_t retransmitted = cable_.scheduler_.now_us() + cable_.scheduler_.random.below(1'000'000);
        for (Socket::Segment& segment : sockets[side].under_way_)
            segment.arrives_us = std::max(segment.arrives_us, retransmitted);
        schedule_arrival(side);
    }
}

bool TcpConnection::finished() const {
    for (const Socket& socket : sockets) {
        if (socket.state_ != Socket::State::closed && socket.state_ != Socket::State::gone) return false;
        if (!socket.queue_.empty() || !socket.under_way_.empty()) return false;
    }
    return true;
}

bool TcpConnection::quiet(unsigned side) const {
    const Socket& socket = sockets[side];
    if (socket.state_ != Socket::State::open) return true;
    return socket.queue_.empty() && socket.under_way_.empty() &&
           socket.taken_bytes_ == socket.arrived_.size();
}

// ---- finding each other
// -------------------------------------------------------------------------------------------

void Network::configure(const engine::Endpoint&, const engine::Endpoint&, const engine::SocketLimits&,
                        engine::NetworkEvents& events) {
    ensure(!listening_ && !connecting_);
    events_ = &events;
}

Status Network::listen() {
    ensure(!listening_ && events_);
    listening_ = true;
    return Ok{};
}

void Network::stop_listening() {
    listening_ = false;
}

Status Network::connect() {
    ensure(!connecting_ && events_);
    connecting_ = true;
    attempt_event_ = cable_.scheduler_.after(cable_.latency_us(), [this] { attempt_arrives(); });
    return Ok{};
}

void Network::cancel_connect() {
    connecting_ = false;
    cable_.scheduler_.cancel(attempt_event_);
    attempt_event_ = 0;
    if (attempt_) {
        attempt_->sockets[side_].close(false);
        attempt_ = nullptr;
    }
}

void Network::attempt_arrives() {
    attempt_event_ = 0;
    Network& peer = *cable_.ends_[1 - side_];
    if (cable_.cut_ || !peer.powered_) return attempt_fails("no answer", no_answer_us);
    if (!peer.listening_) return attempt_fails("connection refused", refused_us + cable_.latency_us());
    TcpConnection& connection = cable_.open();
    attempt_ = &connection;
    attempt_event_ =
        cable_.scheduler_.after(cable_.latency_us(), [this, &connection] { attempt_succeeds(connection); });
    peer.events_->accepted(connection.sockets[1 - side_]);
    peer.turn_.turn();
}

void Network::attempt_fails(const char* why, uint64_t delay_us) {
    attempt_event_ = cable_.scheduler_.after(delay_us, [this, why] {
        attempt_event_ = 0;
        connecting_ = false;
        if (attempt_) std::exchange(attempt_, nullptr)->sockets[side_].close(false);
        events_->connect_failed(why);
        turn_.turn();
    });
}

void Network::attempt_succeeds(TcpConnection& connection) {
    if (cable_.cut_) return attempt_fails("no answer", no_answer_us);
    attempt_event_ = 0;
    attempt_ = nullptr;
    connecting_ = false;
    events_->connected(connection.sockets[side_]);
    turn_.turn();
}

// ---- the cable
// ----------------------------------------------------------------------------------------------------

TcpConnection& Cable::open() {
    sweep();
    return *connections_.emplace_back(std::make_unique<TcpConnection>(*this));
}

// Events of a finished connection may still be due; they find a closed socket, so it stays for a while.
void Cable::sweep() {
    std::list<std::unique_ptr<TcpConnection>> finished;
    for (auto at = connections_.begin(); at != connections_.end();) {
        const auto next = std::next(at);
        if ((*at)->finished()) finished.splice(finished.end(), connections_, at);
        at = next;
    }
    if (finished.empty()) return;
    auto keep = std::make_shared<std::list<std::unique_ptr<TcpConnection>>>(std::move(finished));
    scheduler_.after(60 * sweep_us, [keep] { keep->clear(); });
}

void Cable::cut() {
    cut_ = true;
}

void Cable::mend() {
    if (!cut_) return;
    cut_ = false;
    for (auto& connection : connections_) connection->mended();
}

void Cable::reset_all() {
    for (auto& connection : connections_) connection->reset(latency_us() * 4);
}

void Cable::power_off(unsigned side) {
    Network& network = *ends_[side];
    network.listening_ = false;
    network.connecting_ = false;
    network.attempt_ = nullptr;
    scheduler_.cancel(network.attempt_event_);
    network.attempt_event_ = 0;
    network.powered_ = false;
    network.events_ = nullptr;
    for (auto& connection : connections_) connection->machine_gone(side);
}

void Cable::power_on(unsigned side) {
    ends_[side]->powered_ = true;
    for (auto& connection : connections_) connection->machine_is_back(side);
}

void Cable::kill(unsigned side) {
    power_off(side);
    ends_[side]->powered_ = true;
    if (cut_) return;
    for (auto& connection : connections_) connection->reset(latency_us() * 2);
}

bool Cable::quiet() const {
    for (const auto& connection : connections_)
        if (!connection->quiet(0) || !connection->quiet(1)) return false;
    return true;
}

}  // namespace duplex::sim
