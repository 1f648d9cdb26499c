// Moving internal meta data to where it belongs after the device has grown (meta data 15.9).
#pragma once

#include "tools/drbdmeta/area.hpp"

namespace duplex::drbdmeta {

// `old` was found at its last known place. Prints its messages, returns an exit code.
int move_internal(const Options& options, Device& device, const Area& old);

}  // namespace duplex::drbdmeta
