// Addresses of connections on the command line, made what the process can use and compare.
#pragma once

#include <string>
#include <string_view>

#include "base/result.hpp"

namespace duplex::drbdsetup {

// [AF:]ADDR[:PORT] with everything in its place and numbers for names: host names are looked up (IPv4),
// spellings of one address made one. What was guessed is said on stderr.
Result<std::string> normalized_address(std::string_view text);

}  // namespace duplex::drbdsetup
