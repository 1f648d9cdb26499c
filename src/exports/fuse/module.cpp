#include "exports/fuse/module.hpp"

#include "exports/fuse/export.hpp"

namespace {

duplex::exports::DeviceNode* make(duplex::runtime::Loop& loop, duplex::engine::Volume& volume,
                                  const duplex::exports::Log& log) {
    return new duplex::exports::fuse::Export(loop, volume, log);
}

}  // namespace

extern "C" const duplex::exports::fuse::Module duplex_fuse_module;
const duplex::exports::fuse::Module duplex_fuse_module{DUPLEX_VERSION, make};
