#include "base/crc32c.hpp"

#include <isa-l/crc.h>

#include "base/ensure.hpp"

namespace duplex {

uint32_t crc32c(std::span<const uint8_t> data) {
    ensure(data.size() <= INT32_MAX);
    // ISA-L leaves the final inversion to the caller and declares its read-only input without const.
    return ~crc32_iscsi(const_cast<unsigned char*>(data.data()), static_cast<int>(data.size()), 0xffffffff);
}

}  // namespace duplex
