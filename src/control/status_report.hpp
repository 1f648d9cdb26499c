// The state of resources for programs: the JSON of "drbdsetup status --json". Its members are those of DRBD
// 9's command of this name, so that what reads that reads this.
#pragma once

#include <span>
#include <string>

#include "engine/status.hpp"

namespace duplex::control {

std::string status_report(std::span<const engine::ResourceStatus> resources);

}  // namespace duplex::control
