// The links by which drbdadm remembers which configuration a minor or a resource came from (cli 30.1).
// drbdadm makes them, drbdsetup removes them with what they are about.
#pragma once

#include <string_view>

namespace duplex::drbdsetup {

void unregister_minor(unsigned minor);
void unregister_resource(std::string_view resource);

}  // namespace duplex::drbdsetup
