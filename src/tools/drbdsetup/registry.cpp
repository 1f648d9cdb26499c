#include "tools/drbdsetup/registry.hpp"

#include <cstdlib>
#include <string>
#include <unistd.h>

#include <fmt/format.h>

#include "control/directories.hpp"

namespace duplex::drbdsetup {

using control::registry_directory;

void unregister_minor(unsigned minor) {
    unlink(fmt::format("{}/drbd-minor-{}.conf", registry_directory(), minor).c_str());
}

void unregister_resource(std::string_view resource) {
    unlink(fmt::format("{}/drbd-resource-{}.conf", registry_directory(), resource).c_str());
}

}  // namespace duplex::drbdsetup
