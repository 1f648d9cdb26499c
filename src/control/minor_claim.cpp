#include "control/minor_claim.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace duplex::control {
namespace {

std::string content_of(int fd) {
    std::array<char, 4096> bytes{};
    const ssize_t length = pread(fd, bytes.data(), bytes.size(), 0);
    return {bytes.data(), length > 0 ? static_cast<size_t>(length) : 0};
}

std::string first_line_of(const std::string& text) {
    return text.substr(0, text.find('\n'));
}

enum class Lock : uint8_t { taken, held_by_other, failed };

// Exclusively, or not at all. Who only looks for an owner holds a shared lock for a moment, which must not be
// taken for one: if a shared lock can be had, there is no owner, and the next try may succeed.
Lock lock_exclusively(int fd) {
    for (;;) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) return Lock::taken;
        if (errno != EWOULDBLOCK && errno != EINTR) return Lock::failed;
        if (flock(fd, LOCK_SH | LOCK_NB) == 0) continue;
        if (errno == EWOULDBLOCK) return Lock::held_by_other;
    }
}

// Between our open and our lock the former owner may have removed the file: then the lock is on nothing.
bool is_still_at(int fd, const std::string& path) {
    struct stat opened {};
    struct stat named {};
    return fstat(fd, &opened) == 0 && stat(path.c_str(), &named) == 0 && opened.st_ino == named.st_ino &&
           opened.st_dev == named.st_dev;
}

}  // namespace

Result<MinorClaim> MinorClaim::take(const RunDir& run_dir, unsigned minor, std::string_view resource) {
    std::string path = run_dir.minor(minor);
    for (;;) {
        const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0) return error("cannot open {}: {}", path, std::strerror(errno));
        MinorClaim claim(path, fd, minor, resource.size() + 1);
        if (const Lock lock = lock_exclusively(fd); lock != Lock::taken) {
            const int reason = errno;
            const std::string owner = first_line_of(content_of(fd));
            claim.path_.clear();
            if (lock == Lock::failed) return error("cannot lock {}: {}", path, std::strerror(reason));
            return error("minor {} belongs to resource {}", minor, owner);
        }
        if (!is_still_at(fd, path)) {
            claim.path_.clear();
            continue;
        }
        const std::string content = std::string(resource) + '\n';
        if (ftruncate(fd, 0) != 0 ||
            pwrite(fd, content.data(), content.size(), 0) != static_cast<ssize_t>(content.size())) {
            return error("cannot write {}: {}", path, std::strerror(errno));
        }
        return claim;
    }
}

MinorClaim::MinorClaim(MinorClaim&& other) noexcept
    : path_(std::exchange(other.path_, {})),
      fd_(std::exchange(other.fd_, -1)),
      minor_(other.minor_),
      resource_bytes_(other.resource_bytes_) {}

MinorClaim& MinorClaim::operator=(MinorClaim&& other) noexcept {
    if (this != &other) {
        give_up();
        path_ = std::exchange(other.path_, {});
        fd_ = std::exchange(other.fd_, -1);
        minor_ = other.minor_;
        resource_bytes_ = other.resource_bytes_;
    }
    return *this;
}

MinorClaim::~MinorClaim() {
    give_up();
}

// In one write of one length: a reader gets the old or the new one, or looks again because of the change.
Status MinorClaim::publish(const engine::ResyncAfter& entry) const {
    const std::string line = fmt::format("{:>8} {:d} {:d}\n", entry.minor, entry.has_disk, entry.busy);
    if (pwrite(fd_, line.data(), line.size(), static_cast<off_t>(resource_bytes_)) !=
        static_cast<ssize_t>(line.size()))
        return error("cannot write {}: {}", path_, std::strerror(errno));
    return Ok{};
}

void MinorClaim::give_up() {
    if (fd_ < 0) return;
    // While the lock is held: nobody else can have it from this name.
    if (!path_.empty()) unlink(path_.c_str());
    close(std::exchange(fd_, -1));
}

namespace {

struct Claimed {
    std::string resource;   // empty: no such file
    std::string published;  // the second line
    bool is_held = false;
};

Claimed look_at(const std::string& path) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return {};
    Claimed claimed;
    claimed.is_held = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    const std::string text = content_of(fd);
    close(fd);
    claimed.resource = first_line_of(text);
    claimed.published = text.substr(std::min(text.size(), claimed.resource.size() + 1));
    return claimed;
}

std::vector<unsigned> minors_where(const RunDir& run_dir, std::string_view resource, bool is_held) {
    std::vector<unsigned> minors;
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(run_dir.minors().c_str()), closedir);
    if (!directory) return minors;
    while (const dirent* const entry = readdir(directory.get())) {
        const std::string_view name = entry->d_name;
        unsigned minor = 0;
        const auto [end, failed] = std::from_chars(name.data(), name.data() + name.size(), minor);
        if (failed != std::errc() || end != name.data() + name.size()) continue;
        const Claimed claimed = look_at(run_dir.minor(minor));
        if (claimed.resource == resource && claimed.is_held == is_held) minors.push_back(minor);
    }
    std::ranges::sort(minors);
    return minors;
}

}  // namespace

std::optional<std::string> resource_of_minor(const RunDir& run_dir, unsigned minor) {
    Claimed claimed = look_at(run_dir.minor(minor));
    if (!claimed.is_held || claimed.resource.empty()) return std::nullopt;
    return std::move(claimed.resource);
}

std::optional<engine::ResyncAfter> published_by_minor(const RunDir& run_dir, unsigned minor) {
    const Claimed claimed = look_at(run_dir.minor(minor));
    engine::ResyncAfter entry;
    unsigned has_disk = 0, busy = 0;
    if (!claimed.is_held ||
        std::sscanf(claimed.published.c_str(), "%d %u %u", &entry.minor, &has_disk, &busy) != 3)
        return std::nullopt;
    entry.has_disk = has_disk != 0;
    entry.busy = busy != 0;
    return entry;
}

std::vector<unsigned> minors_of(const RunDir& run_dir, std::string_view resource) {
    return minors_where(run_dir, resource, true);
}

std::vector<unsigned> minors_left_by(const RunDir& run_dir, std::string_view resource) {
    return minors_where(run_dir, resource, false);
}

}  // namespace duplex::control
