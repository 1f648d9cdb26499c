#include "engine/disk_timeout.hpp"

#include <algorithm>

#include "engine/core.hpp"

namespace duplex::engine {

DiskTimeout::~DiskTimeout() {
    core_.ports.clock.cancel(timer_);
}

uint64_t DiskTimeout::limit_ms() const {
    return device_.disk ? device_.disk->options.disk_timeout_ds * uint64_t{100} : 0;
}

void DiskTimeout::restart() {
    started_ms_ = meta_since_ms_ = core_.ports.clock.now_ms();
    if (limit_ms() > 0)
        core_.ports.clock.arm(timer_, limit_ms());
    else
        core_.ports.clock.cancel(timer_);
}

// Since when the disk has had the oldest of what it has; now, if it has nothing.
uint64_t DiskTimeout::waiting_since_ms(uint64_t now_ms) {
    const MetaIo& meta = device_.disk->meta_io;
    // What has started since the last look counts from now on.
    constexpr uint64_t was_idle = UINT64_MAX;
    if (meta.idle() || meta.ended() != meta_ended_) {
        meta_ended_ = meta.idle() ? was_idle : meta.ended();
        meta_since_ms_ = now_ms;
    }
    return std::max(started_ms_, std::min(meta_since_ms_, device_.app.oldest_local_ms().value_or(now_ms)));
}

void DiskTimeout::check() {
    if (limit_ms() == 0 || device_.state().disk <= DiskState::failed) return;
    const uint64_t now = core_.ports.clock.now_ms();
    const uint64_t due = waiting_since_ms(now) + limit_ms();
    if (due > now) {
        core_.ports.clock.arm(timer_, due - now);
        return;
    }
    device_.log(LogLevel::warning, "Local backing device failed to meet the disk-timeout");
    device_.give_disk_up(true);
}

}  // namespace duplex::engine
