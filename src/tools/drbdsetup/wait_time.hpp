// How long wait-connect and wait-sync wait (cli 25).
#pragma once

#include <string>

#include "config/options.hpp"
#include "control/status_json.hpp"

namespace duplex::drbdsetup {

// Timeouts that are longer than the one for a better case make no sense: they are cut, and notes says so,
// with line ends.
config::StartupOptions plausible(config::StartupOptions options, std::string& notes);

// 0: for ever.
uint32_t wait_seconds(const config::StartupOptions& options, const engine::VolumeStatus& volume);

}  // namespace duplex::drbdsetup
