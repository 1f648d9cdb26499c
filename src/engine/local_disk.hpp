// A backing disk while it is attached: its two devices, its meta data, its activity log.
#pragma once

#include <string>

#include "config/options.hpp"
#include "engine/activation.hpp"
#include "engine/activity_log.hpp"
#include "engine/bitmap.hpp"
#include "engine/meta_io.hpp"
#include "engine/resync_extents.hpp"
#include "engine/states.hpp"

namespace duplex::engine {

struct LocalDisk {
    LocalDisk(Executor& executor, Disk& data_disk, Disk& meta_disk, const meta::Layout& layout,
              const meta::Superblock& superblock, uint32_t al_slots, Bitmap& bitmap,
              std::function<void(int)> transaction_ended)
        : data(data_disk),
          meta(meta_disk),
          meta_io(executor, meta_disk, data_disk, layout, superblock, al_slots, 0),
          al(al_slots),
          resync_extents(&al),
          activation(executor, meta_io, al, bitmap, resync_extents, std::move(transaction_ended)) {}

    Disk& data;
    Disk& meta;
    std::string data_path;
    std::string meta_path;
    int meta_index = -1;
    config::DiskOptions options;
    // A range that the disk can take: some take whole 4 KiB blocks only.
    bool takes(Sector sector, uint64_t size_bytes) const {
        const uint64_t block = data.limits().logical_block_bytes;
        return sector.value * sector_bytes % block == 0 && size_bytes % block == 0;
    }
    uint64_t usable_sectors = 0;         // for data; what P_SIZES announces
    uint64_t meta_capacity_sectors = 0;  // of the meta data device, when the layout was computed
    MetaIo meta_io;
    ActivityLog al;
    ResyncExtents resync_extents;
    Activation activation;

    // Every bit is set, so there is nothing for the activity log to remember (meta data 9.6).
    bool al_suspended = false;
    bool crashed_primary = false;
    // The peer was missing already when this node went down (states 19.3); until the next connection.
    bool degraded = false;
    // Negotiating: what the superblock entitles us to when the peer has nothing against it (states 4.2).
    AttachedState prepared{DiskState::diskless, DiskState::d_unknown};
    // The size grew at attach; the new area is to be resynced after the negotiation.
    bool resync_after_negotiation = false;

    // Whoever uses the disk, for as long as the Diskless state has to wait for him: operations in flight,
    // procedures that write meta data.
    uint32_t users = 0;
};

}  // namespace duplex::engine
