// When resync and verify step back for the applications (states 12.5): these are busy, and it is faster than
// c-min-rate.
#pragma once

#include <cstdint>
#include <utility>

#include "base/units.hpp"

namespace duplex::engine {

class ResyncThrottle {
  public:
    // The local disk has something to do that is not resync's.
    void application_io(uint64_t size_bytes) { sectors_ += size_bytes / sector_bytes; }
    // Since the last question. min_rate_kib 0: never.
    bool steps_back(bool writes_wait, uint64_t speed_kib, uint32_t min_rate_kib) {
        const bool busy = writes_wait || std::exchange(sectors_, 0) > quiet_sectors;
        return busy && min_rate_kib > 0 && speed_kib > min_rate_kib;
    }

  private:
    static constexpr uint64_t quiet_sectors = 64;
    uint64_t sectors_ = 0;
};

}  // namespace duplex::engine
