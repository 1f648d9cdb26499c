// A Primary whose link cannot keep up under protocol A (states 17): it goes Ahead, where writes stay local
// and the peer is only told what it lacks, until everything under way has arrived; then a resync brings the
// peer up again. Or it gives the connection up.
#pragma once

#include <cstdint>

#include "base/units.hpp"
#include "engine/ports.hpp"

namespace duplex::engine {

class Core;
class Device;

class Congestion {
  public:
    Congestion(Core& core, Device& device) : core_(core), device_(device), timer_(*this) {}
    ~Congestion();

    // Before a write that would be replicated takes its place in an epoch.
    void check();
    // Sectors sent to the peer whose epoch is not acknowledged.
    void sent(uint32_t size_bytes) { in_flight_sectors_ += size_bytes / 512; }
    void done(uint32_t size_bytes);
    // The peer has called a range in sync before it heard that this node is Ahead; a write may have changed
    // it here since, without a word because the bit was still set. It is out of sync on both.
    void take_back(Sector sector, uint32_t size_bytes);

  private:
    class ReturnTimer final : public Timer {
      public:
        explicit ReturnTimer(Congestion& o) : owner(o) {}
        void fired() override { owner.return_if_quiet(); }
        Congestion& owner;
    };

    bool congested() const;
    void pull_ahead();
    void return_if_quiet();

    Core& core_;
    Device& device_;
    ReturnTimer timer_;
    uint64_t in_flight_sectors_ = 0;
};

}  // namespace duplex::engine
