#include "exports/directory.hpp"

#include <cerrno>
#include <cstring>
#include <sys/stat.h>

namespace duplex::exports {

Status make_directory_of(const std::string& path) {
    const std::string directory = path.substr(0, path.rfind('/'));
    if (mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST)
        return error("mkdir {}: {}", directory, strerrordesc_np(errno));
    return Ok{};
}

}  // namespace duplex::exports
