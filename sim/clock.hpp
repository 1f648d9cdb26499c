// A machine's clock and its timers. It starts anywhere, as a real monotonic clock does.
#pragma once

#include <cstdint>

#include "engine/ports.hpp"
#include "sim/scheduler.hpp"
#include "sim/turn.hpp"

namespace duplex::sim {

class Clock final : public engine::Clock {
  public:
    Clock(Scheduler& scheduler, Turn& turn, uint64_t offset_ms)
        : scheduler_(scheduler), turn_(turn), offset_ms_(offset_ms) {}

    uint64_t now_ms() const override { return offset_ms_ + scheduler_.now_us() / 1000; }
    void arm(engine::Timer& timer, uint64_t delay_ms) override;
    void cancel(engine::Timer& timer) override;

    // Takes every timer out; none fires any more.
    void power_off();

  private:
    void schedule();
    void fire();

    Scheduler& scheduler_;
    Turn& turn_;
    uint64_t offset_ms_;
    List<engine::Timer, engine::Timer> armed_;  // by deadline
    Scheduler::EventId event_ = 0;
};

}  // namespace duplex::sim
