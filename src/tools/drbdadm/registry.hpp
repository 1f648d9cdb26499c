// Which configuration file a running minor or resource came from: links below the run directory, for handlers
// and udev, which know nothing but a minor (cli 30.1). drbdsetup removes them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "config/model.hpp"

namespace duplex::drbdadm {

class Session;

void register_resource(const Session& session, const config::Resource& resource);
void register_minor(const Session& session, unsigned minor);

// The file registered for a name as handlers get it: "minor-N" or a resource.
std::optional<std::string> registered_file(std::string_view name);

}  // namespace duplex::drbdadm
