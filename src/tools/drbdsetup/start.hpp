// Starting the node's processes in the background. Both functions return once the process can be used, or has
// said why it cannot.
#pragma once

#include <string>

#include "base/result.hpp"

namespace duplex::drbdsetup {

// duplexd RESOURCE; its words go to /var/log/duplex/RESOURCE.log.
Status start_resource_process(const std::string& resource);

// The node's one process behind $DUPLEX_RUN_DIR/proc/drbd, unless it runs.
Status start_proc_process();

}  // namespace duplex::drbdsetup
