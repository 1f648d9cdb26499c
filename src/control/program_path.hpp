#pragma once

#include <string>
#include <string_view>

namespace duplex::control {

// A program of Duplex: beside the running one, else the bare name, to be found in PATH.
std::string program_path(std::string_view name);

}  // namespace duplex::control
