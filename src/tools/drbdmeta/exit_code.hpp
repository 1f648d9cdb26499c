// The exit codes of drbdmeta (meta data 15.4). Commands return them; drbdadm tests for 0 and, after
// outdate, 5.
#pragma once

#include <cstdio>

#include <fmt/format.h>

#include "base/result.hpp"

namespace duplex::drbdmeta {

enum ExitCode : int {
    exit_ok = 0,
    exit_failed = 1,
    exit_al_unusable = 2,
    exit_inconsistent = 5,
    exit_io = 10,
    exit_usage = 20,
    exit_not_implemented = 30,
    exit_refused = 40,
};

// Prints the error to stderr and passes the code on.
inline int fail(ExitCode code, const Error& error) {
    std::fflush(stdout);
    fmt::print(stderr, "{}\n", error.text);
    return code;
}

}  // namespace duplex::drbdmeta
