// engine::Network: listening and connecting on TCP for one resource (wire protocol 2.2, 17.2).
#pragma once

#include <string>
#include <string_view>

#include "base/list.hpp"
#include "engine/ports.hpp"
#include "runtime/address.hpp"
#include "runtime/fd.hpp"
#include "runtime/operation.hpp"
#include "runtime/socket.hpp"

namespace duplex::runtime {

class Network final : public engine::Network {
  public:
    // A pair and the half-open ones before it: more than this many at once are refused (wire protocol 17.2).
    static constexpr size_t sockets_max = 12;
    static constexpr int backlog = 5;

    // name stands in log lines ("drbd r0").
    Network(Loop& loop, std::string name);
    // close_all() and a drained loop come before.
    ~Network();

    void configure(const engine::Endpoint& local, const engine::Endpoint& peer,
                   const engine::SocketLimits& limits, engine::NetworkEvents& events) override;
    Status listen() override;
    void stop_listening() override;
    Status connect() override;
    void cancel_connect() override;

    // Gives up listener, attempts and all sockets, whoever uses them; queued packets get done(false).
    void close_all();

  private:
    class Listener;
    class Attempt;

    void accept(Fd fd, const SocketAddress& from);
    void refuse(const SocketAddress& from, std::string_view why);

    Loop* loop_;
    std::string name_;
    engine::Endpoint local_, peer_;
    engine::SocketLimits limits_;
    engine::NetworkEvents* events_ = nullptr;
    // Both own themselves, and outlive their part here until the kernel has given back what it holds.
    Listener* listener_ = nullptr;
    Attempt* attempt_ = nullptr;
    List<Socket, Socket> sockets_;

    uint64_t refusals_unlogged_ = 0;
    uint64_t next_refusal_log_ms_ = 0;
};

}  // namespace duplex::runtime
