// $DUPLEX_RUN_DIR/proc/drbd: a file whose every read gives the text of /proc/drbd as it is now. A tiny FUSE
// file system with this one file; one process per node serves it, from the first resource to the last.
#pragma once

#include <functional>

#include "base/result.hpp"
#include "control/run_dir.hpp"

namespace duplex::tool {

// Returns when the last resource is gone or the file system was unmounted. ready is called once the file can
// be read, or at once if another process serves it.
Status serve_proc_file(const control::RunDir& run_dir, const std::function<void()>& ready);

}  // namespace duplex::tool
