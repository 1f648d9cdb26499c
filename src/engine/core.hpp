// A resource from the inside: what its connection and its volumes share.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/buffer_pool.hpp"
#include "base/pool.hpp"
#include "engine/connection.hpp"
#include "engine/device.hpp"
#include "engine/fencing.hpp"
#include "engine/packets.hpp"
#include "engine/ports.hpp"
#include "engine/requests.hpp"
#include "engine/resource.hpp"
#include "engine/task.hpp"
#include "engine/worker.hpp"

namespace duplex::engine {

class Core {
  public:
    Core(const Ports& ports, std::string name, const config::ResourceOptions& options, const Limits& limits);
    ~Core();

    void run();
    // Something happened that a procedure may wait for: a state, an answer, an operation's end.
    void notify() {
        changed.notify();
        again_ = true;
    }
    // Buffers or request objects were given back.
    void room_again() { room_ = true; }
    void wait_for_room(User& user);

    Device* find(unsigned number);
    std::vector<Device*> all_devices();
    uint32_t active_peer_writes() const;
    // Resyncs and verifies of ours may hold half of the request objects together: what the peer asks for
    // needs some too, or the answers behind it would never be read.
    bool room_for_own_request() const;
    const Device* other_primary_at_peer(const Device& device) const;

    // ---- commands: answered from a later run(), exactly once
    void start_command(std::function<Task<Reply>()> command, Done done);
    void start_command(unsigned volume, std::function<Task<Reply>(Device&)> command, Done done);
    Task<Reply> remove_device(unsigned volume);
    Task<Reply> change_options(config::ResourceOptions changed_options);

    // ---- suspended I/O: one set of flags for all volumes (states 1.2)
    bool susp = false;
    bool susp_nod = false;
    bool susp_fen = false;
    bool suspended() const { return susp || susp_nod || susp_fen; }
    void set_suspended(const State& state);

    Ports ports;
    std::string name;
    config::ResourceOptions options;
    Limits limits;

    Executor executor;
    Event changed;
    // Apart, so that two Primaries whose applications have filled their buffers can still take each other's
    // writes.
    BufferPool buffers;
    BufferPool peer_buffers;
    Pool<AppRequest> app_requests;
    Pool<PeerRequest> peer_requests;
    PacketPool packets;
    std::map<unsigned, std::unique_ptr<Device>> devices;  // by volume number
    std::vector<std::unique_ptr<Device>> removed;         // until the end: procedures may refer to them
    Connection connection;
    Fencing fencing;
    uint64_t connections = 0;  // how often a volume has become Connected
    Worker worker;
    TaskSet tasks;

  private:
    Task<> run_command(std::function<Task<Reply>()> command, Done done);
    Task<Reply> on_device(unsigned volume, std::function<Task<Reply>(Device&)> command);

    bool again_ = false;
    bool room_ = false;
    std::vector<User*> waiting_for_room_;
};

}  // namespace duplex::engine
