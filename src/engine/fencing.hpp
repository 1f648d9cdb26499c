// Fencing: what a Primary that has lost its peer must know before its data may be called the only ones
// (states 15). One handler for the whole resource; meanwhile resource-and-stonith keeps I/O frozen.
#pragma once

#include <optional>
#include <string>

#include "config/options.hpp"
#include "engine/states.hpp"
#include "engine/task.hpp"

namespace duplex::engine {

class Core;
class Device;

// What TCP has taken is complete under protocol A, and its data are gone: with I/O frozen for fencing it
// could not be sent again (states 3.5, 4.1).
inline bool stonith_with_protocol_a(const config::DiskOptions& disk, const config::NetOptions& net) {
    return disk.fencing == config::Fencing::resource_and_stonith && net.protocol == config::Protocol::a;
}

class Fencing {
  public:
    explicit Fencing(Core& core) : core_(core) {}

    // Runs the handler fence-peer, where the policy demands it, and does what its exit code says (15.2).
    // true: the peer's disks are known to be Outdated or worse, or nobody wants to know.
    Task<bool> fence_peer();
    // The connection has been lost and cleaned up after.
    void connection_lost();
    // Frozen for fencing, and the peer is back, which has not been restarted (15.3): what it has not
    // acknowledged is sent again.
    Task<> thaw_after_reconnect();
    // The peer that is back may lack what it acknowledged, and what was frozen: all that is out of sync now,
    // the data get a generation of their own, and another connection resyncs them (3.3 d). false: there was
    // no generation due.
    Task<bool> part();
    // The generation that was due when I/O was frozen (15.4), on stable storage, of the volumes concerned;
    // false: none was.
    Task<bool> new_generation(bool (*concerned)(const Device&) = [](const Device&) { return true; });
    // After the end of a resync as source.
    void unfence_peer();

  private:
    Task<> fence_and_forget();
    std::optional<config::Fencing> policy() const;  // nullopt: no disk is good enough to have one
    DiskState highest_disk() const;
    DiskState highest_pdsk() const;
    std::optional<StateChangeRequest> consequence(int exit_code) const;
    void thaw();
    Task<int> run_handler(std::string name);

    Core& core_;
};

}  // namespace duplex::engine
