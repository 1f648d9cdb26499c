// The module with the FUSE export (exports/fuse/module.hpp), from ../lib/duplex beside the program's folder.
#pragma once

#include "base/result.hpp"
#include "exports/fuse/module.hpp"

namespace duplex::duplexd {

// Loaded once, and for as long as the process runs: an upgrade may replace the file. The error says what to
// install.
Result<const exports::fuse::Module*> load_fuse_module();

}  // namespace duplex::duplexd
