// From the names on the command line to resources and volumes (cli 10.3).
#pragma once

#include <string_view>

#include "tools/drbdadm/session.hpp"

namespace duplex::drbdadm {

// What a name stands for. status is not 0 if it stands for nothing the command can work on; that was
// reported.
struct Selection {
    Target target;
    int status = 0;
    bool skip = false;  // of the other kind, normal or stacked: the run goes on and ends with status
};

Selection select_target(Session& session, std::string_view name);

// Reports why there is nothing to do for "all"; the status, 0 if there is something.
int nothing_to_do(const Session& session);

}  // namespace duplex::drbdadm
