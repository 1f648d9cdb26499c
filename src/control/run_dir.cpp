#include "control/run_dir.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <memory>
#include <sys/stat.h>
#include <sys/un.h>

#include "control/directories.hpp"

namespace duplex::control {
namespace {

constexpr std::string_view socket_suffix = ".sock";

// A resource's name as a file's: '/' cannot stand in one, '%' is the escape, a leading '.' would hide it.
std::string file_name_of(std::string_view resource) {
    std::string name;
    for (const char c : resource) {
        if (c == '/' || c == '%' || (c == '.' && name.empty())) {
            name += fmt::format("%{:02x}", static_cast<unsigned char>(c));
        } else {
            name += c;
        }
    }
    return name;
}

std::string resource_of(std::string_view file_name) {
    std::string resource;
    for (size_t i = 0; i < file_name.size(); ++i) {
        if (file_name[i] == '%' && i + 2 < file_name.size()) {
            resource +=
                static_cast<char>(std::strtol(std::string(file_name.substr(i + 1, 2)).c_str(), nullptr, 16));
            i += 2;
        } else {
            resource += file_name[i];
        }
    }
    return resource;
}

Status make_directory(const std::string& path) {
    if (mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return Ok{};
    return error("cannot create directory {}: {}", path, std::strerror(errno));
}

}  // namespace

RunDir RunDir::of_node() {
    return RunDir(run_directory());
}

Status RunDir::make() const {
    if (Status made = make_directory(path_); !made) return made;
    return make_directory(minors());
}

Result<std::string> RunDir::socket(std::string_view resource) const {
    std::string path = fmt::format("{}/{}{}", path_, file_name_of(resource), socket_suffix);
    // ".new" is appended while it is made.
    constexpr size_t length_max = sizeof(sockaddr_un::sun_path) - 1 - std::string_view(".new").size();
    if (path.size() > length_max) {
        return error("the name of resource {} is too long: {} has more than {} characters", resource, path,
                     length_max);
    }
    return path;
}

std::string RunDir::minor(unsigned number) const {
    return fmt::format("{}/{}", minors(), number);
}

std::vector<std::string> RunDir::resources() const {
    std::vector<std::string> names;
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(path_.c_str()), closedir);
    if (!directory) return names;
    while (const dirent* const entry = readdir(directory.get())) {
        std::string_view name = entry->d_name;
        if (name.size() <= socket_suffix.size() || !name.ends_with(socket_suffix)) continue;
        name.remove_suffix(socket_suffix.size());
        names.push_back(resource_of(name));
    }
    std::ranges::sort(names);
    return names;
}

}  // namespace duplex::control
