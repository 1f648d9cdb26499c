// The option cpu-mask: which CPUs a resource may use (cli 5.2).
#pragma once

#include <bitset>
#include <string_view>

#include "base/result.hpp"

namespace duplex::config {

using CpuMask = std::bitset<512>;  // what 32 characters can name

// Hexadecimal. A comma ends a group of 32 bits, the most significant group comes first. None set: no choice
// made.
Result<CpuMask> parse_cpu_mask(std::string_view text);

}  // namespace duplex::config
