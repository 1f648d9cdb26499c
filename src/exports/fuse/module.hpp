// The FUSE export as a module that is loaded into a running process: libfuse3 and the export come in a
// package of their own, and a node whose users need no /dev/drbdN does without. The module takes the loop,
// the log and the like from the program it is loaded into; hence the version, which both must share.
#pragma once

#include "engine/volume.hpp"
#include "exports/device_node.hpp"
#include "exports/log.hpp"
#include "runtime/loop.hpp"

namespace duplex::exports::fuse {

struct Module {
    const char* version;
    // The caller owns it; loop and volume outlive it.
    DeviceNode* (*make)(runtime::Loop& loop, engine::Volume& volume, const Log& log);
};

inline constexpr const char* module_symbol = "duplex_fuse_module";

}  // namespace duplex::exports::fuse
