#include "tools/drbdsetup/registry.hpp"

#include <cstdlib>
#include <string>
#include <unistd.h>

#include <fmt/format.h>

namespace duplex::drbdsetup {
namespace {

std::string directory() {
    const char* const own = std::getenv("DUPLEX_RUN_DIR");
    return own != nullptr && *own != '\0' ? own : "/var/run/drbd";
}

}  // namespace

void unregister_minor(unsigned minor) {
    unlink(fmt::format("{}/drbd-minor-{}.conf", directory(), minor).c_str());
}

void unregister_resource(std::string_view resource) {
    unlink(fmt::format("{}/drbd-resource-{}.conf", directory(), resource).c_str());
}

}  // namespace duplex::drbdsetup
