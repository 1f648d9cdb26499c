// What is on the device already, and whether meta data may be put beside or over it (meta data 15.6).
#pragma once

#include "meta/layout.hpp"
#include "tools/drbdmeta/device.hpp"
#include "tools/drbdmeta/options.hpp"

namespace duplex::drbdmeta {

// Exit code 0 if the meta data may be written there. Otherwise the user has been told why not: 40 refused, 1
// the question was answered with no, 10 the device could not be read.
int check_for_existing_data(const Options& options, Device& device, const meta::Layout& layout);

}  // namespace duplex::drbdmeta
