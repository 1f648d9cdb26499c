// The cable between two machines, and TCP on it.
//
// A connection is two byte streams. Bytes that send() takes wait in the packet queue until the stream's
// window has room (the local TCP buffer and the peer's), then they are on their way for a drawn time and
// arrive in drawn pieces. What can go wrong:
//   cut       nothing arrives any more, either way, and nobody is told; after mend() what was on its way
//   arrives late reset     the connection breaks: of what was on its way a prefix arrives, then both sides
//   see ECONNRESET power off the machine's connections are gone without a word; the peer learns of it by
//   silence, or by a reset when
//             it sends something to the machine that has come up again
//   kill      the machine's process is gone: its kernel resets or ends the connections at once
#pragma once

#include <array>
#include <deque>
#include <list>
#include <memory>
#include <vector>

#include "engine/ports.hpp"
#include "sim/scheduler.hpp"
#include "sim/turn.hpp"

namespace duplex::sim {

struct NetworkModel {
    uint64_t latency_us_min = 50;
    uint64_t latency_us_max = 500;
    size_t window_bytes = 256 << 10;
    size_t segment_bytes_max = 64 << 10;  // that received() is offered at once
};

class Cable;
class Network;
class Socket;
class TcpConnection;

// Told of what the nodes hand to the cable.
class CableWatch {
  public:
    virtual void queued(unsigned side, const Socket& socket, const engine::OutPacket& packet) = 0;
    // Given up by the engine, or gone with it.
    virtual void closed(const Socket& socket) = 0;

  protected:
    ~CableWatch() = default;
};

// One end of a stream in each direction.
class Socket final : public engine::Socket {
  public:
    Socket(TcpConnection& connection, unsigned side) : connection_(connection), side_(side) {}

    void set_events(engine::SocketEvents& events) override;
    void send(engine::OutPacket& packet) override;
    void resume() override;
    void close(bool orderly) override;
    uint64_t sent_bytes() const override { return sent_bytes_; }
    // Up to the end of the packet that was queued last; and what the engine has taken.
    uint64_t queued_bytes() const { return queued_bytes_; }
    uint64_t received_bytes() const { return received_bytes_; }
    const Socket& peer() const;

  private:
    friend class TcpConnection;
    enum class State : uint8_t {
        open,
        draining,  // closed in an orderly way: what is queued still goes out
        closed,    // by the engine
        gone,      // with its machine
    };

    TcpConnection& connection_;
    unsigned side_;
    State state_ = State::open;
    engine::SocketEvents* events_ = nullptr;

    // sending
    List<engine::OutPacket, engine::OutPacket> queue_;
    size_t front_sent_bytes_ = 0;
    uint64_t queued_bytes_ = 0;
    uint64_t sent_bytes_ = 0;
    bool end_sent_ = false;
    Scheduler::EventId pump_event_ = 0;
    Scheduler::EventId settle_event_ = 0;  // done(false) for what is queued

    // receiving
    struct Segment {
        uint64_t arrives_us;
        std::vector<uint8_t> bytes;  // empty: the end
    };
    std::deque<Segment> under_way_;
    Scheduler::EventId arrival_event_ = 0;
    std::vector<uint8_t> arrived_;
    size_t taken_bytes_ = 0;  // of arrived_
    uint64_t received_bytes_ = 0;
    bool end_arrived_ = false;
    bool broken_ = false;  // after arrived_: error_
    int error_ = 0;
    bool end_told_ = false;
    bool stopped_ = false;
    Scheduler::EventId offer_event_ = 0;
};

class TcpConnection {
  public:
    TcpConnection(Cable& cable) : sockets{Socket(*this, 0), Socket(*this, 1)}, cable_(cable) {}

    Socket sockets[2];

    void reset(uint64_t delay_us);        // both sides see it, each in its own time
    void machine_gone(unsigned side);     // without a word
    void machine_is_back(unsigned side);  // what arrives there is answered with a reset
    void mended();
    bool finished() const;
    bool quiet(unsigned side) const;

  private:
    friend class Socket;
    size_t window_used(unsigned receiver) const;
    void pump(unsigned side);
    void schedule_pump(unsigned side, uint64_t delay_us);
    void transmit(unsigned receiver, std::vector<uint8_t> bytes);
    void schedule_arrival(unsigned side);
    void arrive(unsigned side);
    void schedule_offer(unsigned side, uint64_t delay_us);
    void offer(unsigned side);
    void fail(unsigned side, int error);
    void give_back(unsigned side);
    void forget(unsigned side);

    Cable& cable_;
    bool severed_ = false;  // nothing that is sent from now on arrives
};

class Network final : public engine::Network {
  public:
    Network(Cable& cable, unsigned side, Turn& turn) : cable_(cable), side_(side), turn_(turn) {}

    void configure(const engine::Endpoint& local, const engine::Endpoint& peer,
                   const engine::SocketLimits& limits, engine::NetworkEvents& events) override;
    Status listen() override;
    void stop_listening() override;
    Status connect() override;
    void cancel_connect() override;

  private:
    friend class Cable;
    friend class TcpConnection;
    void attempt_arrives();
    void attempt_fails(const char* why, uint64_t delay_us);
    void attempt_succeeds(TcpConnection& connection);

    Cable& cable_;
    unsigned side_;
    Turn& turn_;
    engine::NetworkEvents* events_ = nullptr;
    bool powered_ = true;
    bool listening_ = false;
    bool connecting_ = false;
    Scheduler::EventId attempt_event_ = 0;
    TcpConnection* attempt_ = nullptr;  // exists at the other side already
};

class Cable {
  public:
    Cable(Scheduler& scheduler, const NetworkModel& model) : model(model), scheduler_(scheduler) {}

    void plug(Network& network) { ends_[network.side_] = &network; }
    NetworkModel model;
    CableWatch* watch = nullptr;

    // ---- faults
    void cut();
    void mend();
    bool is_cut() const { return cut_; }
    void reset_all();
    // Every packet is unlinked; nothing is called back.
    void power_off(unsigned side);
    void power_on(unsigned side);
    void kill(unsigned side);

    // Nothing is on its way, and nothing waits to be sent.
    bool quiet() const;
    size_t connections() const { return connections_.size(); }

  private:
    friend class Network;
    friend class TcpConnection;
    friend class Socket;
    uint64_t latency_us() { return scheduler_.random.between(model.latency_us_min, model.latency_us_max); }
    TcpConnection& open();
    void sweep();

    Scheduler& scheduler_;
    std::array<Network*, 2> ends_{};
    std::list<std::unique_ptr<TcpConnection>> connections_;
    bool cut_ = false;
};

}  // namespace duplex::sim
