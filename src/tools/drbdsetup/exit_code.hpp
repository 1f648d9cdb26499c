// The exit statuses that are drbdsetup's own (cli 20); those of replies are control/reply_text.hpp's.
#pragma once

namespace duplex::drbdsetup {

enum ExitCode : int {
    exit_ok = 0,
    exit_unconfigured = 1,  // nothing to show of this device
    exit_timeout = 5,
    exit_no_such_resource = 10,  // status
    exit_unknown_resource = 19,  // sh-status
    exit_usage = 20,             // and no answer
};

}  // namespace duplex::drbdsetup
