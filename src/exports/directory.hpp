// Where sockets and mount points live under $DUPLEX_RUN_DIR.
#pragma once

#include <string>

#include "base/result.hpp"

namespace duplex::exports {

// Makes the directory that is to hold the path (mode 0700), if it is not there. Its own parent must exist.
Status make_directory_of(const std::string& path);

}  // namespace duplex::exports
