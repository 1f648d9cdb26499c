#include "engine/establish.hpp"

#include <algorithm>

#include "wire/header.hpp"
#include "wire/rules.hpp"

namespace duplex::engine {

namespace {

// More half-open connections than this are a flood, not a peer.
constexpr size_t waiting_connections_max = 4;

}  // namespace

Establisher::Establisher(const Ports& ports, PacketPool& packets, const config::NetOptions& options,
                         Event& event, std::function<bool()> stop)
    : ports_(ports), packets_(packets), options_(options), event_(event), stop_(std::move(stop)) {}

Establisher::~Establisher() {
    ports_.network.stop_listening();
    if (connecting_) ports_.network.cancel_connect();
    for (Candidate& candidate : candidates_)
        if (candidate.socket) candidate.socket->close(false);
}

size_t Establisher::Candidate::received(Socket&, std::span<const uint8_t> bytes) {
    if (!reads_first_packet || filled == first_packet.size()) return 0;
    const size_t taken = std::min(bytes.size(), first_packet.size() - filled);
    std::copy_n(bytes.begin(), taken, first_packet.begin() + static_cast<long>(filled));
    filled += taken;
    if (filled == first_packet.size()) owner.event_.notify();
    return taken;
}

void Establisher::Candidate::closed(Socket&, int) {
    dead = true;
    owner.event_.notify();
}

Establisher::Candidate& Establisher::add(Socket& socket, bool reads_first_packet) {
    Candidate& candidate = candidates_.emplace_back(*this);
    candidate.socket = &socket;
    candidate.reads_first_packet = reads_first_packet;
    socket.set_events(candidate);
    event_.notify();
    return candidate;
}

void Establisher::close(Candidate*& candidate) {
    if (!candidate) return;
    candidate->socket->close(false);
    candidates_.remove_if([candidate](const Candidate& c) { return &c == candidate; });
    candidate = nullptr;
}

void Establisher::connected(Socket& socket) {
    connecting_ = false;
    new_connection_ = &add(socket, false);
}

void Establisher::connect_failed(std::string_view) {
    connecting_ = false;
    event_.notify();
}

void Establisher::accepted(Socket& socket) {
    if (to_accept_.size() == waiting_connections_max) {
        socket.close(false);
        return;
    }
    to_accept_.push_back(&add(socket, true));
}

void Establisher::forget_dead() {
    if (data_ && data_->dead) close(data_);
    if (meta_ && meta_->dead) close(meta_);
}

void Establisher::send_first_packet(Candidate& candidate, bool data) {
    SmallPacket* packet = packets_.take();
    ensure(packet != nullptr);  // nothing else is sent while there is no connection
    const wire::Header header{data ? wire::Command::initial_data : wire::Command::initial_meta, 0, 0};
    packet->head_bytes =
        static_cast<uint32_t>(encode_header(wire::HeaderFormat::header80, header, packet->head));
    candidate.socket->send(*packet);
}

Task<> Establisher::connect_once() {
    const Status started = ports_.network.connect();
    if (!started) {
        local_error_ = started.error().text;
        co_return;
    }
    connecting_ = true;
    Deadline limit(ports_.clock, event_, options_.connect_int_s * uint64_t{1000});
    while (connecting_ && !limit.passed() && !stop_()) {
        auto woken = event_.wait();
        co_await woken;
    }
    if (connecting_) {
        ports_.network.cancel_connect();
        connecting_ = false;
    }
    Candidate* socket = std::exchange(new_connection_, nullptr);
    if (!socket) co_return;
    if (!data_) {
        data_ = socket;
        send_first_packet(*data_, true);
    } else if (!meta_) {
        meta_ = socket;
        pair_.resolver = false;
        send_first_packet(*meta_, false);
    } else {
        close(socket);
    }
}

Task<bool> Establisher::accept_once() {
    const uint64_t interval_ms = options_.connect_int_s * uint64_t{1000};
    const bool longer = ports_.host.random64() & 1;
    Deadline limit(ports_.clock, event_,
                   longer ? interval_ms + interval_ms / 7 : interval_ms - interval_ms / 7);
    while (to_accept_.empty() && !limit.passed() && !stop_()) {
        auto woken = event_.wait();
        co_await woken;
    }
    if (to_accept_.empty()) co_return false;
    Candidate* socket = to_accept_.front();
    to_accept_.pop_front();

    Deadline read_limit(ports_.clock, event_, 4 * ping_timeout_ms());
    while (socket->filled < socket->first_packet.size() && !socket->dead && !read_limit.passed() &&
           !stop_()) {
        auto woken = event_.wait();
        co_await woken;
    }
    forget_dead();
    bool crossed = true;
    const Result<wire::Header> header =
        socket->filled == socket->first_packet.size()
            ? decode_header(wire::HeaderFormat::header80, socket->first_packet)
            : Result<wire::Header>(error("no first packet"));
    if (header && header->command == wire::Command::initial_data && header->length == 0) {
        crossed = data_ != nullptr;
        close(data_);
        data_ = socket;
    } else if (header && header->command == wire::Command::initial_meta && header->length == 0) {
        crossed = meta_ != nullptr;
        close(meta_);
        meta_ = socket;
        pair_.resolver = true;
    } else {
        ports_.host.log(LogLevel::warning, "Error receiving initial packet");
        close(socket);
    }
    co_return crossed && (ports_.host.random64() & 1);
}

Task<bool> Establisher::both_alive() {
    if (!data_ || !meta_) co_return false;
    const uint64_t check_ms = options_.socket_check_timeout_ds
                                  ? options_.socket_check_timeout_ds * uint64_t{100}
                                  : ping_timeout_ms();
    Deadline settled(ports_.clock, event_, check_ms);
    while (!settled.passed() && !stop_()) {
        auto woken = event_.wait();
        co_await woken;
    }
    forget_dead();
    co_return data_&& meta_;
}

Task<Establisher::Outcome> Establisher::run() {
    const Status listening = ports_.network.listen();
    if (!listening) {
        local_error_ = listening.error().text;
        co_return Outcome::local_error;
    }
    while (!stop_()) {
        Task<> connected_once = connect_once();
        co_await connected_once;
        if (!local_error_.empty()) co_return Outcome::local_error;
        Task<bool> alive_after_connect = both_alive();
        bool alive = co_await alive_after_connect;
        bool again = !alive;
        while (again && !stop_()) {
            Task<bool> accepted_once = accept_once();
            again = co_await accepted_once;
        }
        if (!alive) {
            Task<bool> alive_after_accept = both_alive();
            alive = co_await alive_after_accept;
        }
        if (alive && !stop_()) {
            pair_.data = std::exchange(data_->socket, nullptr);
            pair_.meta = std::exchange(meta_->socket, nullptr);
            co_return Outcome::pair;
        }
    }
    co_return Outcome::stopped;
}

}  // namespace duplex::engine
