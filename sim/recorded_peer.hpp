// The other end of a node's connections, played by a test: what the node sends is cut into packets and kept,
// what the test has to say is delivered. No timing of its own, no faults.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "engine/ports.hpp"
#include "sim/capture.hpp"
#include "sim/scheduler.hpp"
#include "sim/turn.hpp"

namespace duplex::sim {

class RecordedPeer final : public engine::Network {
  public:
    RecordedPeer(Scheduler& scheduler, Turn& turn) : scheduler_(scheduler), turn_(turn) {}

    void configure(const engine::Endpoint&, const engine::Endpoint&, const engine::SocketLimits&,
                   engine::NetworkEvents& events) override {
        events_ = &events;
    }
    Status listen() override;
    void stop_listening() override { listening_ = false; }
    Status connect() override;
    void cancel_connect() override { connecting_ = false; }

    // One end of a connection, the node's.
    class End final : public engine::Socket {
      public:
        End(RecordedPeer& peer, wire::Socket channel, const config::NetOptions& net, bool node_opened)
            : peer_(peer), splitter_(channel, net, node_opened) {}
        void set_events(engine::SocketEvents& events) override;
        void send(engine::OutPacket& packet) override;
        void resume() override { offer_soon(); }
        void close(bool orderly) override;
        uint64_t sent_bytes() const override { return sent_bytes_; }

        void deliver(std::span<const uint8_t> bytes);
        void end();  // the peer closes
        bool closed() const { return closed_; }
        // Whole packets of the node that nobody has asked about.
        std::deque<WirePacket> sent;
        // What the node sent makes no sense.
        std::string fault;

      private:
        friend class RecordedPeer;
        void offer_soon();
        void offer();

        RecordedPeer& peer_;
        StreamSplitter splitter_;
        engine::SocketEvents* events_ = nullptr;
        List<engine::OutPacket, engine::OutPacket> done_;
        bool settling_ = false;
        uint64_t sent_bytes_ = 0;
        std::vector<uint8_t> arriving_;
        bool ending_ = false;
        bool told_ = false;
        bool offering_ = false;
        bool closed_ = false;
    };

    // Connects to the node as soon as it listens, or takes its next attempt. nullptr: not yet.
    End* open(wire::Socket channel, const config::NetOptions& net, bool by_node);
    bool connecting() const { return connecting_; }
    // The node's process is gone.
    void power_off();

  private:
    Scheduler& scheduler_;
    Turn& turn_;
    engine::NetworkEvents* events_ = nullptr;
    bool listening_ = false;
    bool connecting_ = false;
    std::vector<std::unique_ptr<End>> ends_;
};

}  // namespace duplex::sim
