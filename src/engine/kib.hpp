#pragma once

#include <cstdint>

namespace duplex::engine {

// As DRBD's counters count: begun KiB.
constexpr uint64_t kib(uint64_t bytes) {
    return (bytes + 1023) / 1024;
}

}  // namespace duplex::engine
