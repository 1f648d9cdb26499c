// Calls of drbdsetup that only adjust makes.
#pragma once

#include <string>

namespace duplex::drbdadm {

class Session;
struct Target;

// All configured options, those not configured go back to their defaults.
int set_resource_options(Session& session, const Target& target);
int set_disk_options(Session& session, const Target& target);
int set_net_options(Session& session, const Target& target);

// For minors and connections that run but are not configured that way.
int detach_minor(Session& session, const Target& target, unsigned minor);
int del_minor(Session& session, const Target& target, unsigned minor);
int disconnect_addresses(Session& session, const Target& target, const std::string& local,
                         const std::string& remote);

}  // namespace duplex::drbdadm
