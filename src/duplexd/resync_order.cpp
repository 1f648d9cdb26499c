#include "duplexd/resync_order.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "runtime/log.hpp"

namespace duplex::duplexd {

ResyncOrder::~ResyncOrder() {
    if (fd_ >= 0) ::close(fd_);
}

// A process that dies closes its files, which shows here like a write.
Status ResyncOrder::open() {
    fd_ = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd_ < 0) return error("inotify: {}", std::strerror(errno));
    const std::string minors = run_dir_.minors();
    if (inotify_add_watch(fd_, minors.c_str(), IN_MODIFY | IN_CLOSE_WRITE | IN_DELETE) < 0)
        return error("cannot watch {}: {}", minors, std::strerror(errno));
    watch();
    return Ok{};
}

void ResyncOrder::watch() {
    events_.poll(fd_, POLLIN);
}

void ResyncOrder::others_changed(int result) {
    if (result < 0) return;  // cancelled
    // What the events say is not of interest, only that there are some.
    std::array<uint8_t, 4096> events;
    while (read(fd_, events.data(), events.size()) > 0) {
    }
    stale_ = true;
    watch();
}

void ResyncOrder::publish(const engine::VolumeStatus& volume, const engine::ResyncAfter& entry,
                          const FindClaim& claim) {
    const control::MinorClaim* const claimed = claim(volume.minor);
    const auto known = published_.find(volume.minor);
    if (!claimed || (known != published_.end() && known->second == entry)) return;
    const Status written = claimed->publish(entry);
    if (written)
        published_[volume.minor] = entry;
    else
        runtime::log_format(engine::LogLevel::error, "duplex: {}", written.error().text);
}

bool ResyncOrder::settle(engine::Resource& resource, const FindClaim& claim) {
    stale_ = false;
    const engine::ResourceStatus status = resource.status();
    std::map<unsigned, engine::ResyncAfter> own;
    for (const engine::VolumeStatus& volume : status.volumes)
        own[volume.minor] = engine::resync_after_of(volume);
    std::erase_if(published_, [&own](const auto& entry) { return !own.contains(entry.first); });
    const auto find = [&](unsigned minor) -> std::optional<engine::ResyncAfter> {
        const auto found = own.find(minor);
        return found != own.end() ? std::optional(found->second)
                                  : control::published_by_minor(run_dir_, minor);
    };
    bool told = false;
    for (const engine::VolumeStatus& volume : status.volumes) {
        const engine::ResyncAfter& entry = own.at(volume.minor);
        publish(volume, entry, claim);
        const bool pause = entry.has_disk && !engine::may_sync_now(volume.minor, find);
        if (pause == volume.state.aftr_isp) continue;
        resource.pause_after_others(volume.volume, pause);
        told = true;
    }
    return told;
}

}  // namespace duplex::duplexd
