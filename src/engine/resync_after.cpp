#include "engine/resync_after.hpp"

#include <set>

#include "engine/states.hpp"

namespace duplex::engine {

ResyncAfter resync_after_of(const VolumeStatus& volume) {
    const State& s = volume.state;
    const bool syncs = s.conn >= ConnState::sync_source && s.conn <= ConnState::paused_sync_t;
    ResyncAfter entry;
    entry.has_disk = volume.disk.has_value() && s.disk > DiskState::failed;
    entry.minor = volume.disk ? volume.disk->options.resync_after : -1;
    entry.busy = syncs || s.aftr_isp || s.user_isp || s.peer_isp;
    return entry;
}

bool may_sync_now(unsigned minor, const FindMinor& find) {
    std::set<unsigned> seen{minor};  // a chain that became a ring behind the check for one ends, too
    std::optional<ResyncAfter> at = find(minor);
    while (at && at->minor >= 0) {
        const auto next = static_cast<unsigned>(at->minor);
        if (!seen.insert(next).second) return true;
        at = find(next);
        if (at && at->has_disk && at->busy) return false;
        if (at && !at->has_disk) return true;
    }
    return true;
}

}  // namespace duplex::engine
