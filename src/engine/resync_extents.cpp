#include "engine/resync_extents.hpp"

#include <utility>

#include "base/ensure.hpp"

namespace duplex::engine {

const ResyncExtents::Entry* ResyncExtents::find(ResyncExtent extent) const {
    for (const Entry& entry : entries_)
        if (entry.taken && entry.extent == extent) return &entry;
    return nullptr;
}

ResyncExtents::Entry* ResyncExtents::find(ResyncExtent extent) {
    return const_cast<Entry*>(std::as_const(*this).find(extent));
}

bool ResyncExtents::application_uses(ResyncExtent extent) const {
    constexpr uint64_t al_extents = resync_extent_bytes / al_extent_bytes;
    for (uint64_t i = 0; i < al_extents; ++i)
        if (log_->in_use(AlExtent(extent.value * al_extents + i))) return true;
    return false;
}

bool ResyncExtents::lock(ResyncExtent extent) {
    Entry* entry = find(extent);
    if (!entry) {
        for (Entry& free : entries_)
            if (!free.taken) entry = &free;
        if (!entry) return false;
        *entry = {extent, 0, true};
        ++used_;
    }
    if (entry->references == 0 && application_uses(extent)) return false;
    ++entry->references;
    return true;
}

void ResyncExtents::unlock(ResyncExtent extent) {
    Entry* entry = find(extent);
    ensure(entry && entry->references > 0);
    if (--entry->references > 0) return;
    entry->taken = false;
    --used_;
}

void ResyncExtents::reopen_unlocked() {
    for (Entry& entry : entries_) {
        if (!entry.taken || entry.references > 0) continue;
        entry.taken = false;
        --used_;
    }
}

void ResyncExtents::reset() {
    entries_ = {};
    used_ = 0;
}

}  // namespace duplex::engine
