// Who else may be at the same minor (meta data 15.2): another tool, kept out by a lock file that DRBD's own
// tools use too, or the process that has the minor attached.
#pragma once

#include "base/result.hpp"

namespace duplex::drbdmeta {

// Takes the minor's lock file for the life of this process; waits for at most a second.
Status lock_minor(int minor);

// Whether a running process has the minor attached. A minor that exists without a disk, as between new-minor
// and attach, is not. Error if a process holds the minor but does not say what it does with it: then nobody
// may write.
Result<bool> is_attached(int minor);

}  // namespace duplex::drbdmeta
