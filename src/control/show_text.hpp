// The output of "drbdsetup show" (cli 21). The configuration parser reads it back, so it keeps to the
// grammar.
#pragma once

#include <span>
#include <string>

#include "engine/status.hpp"

namespace duplex::control {

// One resource, without the empty line that separates it from the next.
std::string show_text(const engine::ResourceStatus& resource, bool with_defaults);

// "ipv4 10.0.0.1:7788", "ipv6 [fe80::1]:7788"
std::string address_text(const engine::Endpoint& endpoint);

}  // namespace duplex::control
