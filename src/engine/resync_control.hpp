// How much resync or verify asks for per tick of 100 ms (states 12.4): a fixed rate, or a controller that
// keeps a wanted amount in flight. Pure arithmetic, tick by tick the kernel's.
#pragma once

#include <cstdint>
#include <vector>

#include "config/options.hpp"

namespace duplex::engine {

class ResyncControl {
  public:
    static constexpr uint64_t tick_ms = 100;

    void reset() {
        plan_.clear();
        plan_total_ = 0;
        in_flight_sectors_ = answered_sectors_ = 0;
    }

    // Blocks of 4 KiB that may be asked for in this tick; at most max_blocks_in_flight are out at a time.
    int64_t blocks_this_tick(const config::DiskOptions& options, int64_t max_blocks_in_flight);
    void requested(int64_t sectors) { in_flight_sectors_ += sectors; }
    void answered(int64_t sectors) { answered_sectors_ += sectors; }
    // A refused or cancelled request is out of flight, but says nothing of the peer's speed.
    void withdrawn(int64_t sectors) { in_flight_sectors_ -= sectors; }
    uint64_t wanted_kib() const { return wanted_kib_; }  // per second, as of the last tick

  private:
    int64_t planned_sectors(const config::DiskOptions& options, int64_t answered);

    std::vector<int64_t> plan_;  // a ring of corrections still to come, one per tick of c-plan-ahead
    size_t plan_at_ = 0;
    int64_t plan_total_ = 0;
    int64_t in_flight_sectors_ = 0;
    int64_t answered_sectors_ = 0;  // since the last tick
    uint64_t wanted_kib_ = 0;
};

}  // namespace duplex::engine
