// A device as it may be named on the command line: 5, /dev/drbd5, or a symbolic link to that such as
// /dev/drbd/by-res/r0/0.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace duplex::drbdsetup {

std::optional<unsigned> minor_of(const std::string& text);

// Does it have the form of a minor rather than of a resource's name?
bool looks_like_minor(std::string_view text);

}  // namespace duplex::drbdsetup
