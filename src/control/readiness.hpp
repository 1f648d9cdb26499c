// How a process that drbdsetup starts says that it can be used: --ready-fd=N names the pipe it writes to.
#pragma once

#include <optional>
#include <string_view>

#include "base/result.hpp"

namespace duplex::control {

// The descriptor, if the word of the command line is that option.
Result<std::optional<int>> ready_fd_from(std::string_view word);

// Written once, and the pipe closed: "ready", or the reason why it never will be. Nothing if fd is negative.
void report_ready(int fd, std::string_view text);

}  // namespace duplex::control
