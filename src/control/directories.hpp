// Where things of a node are outside its devices; each can be moved by an environment variable.
#pragma once

#include <cstdlib>
#include <string>

namespace duplex::control {

inline std::string directory_from(const char* variable, const char* otherwise) {
    const char* const value = std::getenv(variable);
    return value != nullptr && *value != '\0' ? value : otherwise;
}

// The processes' (control/run_dir.hpp).
inline std::string run_directory() {
    return directory_from("DUPLEX_RUN_DIR", "/run/duplex");
}
// What drbdadm notes about resources and minors, which is DRBD's own place for it (cli 30.1).
inline std::string registry_directory() {
    return directory_from("DUPLEX_RUN_DIR", "/var/run/drbd");
}
// Lock files per minor, shared with DRBD's own tools (meta data 15.2).
inline std::string lock_directory() {
    return directory_from("DUPLEX_LOCK_DIR", "/var/lock");
}
// Last known sizes (meta data 16.5).
inline std::string state_directory() {
    return directory_from("DUPLEX_STATE_DIR", "/var/lib/drbd");
}

}  // namespace duplex::control
