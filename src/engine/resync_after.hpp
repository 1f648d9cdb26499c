// resync-after: a volume is not resynchronised while one that is to come before it is busy (states 12.6). The
// volumes of a chain belong to different resources, and here to different processes: whoever has them all in
// view decides, and tells the engine by Resource::pause_after_others().
#pragma once

#include <functional>
#include <optional>

#include "engine/status.hpp"

namespace duplex::engine {

// What the others have to know of a volume.
struct ResyncAfter {
    int minor = -1;  // which it is to follow; -1: none
    bool has_disk = false;
    bool busy = false;  // resync or verify, running or paused, or told to pause
    bool operator==(const ResyncAfter&) const = default;
};

ResyncAfter resync_after_of(const VolumeStatus& volume);

// nullopt: no such minor on this node.
using FindMinor = std::function<std::optional<ResyncAfter>(unsigned minor)>;
bool may_sync_now(unsigned minor, const FindMinor& find);

}  // namespace duplex::engine
