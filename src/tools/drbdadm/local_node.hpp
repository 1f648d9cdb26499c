// The node drbdadm runs on.
#pragma once

#include "config/roles.hpp"

namespace duplex::drbdadm {

// Its name (or __DRBD_NODE__, which is reported) and the addresses of its interfaces.
config::Node local_node();

}  // namespace duplex::drbdadm
