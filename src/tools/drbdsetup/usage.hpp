// drbdsetup's usage texts (cli 19.1), made from the table of commands.
#pragma once

#include <string>

#include "control/commands.hpp"

namespace duplex::drbdsetup {

// The list of commands.
std::string general_usage();
std::string command_usage(const control::CommandInfo& command);
// The same for programs.
std::string command_xml(const control::CommandInfo& command);

}  // namespace duplex::drbdsetup
