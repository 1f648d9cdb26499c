// Carries out the commands that concern the engine alone. What makes and removes minors and the resource
// itself is the process's affair.
#pragma once

#include "control/message.hpp"
#include "engine/resource.hpp"

namespace duplex::control {

// True if the command is one of these; done is then called once, now or later.
bool execute_in_engine(engine::Resource& resource, const Request& request, const engine::Done& done);

}  // namespace duplex::control
