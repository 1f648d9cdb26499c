// For the tests of this directory only.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "wire/encode.hpp"
#include "wire/stream.hpp"

namespace duplex::wire {

// Blanks are skipped.
std::vector<uint8_t> from_hex(std::string_view hex);
std::string to_hex(std::span<const uint8_t> bytes);

// Decodes the packet that `reader` has just completed (or the head of a data block) and encodes it again,
// header and everything else except a data block, with the pads of p_block_req and p_block_desc as 0.
Result<std::vector<uint8_t>> reencode(const PacketReader& reader);

// Sets the pads that receivers must ignore to 0, where the packet at the front of `bytes` has one (wire
// protocol 4.3).
void clear_ignored_pad(const PacketInfo& info, std::span<uint8_t> bytes);

}  // namespace duplex::wire
