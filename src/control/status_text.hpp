// The output of "drbdsetup status" (cli 23).
#pragma once

#include <string>

#include "engine/status.hpp"

namespace duplex::control {

struct StatusStyle {
    bool verbose = false;
    bool statistics = false;
    bool color = false;
    unsigned width = 80;  // columns
};

// One resource, with the empty line after it.
std::string status_text(const engine::ResourceStatus& resource, const StatusStyle& style);

}  // namespace duplex::control
