// The two sockets of a connection once they are found: framing of what arrives, order of what leaves, and the
// watch over a peer that goes silent (wire protocol 14). What the packets mean is the LinkUser's business.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "config/options.hpp"
#include "engine/packets.hpp"
#include "engine/ports.hpp"
#include "engine/task.hpp"
#include "wire/encode.hpp"
#include "wire/stream.hpp"

namespace duplex::engine {

using Channel = wire::Socket;  // data or meta

class LinkUser {
  public:
    // A whole packet is in the channel's reader. false: not dealt with yet; the channel stands still until
    // Link::resume(), then reads on.
    virtual bool packet_arrived(Channel channel, const wire::PacketReader& reader) = 0;
    // A data block of info.variable_bytes follows on the data channel. Empty: no room; asked again after
    // resume(). An error drops the connection.
    virtual Result<std::span<uint8_t>> data_block_follows(const wire::PacketReader& reader) = 0;
    // The peer closed one of the sockets between two packets. true: that was to be expected, the other socket
    // may still say something.
    virtual bool close_expected() = 0;
    // The connection is of no use any more; called once, from whatever found out.
    virtual void link_failed(wire::ConnState why, const std::string& text) = 0;

  protected:
    ~LinkUser() = default;
};

class Link {
  public:
    Link(const Ports& ports, PacketPool& packets, LinkUser& user, Executor& executor);
    ~Link();

    // Takes the sockets over. Reading stands still until resume().
    void open(Socket& data, Socket& meta, const config::NetOptions& options);
    // timeout, ko-count, ping-int and ping-timeout, from the next wait on.
    void set_times(const config::NetOptions& options);
    void close(bool orderly);
    // The end of what this node says: the data socket is closed behind what was sent. Whatever still comes is
    // thrown away; `answered` is notified when the peer has closed the meta socket. close() ends it.
    void finish();
    bool peer_has_closed() const { return meta_.ended; }
    bool is_open() const { return data_.socket != nullptr; }
    // Nothing is read or sent any more; close() follows from the loop.
    void fail(wire::ConnState why, const std::string& text);

    // From the next packet on, on both channels.
    void set_agreement(const wire::Agreement& agreement);
    const wire::Agreement& agreement() const { return agreement_; }
    void resume(Channel channel);
    // What failed the data channel was no packet at all.
    bool unreadable() const { return data_.reader.header_unreadable(); }
    // A data block follows, and there was no room for it.
    bool block_waits() const { return data_.block_waits; }

    // The packet is queued and gets done() in any case; false: the link is down, and the packet stays the
    // caller's without done().
    bool send(Channel channel, OutPacket& packet);
    template <typename Packet>
    bool send_packet(Channel channel, wire::Command command, uint16_t volume, const Packet& packet) {
        SmallPacket* out = take();
        if (!out) return false;
        out->head_bytes =
            static_cast<uint32_t>(wire::encode_packet(header_format(), command, volume, packet, out->head));
        return send(channel, *out) || refused(*out);
    }
    // A packet of nothing but the given bytes: challenge, response, and (without any) ping and the like.
    bool send_bytes(Channel channel, wire::Command command, uint16_t volume, std::span<const uint8_t> bytes);
    // A request or reply that ends in a digest.
    template <typename Packet>
    bool send_with_digest(Channel channel, wire::Command command, uint16_t volume, const Packet& packet,
                          std::span<const uint8_t> digest) {
        SmallPacket* out = take();
        if (!out) return false;
        const auto following = static_cast<uint32_t>(digest.size());
        const size_t fixed =
            wire::encode_packet(header_format(), command, volume, packet, out->head, following);
        std::copy(digest.begin(), digest.end(), out->head + fixed);
        out->head_bytes = static_cast<uint32_t>(fixed + digest.size());
        return send(channel, *out) || refused(*out);
    }

    // While a bitmap goes out nothing else may come between its packets on the data socket (wire
    // protocol 11.1): from hold_data() to release_data() only send_held_through() gets through, the rest
    // queues behind.
    bool hold_data();
    bool holds_data() const { return holding_; }
    bool send_held_through(OutPacket& packet);
    void release_data();

    // Sends a P_PING; ping_answers() counts the answers, `answered` is notified.
    void request_ping();
    uint64_t ping_answers() const { return ping_answers_; }
    void ping_answered();
    Event answered;

    // Every byte that send() took for this channel has been handed to TCP.
    uint64_t unsent_bytes(Channel channel) const;

  private:
    struct End final : SocketEvents {
        End(Link& o, Channel c) : owner(o), channel(c), reader(c) {}
        size_t received(Socket&, std::span<const uint8_t> bytes) override;
        void closed(Socket&, int error) override;

        Link& owner;
        Channel channel;
        Socket* socket = nullptr;
        wire::PacketReader reader;
        bool stopped = true;
        bool ended = false;        // closed by the peer
        bool block_waits = false;  // a data block follows and has no buffer yet
        uint64_t queued_bytes = 0;
        uint64_t progress_bytes = 0;  // sent, at the last look of the stall watch
        bool behind = false;          // there was more to send then
        uint64_t last_received_ms = 0;
    };
    class PingTimer final : public Timer {
      public:
        explicit PingTimer(Link& o) : owner(o) {}
        void fired() override { owner.check_ping(); }
        Link& owner;
    };
    class StallTimer final : public Timer {
      public:
        explicit StallTimer(Link& o) : owner(o) {}
        void fired() override { owner.check_stall(); }
        Link& owner;
    };

    End& at(Channel channel) { return channel == Channel::data ? data_ : meta_; }
    const End& at(Channel channel) const { return channel == Channel::data ? data_ : meta_; }
    wire::HeaderFormat header_format() const { return wire::header_format(agreement().phase); }
    SmallPacket* take();
    static bool refused(SmallPacket& packet) {
        packet.done(false);
        return false;
    }
    bool take_block(End& end);
    void close_data(bool orderly);
    void queue(End& end, OutPacket& packet);
    void check_ping();
    void check_stall();
    bool stalled(End& end);

    const Ports& ports_;
    PacketPool& packets_;
    LinkUser& user_;
    End data_;
    End meta_;
    PingTimer ping_timer_;
    StallTimer stall_timer_;
    wire::Agreement agreement_;
    List<OutPacket, OutPacket> held_;
    bool holding_ = false;
    bool failed_ = false;
    bool awaiting_ping_ack_ = false;
    uint64_t ping_sent_ms_ = 0;
    uint64_t ping_answers_ = 0;
    uint64_t ping_int_ms_ = 0;
    uint64_t ping_timeout_ms_ = 0;
    uint64_t timeout_ms_ = 0;
    uint32_t ko_count_ = 0;
    uint32_t ko_left_ = 0;
};

}  // namespace duplex::engine
