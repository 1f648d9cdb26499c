// Questions (meta data 15.3).
#pragma once

#include <string_view>

#include "tools/drbdmeta/options.hpp"

namespace duplex::drbdmeta {

// Asks on stderr, reads the answer from stdin. --force answers yes; without a terminal the answer is no.
bool confirmed(const Options& options, std::string_view text);

}  // namespace duplex::drbdmeta
