// Reading and writing the meta data of an attached disk: superblock, activity log, bitmap. The durability
// order of meta data 12.2 is kept here and nowhere else:
//
//   superblock, AL block   flush before (everything completed earlier is stable) + FUA, one at a time
//   bitmap pages           plain writes, after a flush of the data if bits were cleared; the flush of the
//                          next superblock or AL write makes them stable
//   AL transaction         dirty bitmap pages of the extents that leave the set, then flush, then the block
//                          (R2)
//
// All functions return 0 or an errno value; a failure of any of them is for the caller to treat as the loss
// of the disk (meta data 12.6).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/units.hpp"
#include "engine/activity_log.hpp"
#include "engine/bitmap.hpp"
#include "engine/task.hpp"
#include "meta/activity_log.hpp"
#include "meta/layout.hpp"
#include "meta/superblock.hpp"

namespace duplex::engine {

// 4 KiB aligned memory for meta data I/O, apart from the pool for data: meta data must get through when that
// is full.
class MetaBuffer {
  public:
    explicit MetaBuffer(size_t size_bytes);
    uint8_t* data() const { return memory_.get(); }

  private:
    struct Free {
        void operator()(uint8_t* memory) const;
    };
    std::unique_ptr<uint8_t, Free> memory_;
};

class MetaIo {
  public:
    MetaIo(Executor& executor, Disk& meta_disk, Disk& data_disk, const meta::Layout& layout,
           const meta::Superblock& superblock, uint32_t al_slots, uint32_t first_transaction);

    const meta::Layout& layout() const { return layout_; }

    // The superblock as it is to be; whoever changes it calls mark_dirty().
    meta::Superblock superblock;
    void mark_dirty() { ++wanted_; }
    bool dirty() const { return wanted_ != durable_; }
    // The superblock on stable storage says Primary, the one to be written does not.
    bool ends_primary() const {
        return (stable_flags_ & meta::flag::primary_ind) && !superblock.has(meta::flag::primary_ind);
    }
    void set_md_flushes(bool on) { md_flushes_ = on; }

    // Returns when everything marked dirty before the call is on stable storage.
    Task<int> write_superblock();
    // One transaction of the set's changes; the set must be locked. `bitmap` supplies the evicted extents'
    // pages.
    Task<int> write_al(const ActivityLog& log, Bitmap& bitmap);
    // Empty transactions over the whole ring, so that no older block remains (meta data 9.7).
    Task<int> initialise_al(const ActivityLog& log);

    // The area is at a new place from now on. Nothing but the superblock is written until moved(), which
    // comes when that is on stable storage: the old one may lie where activity log and bitmap are to be.
    Task<> move_to(const meta::Layout& layout);
    void moved();
    // Instead: it stays where it was.
    void move_back(const meta::Layout& old_layout) {
        layout_ = old_layout;
        moved();
    }
    // Between the two: a log of that many slots in the new place; initialise_al() follows.
    void restart_al(uint32_t al_slots);
    // Zeroes over what was a superblock.
    Task<int> wipe(Sector old_superblock);

    Task<int> read_bitmap(Bitmap& bitmap);
    // All dirty pages; a page that gets dirty meanwhile may or may not be included.
    Task<int> write_bitmap(Bitmap& bitmap);

    // The disk is given up by force: whoever waits goes on with an error, and nothing more is submitted.
    void abandon();
    // Nothing is at the disk; how many operations have ended.
    bool idle() const { return operations_.empty(); }
    uint64_t ended() const { return ended_; }

    // Pages written for transactions; like the kernel's counter it leaves out those written as a whole.
    uint64_t bitmap_writes() const { return bitmap_writes_; }
    uint64_t al_writes() const { return al_writes_; }

  private:
    // Held by whoever uses the one buffer for superblock and AL block.
    class Lock;
    struct Operation;

    Task<int> run(Disk& disk, IoKind kind, Sector sector, uint32_t size_bytes, uint8_t* data, bool fua);
    Task<int> flush(Disk& disk) { return run(disk, IoKind::flush, Sector(0), 0, nullptr, false); }
    Task<int> write_block(Sector sector, bool flush_data_disk);
    Task<int> write_pages(Bitmap& bitmap, uint64_t first, uint64_t count);
    Task<int> write_al_block(std::span<const meta::AlUpdate> updates, std::span<const uint32_t> labels,
                             bool evicts);

    Disk& meta_disk_;
    Disk& data_disk_;
    meta::Layout layout_;
    meta::AlWriter al_writer_;
    MetaBuffer block_;
    MetaBuffer pages_;
    bool block_busy_ = false;
    bool pages_busy_ = false;
    bool moving_ = false;
    Event freed_;
    Event operation_ended_;
    std::vector<std::shared_ptr<Operation>> operations_;  // at the disk
    uint64_t ended_ = 0;
    bool abandoned_ = false;
    uint64_t wanted_ = 0;
    uint64_t durable_ = 0;
    uint32_t stable_flags_ = 0;
    uint64_t bitmap_writes_ = 0;
    uint64_t al_writes_ = 0;
    bool md_flushes_ = true;
};

}  // namespace duplex::engine
