#pragma once

#include <string>
#include <string_view>

namespace duplex::control {

// The folder of the running program, with a slash behind it; empty if it is not to be found.
std::string program_directory();

// A program of Duplex: beside the running one, else the bare name, to be found in PATH.
std::string program_path(std::string_view name);

}  // namespace duplex::control
