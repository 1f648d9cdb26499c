// Seeded randomness (xoshiro256**, seeded through splitmix64): the same seed gives the same run on every
// machine, which std:: distributions do not promise. Not for secrets.
#pragma once

#include <array>
#include <cstdint>

namespace duplex {

class Random {
  public:
    explicit Random(uint64_t seed);

    uint64_t next();
    // Uniform in [0, bound); bound > 0.
    uint64_t below(uint64_t bound);
    // Uniform in [low, high].
    uint64_t between(uint64_t low, uint64_t high) { return low + below(high - low + 1); }
    // True in `percent` of 100 draws.
    bool chance(unsigned percent) { return below(100) < percent; }

  private:
    std::array<uint64_t, 4> state_;
};

}  // namespace duplex
