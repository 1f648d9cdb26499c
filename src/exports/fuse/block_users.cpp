#include "exports/fuse/block_users.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <dirent.h>
#include <fcntl.h>
#include <fstream>
#include <functional>
#include <memory>
#include <set>
#include <sstream>
#include <string_view>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <fmt/format.h>

#include "runtime/fd.hpp"

namespace duplex::exports::fuse {

namespace {

void each_entry(const std::string& directory, const std::function<void(const char* name)>& visit) {
    const std::unique_ptr<DIR, int (*)(DIR*)> open(opendir(directory.c_str()), closedir);
    if (!open) return;
    while (const dirent* entry = readdir(open.get())) {
        if (entry->d_name[0] != '.') visit(entry->d_name);
    }
}

pid_t pid_of(std::string_view name) {
    pid_t pid = 0;
    const auto [end, failure] = std::from_chars(name.data(), name.data() + name.size(), pid);
    return failure == std::errc() && end == name.data() + name.size() ? pid : 0;
}

std::string first_line_of(const std::string& path) {
    std::string line;
    std::ifstream file(path);
    std::getline(file, line);
    return line;
}

// Asks nobody but the kernel: a descriptor on a dead network or FUSE file system must not hang the search.
bool is_device(const std::string& path, dev_t device) {
    struct statx found {};
    if (statx(AT_FDCWD, path.c_str(), AT_STATX_DONT_SYNC, STATX_TYPE, &found) != 0) return false;
    return S_ISBLK(found.stx_mode) && makedev(found.stx_rdev_major, found.stx_rdev_minor) == device;
}

bool has_open(pid_t pid, dev_t device) {
    const std::string directory = fmt::format("/proc/{}/fd", pid);
    bool found = false;
    each_entry(directory, [&](const char* name) {
        if (!found) found = is_device(fmt::format("{}/{}", directory, name), device);
    });
    return found;
}

// A line of mountinfo: id parent major:minor root mount-point ...
void add_mounts(pid_t pid, dev_t device, std::set<std::string>& mounts) {
    const std::string wanted = fmt::format("{}:{}", major(device), minor(device));
    std::ifstream file(fmt::format("/proc/{}/mountinfo", pid));
    for (std::string line; std::getline(file, line);) {
        std::istringstream words(line);
        std::string id, parent, number, root, point;
        if (words >> id >> parent >> number >> root >> point && number == wanted)
            mounts.insert(fmt::format("mounted on {}", point));
    }
}

bool is_swap(dev_t device) {
    std::ifstream file("/proc/swaps");
    for (std::string line; std::getline(file, line);) {
        if (is_device(line.substr(0, line.find(' ')), device)) return true;
    }
    return false;
}

bool is_claimed(const std::string& path) {
    const runtime::Fd probe(open(path.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
    return !probe && errno == EBUSY;
}

}  // namespace

std::vector<std::string> users_of_block_device(const std::string& path, dev_t device,
                                               std::span<const pid_t> except) {
    std::vector<std::string> users;
    std::set<std::string> mounts;
    std::set<std::string> namespaces_seen;
    each_entry("/proc", [&](const char* name) {
        const pid_t pid = pid_of(name);
        if (pid == 0 || std::find(except.begin(), except.end(), pid) != except.end()) return;
        if (has_open(pid, device))
            users.push_back(fmt::format("{}[{}]", first_line_of(fmt::format("/proc/{}/comm", pid)), pid));
        char link[64];
        const ssize_t bytes = readlink(fmt::format("/proc/{}/ns/mnt", pid).c_str(), link, sizeof link);
        if (bytes > 0 && namespaces_seen.insert(std::string(link, static_cast<size_t>(bytes))).second)
            add_mounts(pid, device, mounts);
    });
    users.insert(users.end(), mounts.begin(), mounts.end());
    each_entry(fmt::format("/sys/dev/block/{}:{}/holders", major(device), minor(device)),
               [&](const char* name) { users.push_back(fmt::format("held by {}", name)); });
    if (is_swap(device)) users.emplace_back("swap");
    if (users.empty() && is_claimed(path))
        users.emplace_back("mounted or claimed by a process that cannot be seen from here");
    return users;
}

bool is_udev(const std::string& user) {
    return user.starts_with("systemd-udevd[") || user.starts_with("(udev-worker)[");
}

}  // namespace duplex::exports::fuse
