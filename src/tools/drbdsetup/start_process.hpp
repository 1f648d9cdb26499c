// Starting a resource's process, which new-resource does.
#pragma once

#include <string>
#include <string_view>

#include "base/result.hpp"

namespace duplex::drbdsetup {

// $DUPLEX_LOG_DIR/RESOURCE.log, by default in /var/log/duplex: what the process says where nothing else takes
// its messages.
std::string log_path_of(std::string_view resource);

// Runs the program in a session of its own and waits until tools can connect to it. The error is what it said
// was in the way.
Status start_process(const std::string& program, const std::string& resource);

// duplexd beside this program, else the bare name, to be found in PATH.
std::string duplexd_path();

}  // namespace duplex::drbdsetup
