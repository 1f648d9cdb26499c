// How much was left at some moments of a resync or verify: what its present speed is computed from
// (cli 26.4).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace duplex::engine {

class SyncMarks {
  public:
    struct Mark {
        uint64_t time_ms = 0;
        uint64_t left_bits = 0;
    };

    void begin(uint64_t now_ms, uint64_t left_bits) {
        ring_.fill({now_ms, left_bits});
        last_ = 0;
    }

    // Called often while it runs; not while it is paused.
    void advance(uint64_t now_ms, uint64_t left_bits) {
        if (now_ms - ring_[last_].time_ms < interval_ms || ring_[last_].left_bits == left_bits) return;
        last_ = (last_ + 1) % ring_.size();
        ring_[last_] = {now_ms, left_bits};
    }

    // About 18 s old, or the beginning.
    const Mark& reference() const { return ring_[(last_ + 2) % ring_.size()]; }

  private:
    static constexpr uint64_t interval_ms = 3000;

    std::array<Mark, 8> ring_{};
    std::size_t last_ = 0;
};

}  // namespace duplex::engine
