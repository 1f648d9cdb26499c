// Whether the minor's process is at its meta data (meta data 15.2). Other tools are kept out by
// control::DeviceLock.
#pragma once

#include "base/result.hpp"

namespace duplex::drbdmeta {

// Whether a running process has the minor attached. A minor that exists without a disk, as between new-minor
// and attach, is not. Error if a process holds the minor but does not say what it does with it: then nobody
// may write.
Result<bool> is_attached(int minor);

}  // namespace duplex::drbdmeta
