#include "engine/link.hpp"

#include <algorithm>
#include <utility>

#include "wire/header.hpp"

namespace duplex::engine {

Link::Link(const Ports& ports, PacketPool& packets, LinkUser& user, Executor& executor)
    : answered(executor),
      ports_(ports),
      packets_(packets),
      user_(user),
      data_(*this, Channel::data),
      meta_(*this, Channel::meta),
      ping_timer_(*this),
      stall_timer_(*this) {}

Link::~Link() {
    ports_.clock.cancel(ping_timer_);
    ports_.clock.cancel(stall_timer_);
}

void Link::open(Socket& data, Socket& meta, const config::NetOptions& options) {
    ensure(!is_open());
    failed_ = holding_ = awaiting_ping_ack_ = false;
    agreement_ = {};
    set_times(options);
    for (Channel channel : {Channel::data, Channel::meta}) {
        End& end = at(channel);
        end.reader = wire::PacketReader(channel);
        end.stopped = true;
        end.block_waits = end.ended = end.behind = false;
        end.socket = channel == Channel::data ? &data : &meta;
        end.queued_bytes = end.progress_bytes = end.socket->sent_bytes();
        end.last_received_ms = ports_.clock.now_ms();
        end.socket->set_events(end);
    }
    ports_.clock.arm(ping_timer_, ping_int_ms_);
    ports_.clock.arm(stall_timer_, timeout_ms_);
}

void Link::set_times(const config::NetOptions& options) {
    ping_int_ms_ = options.ping_int_s * uint64_t{1000};
    ping_timeout_ms_ = options.ping_timeout_ds * uint64_t{100};
    timeout_ms_ = options.timeout_ds * uint64_t{100};
    ko_count_ = ko_left_ = options.ko_count;
}

void Link::close(bool orderly) {
    close_data(orderly);
    if (meta_.socket) std::exchange(meta_.socket, nullptr)->close(orderly);
}

void Link::close_data(bool orderly) {
    if (!is_open()) return;
    failed_ = true;
    release_data();
    std::exchange(data_.socket, nullptr)->close(orderly);
    ports_.clock.cancel(ping_timer_);
    ports_.clock.cancel(stall_timer_);
    answered.notify();
}

void Link::finish() {
    if (!is_open()) return;
    close_data(true);
    if (!meta_.ended) meta_.socket->resume();
}

void Link::fail(wire::ConnState why, const std::string& text) {
    if (failed_ || !is_open()) return;
    failed_ = true;
    user_.link_failed(why, text);
}

void Link::set_agreement(const wire::Agreement& agreement) {
    agreement_ = agreement;
    for (End* end : {&data_, &meta_})
        if (end->reader.at_packet_start()) end->reader.set_agreement(agreement);
}

void Link::resume(Channel channel) {
    End& end = at(channel);
    if (!end.socket || failed_ || !end.stopped) return;
    if (end.block_waits && !take_block(end)) return;
    end.stopped = false;
    end.socket->resume();
}

// ---- receiving
// ---------------------------------------------------------------------------------------------------

bool Link::take_block(End& end) {
    Result<std::span<uint8_t>> buffer = user_.data_block_follows(end.reader);
    if (!buffer) {
        fail(wire::ConnState::protocol_error, buffer.error().text);
        return false;
    }
    if (buffer->empty()) return false;
    end.block_waits = false;
    end.reader.set_data_buffer(*buffer);
    return true;
}

size_t Link::End::received(Socket&, std::span<const uint8_t> bytes) {
    if (!owner.is_open()) return bytes.size();
    last_received_ms = owner.ports_.clock.now_ms();
    size_t consumed = 0;
    while (consumed < bytes.size() && !stopped && !owner.failed_) {
        const Result<wire::PacketReader::Fed> fed = reader.feed(bytes.subspan(consumed));
        if (!fed) {
            owner.fail(wire::ConnState::protocol_error, fed.error().text);
            break;
        }
        consumed += fed->consumed_bytes;
        if (fed->event == wire::PacketReader::Event::head) {
            block_waits = true;
            stopped = !owner.take_block(*this);
        } else if (fed->event == wire::PacketReader::Event::packet) {
            stopped = true;  // so that a resume() from within counts
            if (owner.user_.packet_arrived(channel, reader)) stopped = false;
            reader.set_agreement(owner.agreement_);  // changed in the middle of this packet, if at all
        }
    }
    return consumed;
}

void Link::End::closed(Socket&, int error) {
    ended = true;
    if (!owner.is_open()) owner.answered.notify();
    const bool both_ended = owner.data_.ended && owner.meta_.ended;
    if (!both_ended && owner.user_.close_expected()) return;
    if (error == 0 && !reader.at_packet_start())
        owner.fail(wire::ConnState::broken_pipe,
                   fmt::format("{} socket was shut down inside a packet", name_of(channel)));
    else if (error == 0)
        owner.fail(wire::ConnState::broken_pipe,
                   fmt::format("{} socket was shut down by peer", name_of(channel)));
    else
        owner.fail(wire::ConnState::network_failure,
                   fmt::format("{} socket failed: error {}", name_of(channel), error));
}

// ---- sending
// -----------------------------------------------------------------------------------------------------

SmallPacket* Link::take() {
    if (failed_ || !is_open()) return nullptr;
    SmallPacket* packet = packets_.take();
    if (!packet) fail(wire::ConnState::timeout, "the peer takes no packets off our hands");
    return packet;
}

void Link::queue(End& end, OutPacket& packet) {
    end.queued_bytes += packet.head_bytes + packet.payload_bytes;
    end.socket->send(packet);
}

bool Link::send(Channel channel, OutPacket& packet) {
    if (failed_ || !is_open()) return false;
    if (channel == Channel::data && holding_)
        held_.push_back(packet);
    else
        queue(at(channel), packet);
    return true;
}

bool Link::send_bytes(Channel channel, wire::Command command, uint16_t volume,
                      std::span<const uint8_t> bytes) {
    SmallPacket* out = take();
    if (!out) return false;
    const size_t head = wire::encode_packet(command, volume, out->head, static_cast<uint32_t>(bytes.size()));
    ensure(head + bytes.size() <= OutPacket::head_bytes_max);
    std::copy(bytes.begin(), bytes.end(), out->head + head);
    out->head_bytes = static_cast<uint32_t>(head + bytes.size());
    return send(channel, *out) || refused(*out);
}

bool Link::hold_data() {
    if (failed_ || !is_open()) return false;
    ensure(!holding_);
    holding_ = true;
    return true;
}

bool Link::send_held_through(OutPacket& packet) {
    if (failed_ || !is_open()) return false;
    ensure(holding_);
    queue(data_, packet);
    return true;
}

void Link::release_data() {
    holding_ = false;
    while (!held_.empty()) {
        OutPacket& packet = held_.pop_front();
        if (data_.socket)
            queue(data_, packet);
        else
            packet.done(false);
    }
}

uint64_t Link::unsent_bytes(Channel channel) const {
    const End& end = at(channel);
    return end.socket ? end.queued_bytes - end.socket->sent_bytes() : 0;
}

// ---- the watch over the peer
// ----------------------------------------------------------------------------------------

void Link::request_ping() {
    if (!send_bytes(Channel::meta, wire::Command::ping, 0, {})) return;
    awaiting_ping_ack_ = true;
    ping_sent_ms_ = ports_.clock.now_ms();
    ports_.clock.arm(ping_timer_, ping_timeout_ms_);
}

void Link::ping_answered() {
    awaiting_ping_ack_ = false;
    ++ping_answers_;
    ports_.clock.arm(ping_timer_, ping_int_ms_);
    answered.notify();
}

// Wire protocol 14.1: the meta socket's silence starts the question, traffic on the data socket puts it off.
void Link::check_ping() {
    const uint64_t now = ports_.clock.now_ms();
    if (awaiting_ping_ack_) {
        const uint64_t heard_ms = std::max({ping_sent_ms_, meta_.last_received_ms, data_.last_received_ms});
        if (now - heard_ms >= ping_timeout_ms_)
            fail(wire::ConnState::network_failure, "PingAck did not arrive in time.");
        else
            ports_.clock.arm(ping_timer_, ping_timeout_ms_ - (now - heard_ms));
        return;
    }
    const uint64_t heard_ms = std::max(meta_.last_received_ms, data_.last_received_ms);
    if (now - heard_ms >= ping_int_ms_)
        request_ping();
    else
        ports_.clock.arm(ping_timer_, ping_int_ms_ - (now - heard_ms));
}

bool Link::stalled(End& end) {
    const uint64_t sent = end.socket->sent_bytes();
    // What came after the last look has not had its time.
    const bool stuck = end.behind && sent == end.progress_bytes;
    end.behind = sent < end.queued_bytes;
    end.progress_bytes = sent;
    return stuck;
}

// Wire protocol 14.2, 14.3.
void Link::check_stall() {
    ports_.clock.arm(stall_timer_, timeout_ms_);
    if (stalled(meta_)) {
        fail(wire::ConnState::timeout, "sending on the meta socket made no progress in time");
        return;
    }
    if (!stalled(data_)) {
        ko_left_ = ko_count_;
    } else if (ko_count_ > 0 && --ko_left_ == 0) {
        fail(wire::ConnState::timeout, "sending on the data socket made no progress for ko-count timeouts");
    } else {
        request_ping();
    }
}

}  // namespace duplex::engine
