#include "control/program_path.hpp"

#include <array>
#include <climits>
#include <unistd.h>

namespace duplex::control {

std::string program_directory() {
    std::array<char, PATH_MAX> self{};
    const ssize_t length = readlink("/proc/self/exe", self.data(), self.size());
    if (length <= 0 || static_cast<size_t>(length) >= self.size()) return {};
    std::string path(self.data(), static_cast<size_t>(length));
    path.resize(path.rfind('/') + 1);
    return path;
}

std::string program_path(std::string_view name) {
    if (std::string path = program_directory(); !path.empty()) {
        path += name;
        if (access(path.c_str(), X_OK) == 0) return path;
    }
    return std::string(name);
}

}  // namespace duplex::control
