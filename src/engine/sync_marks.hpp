// How a resync or a verify gets on: when it began, how long it was paused, and how much was left at a few
// moments of the last half minute (states 12.5, cli 26.4).
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/status.hpp"

namespace duplex::engine {

class SyncMarks {
  public:
    void begin(uint64_t now_ms, uint64_t total_bits);
    void pause(uint64_t now_ms);
    void resume(uint64_t now_ms);
    // Sets a mark if the last one is old enough.
    void mark(uint64_t now_ms, uint64_t left_bits);

    uint64_t total_bits() const { return total_bits_; }
    uint64_t running_s(uint64_t now_ms) const { return (now_ms - started_ms_) / 1000; }
    uint64_t paused_s() const { return paused_ms_ / 1000; }
    // KiB/s since the start, without pauses.
    uint64_t average_kib(uint64_t now_ms, uint64_t done_bits) const;
    // KiB/s over the last one to two marks (states 12.5).
    uint64_t recent_kib(uint64_t now_ms, uint64_t left_bits) const;
    // Totals, times and speeds; the rest is the caller's.
    SyncProgress progress(uint64_t now_ms, uint64_t left_bits) const;

  private:
    uint64_t paused_ms(uint64_t now_ms) const;
    uint64_t speed_kib_since(size_t mark, uint64_t now_ms, uint64_t left_bits) const;

    static constexpr size_t marks = 8;
    static constexpr uint64_t mark_interval_ms = 3000;

    uint64_t total_bits_ = 0;
    uint64_t started_ms_ = 0;
    uint64_t paused_ms_ = 0;
    bool paused_ = false;
    uint64_t pause_began_ms_ = 0;
    uint64_t mark_ms_[marks] = {};
    uint64_t mark_left_[marks] = {};
    size_t at_ = 0;
};

}  // namespace duplex::engine
