// Resync and application writes must not be in flight for the same block. They are kept apart by 16 MiB
// extents: resync closes an extent to new writes, and has it when none of its activity-log extents is in use
// (meta data 11). Each node locks only against its own application's writes.
#pragma once

#include <array>
#include <cstdint>

#include "base/units.hpp"
#include "engine/activity_log.hpp"

namespace duplex::engine {

class ResyncExtents {
  public:
    static constexpr size_t extents_max = 61;

    explicit ResyncExtents(const ActivityLog* log) : log_(log) {}

    // A reference on the extent, or false: try again when an activity-log reference was given back or a
    // resync reference was released. The extent stays closed to new writes meanwhile, so that the attempt
    // will succeed.
    bool lock(ResyncExtent extent);
    void unlock(ResyncExtent extent);
    // Gives up attempts that closed an extent without getting it.
    void reopen_unlocked();
    // The connection or the disk is gone, and with it everything that held references.
    void reset();

    bool closed_to_writes(ResyncExtent extent) const { return used_ > 0 && find(extent) != nullptr; }
    bool locked(ResyncExtent extent) const {
        const Entry* entry = used_ > 0 ? find(extent) : nullptr;
        return entry && entry->references > 0;
    }
    bool any_locked() const { return used_ > 0; }

  private:
    struct Entry {
        ResyncExtent extent;
        uint32_t references = 0;  // 0: closed to writes, not locked yet
        bool taken = false;
    };

    const Entry* find(ResyncExtent extent) const;
    Entry* find(ResyncExtent extent);
    bool application_uses(ResyncExtent extent) const;

    const ActivityLog* log_;
    std::array<Entry, extents_max> entries_{};
    size_t used_ = 0;
};

}  // namespace duplex::engine
