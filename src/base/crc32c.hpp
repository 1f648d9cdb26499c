// CRC-32C (Castagnoli), reflected, init and final xor all-ones: the checksum of DRBD's activity log and of
// its crc32c digests (spec metadata and wire). By ISA-L.
#pragma once

#include <cstdint>
#include <span>

namespace duplex {

uint32_t crc32c(std::span<const uint8_t> data);

}  // namespace duplex
