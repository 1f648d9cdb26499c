#include "sim/recorded_peer.hpp"

namespace duplex::sim {

namespace {

constexpr uint64_t soon_us = 10;

}  // namespace

Status RecordedPeer::listen() {
    listening_ = true;
    return Ok{};
}

// An attempt stands until the capture says that it succeeds, or the node gives it up.
Status RecordedPeer::connect() {
    connecting_ = true;
    return Ok{};
}

RecordedPeer::End* RecordedPeer::open(wire::Socket channel, const config::NetOptions& net, bool by_node) {
    if (by_node ? !connecting_ : !listening_) {
        // The peer does not listen yet: the node's attempt is not the one that was recorded.
        return nullptr;
    }
    if (!by_node && connecting_) {
        connecting_ = false;
        events_->connect_failed("Connection refused");
    }
    End* const end = ends_.emplace_back(std::make_unique<End>(*this, channel, net, by_node)).get();
    if (by_node) {
        connecting_ = false;
        events_->connected(*end);
    } else {
        events_->accepted(*end);
    }
    turn_.turn();
    return end;
}

void RecordedPeer::power_off() {
    listening_ = connecting_ = false;
    for (auto& end : ends_) {
        end->done_.clear();
        end->events_ = nullptr;
        end->closed_ = true;
    }
}

// ---- an end
// --------------------------------------------------------------------------------------------------------

void RecordedPeer::End::set_events(engine::SocketEvents& events) {
    events_ = &events;
    offer_soon();
}

void RecordedPeer::End::send(engine::OutPacket& packet) {
    const std::span<const uint8_t> head(packet.head, packet.head_bytes);
    const std::span<const uint8_t> payload(packet.payload, packet.payload_bytes);
    for (const auto part : {head, payload})
        if (fault.empty() && !part.empty())
            if (const Status split = splitter_.feed(part); !split) fault = split.error().text;
    for (WirePacket& whole : splitter_.take()) sent.push_back(std::move(whole));
    sent_bytes_ += head.size() + payload.size();
    done_.push_back(packet);
    if (settling_) return;
    settling_ = true;
    peer_.scheduler_.after(soon_us, [this] {
        settling_ = false;
        while (!done_.empty()) done_.pop_front().done(!closed_);
        peer_.turn_.turn();
    });
}

void RecordedPeer::End::close(bool) {
    closed_ = true;
    events_ = nullptr;
}

void RecordedPeer::End::deliver(std::span<const uint8_t> bytes) {
    arriving_.insert(arriving_.end(), bytes.begin(), bytes.end());
    offer_soon();
}

void RecordedPeer::End::end() {
    ending_ = true;
    offer_soon();
}

void RecordedPeer::End::offer_soon() {
    if (offering_ || closed_) return;
    offering_ = true;
    peer_.scheduler_.after(soon_us, [this] {
        offering_ = false;
        offer();
    });
}

void RecordedPeer::End::offer() {
    if (!events_) return;
    if (!arriving_.empty()) {
        const size_t taken = events_->received(*this, arriving_);
        arriving_.erase(arriving_.begin(), arriving_.begin() + static_cast<long>(taken));
        peer_.turn_.turn();
        if (!arriving_.empty()) return;
    }
    if (ending_ && !told_ && events_) {
        told_ = true;
        events_->closed(*this, 0);
        peer_.turn_.turn();
    }
}

}  // namespace duplex::sim
