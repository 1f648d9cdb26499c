// A device as it may be named on the command line: 5, /dev/drbd5, or a symbolic link to that such as
// /dev/drbd/by-res/r0/0. Anything else is no minor, and so may be a resource's name.
#pragma once

#include <optional>
#include <string>

namespace duplex::drbdsetup {

std::optional<unsigned> minor_of(const std::string& text);

}  // namespace duplex::drbdsetup
