// Finds the pair of sockets to the peer: data and meta (wire protocol 2.3). Both nodes run the same loop of
// connecting and accepting; its two random elements break the symmetry when they do it at the same moment.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <list>

#include "config/options.hpp"
#include "engine/packets.hpp"
#include "engine/ports.hpp"
#include "engine/task.hpp"

namespace duplex::engine {

struct SocketPair {
    Socket* data = nullptr;
    Socket* meta = nullptr;
    // We accepted the meta socket: the conflict resolver (wire protocol 2.4).
    bool resolver = false;
};

class Establisher final : public NetworkEvents {
  public:
    enum class Outcome : uint8_t { pair, stopped, local_error };

    // `stop` is asked whenever `event` was notified; true ends the search.
    Establisher(const Ports& ports, PacketPool& packets, const config::NetOptions& options, Event& event,
                std::function<bool()> stop);
    ~Establisher();

    // Outcome::pair: both sockets live, nothing was read from them but a first packet; they are the caller's.
    // Otherwise every socket is closed.
    Task<Outcome> run();
    const SocketPair& pair() const { return pair_; }
    const std::string& local_error() const { return local_error_; }

    void connected(Socket& socket) override;
    void connect_failed(std::string_view why) override;
    void accepted(Socket& socket) override;

  private:
    // A socket whose role is not known yet, or that waits for its twin.
    struct Candidate final : SocketEvents {
        explicit Candidate(Establisher& o) : owner(o) {}
        size_t received(Socket&, std::span<const uint8_t> bytes) override;
        void closed(Socket&, int) override;

        Establisher& owner;
        Socket* socket = nullptr;
        bool reads_first_packet = false;
        bool dead = false;
        size_t filled = 0;
        std::array<uint8_t, 8> first_packet{};
    };

    Candidate& add(Socket& socket, bool reads_first_packet);
    void close(Candidate*& candidate);
    void forget_dead();
    void send_first_packet(Candidate& candidate, bool data);
    Task<> connect_once();
    Task<bool> accept_once();  // true: crossed, and the coin says to accept again
    Task<bool> both_alive();
    uint64_t ping_timeout_ms() const { return options_.ping_timeout_ds * uint64_t{100}; }

    const Ports& ports_;
    PacketPool& packets_;
    const config::NetOptions& options_;
    Event& event_;
    std::function<bool()> stop_;
    std::list<Candidate> candidates_;
    std::list<Candidate*> to_accept_;
    Candidate* new_connection_ = nullptr;
    bool connecting_ = false;
    Candidate* data_ = nullptr;
    Candidate* meta_ = nullptr;
    SocketPair pair_;
    std::string local_error_;
};

}  // namespace duplex::engine
