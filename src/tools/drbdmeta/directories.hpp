// Where things are outside the device; each can be moved by an environment variable.
#pragma once

#include <cstdlib>
#include <string>

namespace duplex::drbdmeta {

inline std::string directory_from(const char* variable, const char* otherwise) {
    const char* value = std::getenv(variable);  // NOLINT(concurrency-mt-unsafe): one thread
    return value != nullptr && *value != '\0' ? value : otherwise;
}

// Lock files per minor, shared with DRBD's own tools (meta data 15.2).
inline std::string lock_directory() {
    return directory_from("DUPLEX_LOCK_DIR", "/var/lock");
}
// Claims of running processes.
inline std::string run_directory() {
    return directory_from("DUPLEX_RUN_DIR", "/run/duplex");
}
// Last known sizes (meta data 16.5).
inline std::string state_directory() {
    return directory_from("DUPLEX_STATE_DIR", "/var/lib/drbd");
}

}  // namespace duplex::drbdmeta
