// What the two replicas of a volume may hold, judged from what the applications were told.
//
// Every write carries a tag of its own in every sector, so contents can be traced. Per sector the oracle
// keeps the set of writes whose data a reader may see: a write enters when it is issued; when one completes,
// all that had ended before it was issued leave. A read narrows the set to what it saw when no write is under
// way there; but one that failed, and that a disk has nevertheless, may be seen until the disks are equal
// again: which of them is read may change. A write whose node is dead, or has lost the other, is under way
// until the other has lost the connection, too, and ended what came over it: a read that saw the old data
// there does not mean that it will not come.
//
// A branch is one such history of the device. Both nodes share one while they are in contact. A node that is
// promoted alone, or a second Primary that loses the other, goes on with a copy: what its disk holds then is
// its history. An excuse says that a node's disk may legitimately lack what the branch promises: the write
// completed while the peer was out of reach, or was under way to it under protocol A or B, or the disk lost
// it with its power before it was flushed. When two nodes are in sync again both must hold what the branch
// promises, and all excuses end.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/request.hpp"
#include "sim/disk.hpp"
#include "sim/host.hpp"
#include "sim/verdict.hpp"

namespace duplex::sim {

using WriteId = uint32_t;  // 0: the blank device

struct Write {
    uint64_t tag = 0;  // first word of its sectors; 0: zeroes
    unsigned node = 0;
    Sector sector;
    uint32_t size_sectors = 0;
    uint64_t issued = 0;
    uint64_t ended = 0;  // completed, failed, or its node died; 0: under way
    bool failed = false;
    bool in_contact = false;
    uint64_t session = 0;
};

struct PendingRead {
    Sector sector;
    uint32_t size_sectors = 0;
    uint64_t started = 0;
    std::vector<std::vector<WriteId>> admissible;  // per sector
};

class Oracle {
  public:
    // sequence: the order of all that happens, for several volumes the same.
    Oracle(Verdict& verdict, Journal& journal, std::array<const Disk*, 2> disks, unsigned volume = 0,
           std::shared_ptr<uint64_t> sequence = {});

    // ---- data: the content of a sector of a write
    static void fill(uint64_t tag, uint64_t sector, std::span<uint8_t> sector_bytes);
    // The tag of a sector; fails if the rest is not what belongs to that tag at that place.
    uint64_t check_sector(unsigned node, uint64_t sector, std::span<const uint8_t> bytes);

    // ---- applications
    // in_contact: the writer is Connected and both disks are UpToDate; session counts its connections.
    WriteId issue(unsigned node, engine::Op op, Sector sector, uint32_t size_sectors, bool in_contact,
                  uint64_t session);
    const Write& write(WriteId id) const { return writes_[id]; }
    struct Completion {
        unsigned node;
        bool own_disk_good;     // UpToDate
        bool own_disk_usable;   // and has no errors
        bool peer_disk_usable;  // as the peer itself sees it
        bool connected;
        bool in_contact;
        uint64_t session;
        bool asynchronous;  // protocol A or B: it may still be on its way to the peer's disk
        bool fua;
    };
    void completed(WriteId id, const Completion& completion);
    void failed(WriteId id) {
        end(id);
        writes_[id].failed = true;
    }
    // A point in the order of all that happens, for flushed().
    uint64_t now() { return ++*sequence_; }
    // A flush that was issued then has succeeded: what had completed before has to outlive the node.
    void flushed(unsigned node, uint64_t issued);
    // One has failed: what was lost before is no secret any more.
    void flush_failed(unsigned node) { flush_must_fail_[node] = false; }
    void node_died(unsigned node);
    PendingRead* start_read(unsigned node, Sector sector, uint32_t size_sectors);
    // settles: what it saw is the data from now on; not so on a disk that waits for a resync and is alone.
    void finish_read(unsigned node, PendingRead* read, std::span<const uint8_t> data, bool ok, bool settles);
    void forget_reads(unsigned node);
    // Nothing that the other has sent can come to this node's disk any more.
    void drained(unsigned node) { adrift_[node].clear(); }

    // ---- replicas
    // Data that are on the disk before the device is made; before found().
    void prefill(unsigned node, Disk& disk, Sector sector, uint32_t size_sectors);
    // This node's disk is declared to be the data.
    void found(unsigned node);
    std::vector<uint64_t> snapshot(unsigned node) const;
    // peer_relies: the other is Primary without good data of its own.
    void power_lost(unsigned node, const std::vector<uint64_t>& before, bool peer_relies);
    // What the power failure of a node has left there of the other's writes, of those issued in contact after
    // `since`: when the first of the lost ones completed, and the last of those that are there was issued.
    struct Remains {
        uint64_t first_lost = UINT64_MAX;
        uint64_t last_kept = 0;
        std::string lost, kept;
    };
    Remains remains(unsigned node, const std::vector<uint64_t>& before, uint64_t since) const;
    void promoted_alone(unsigned node);
    // This node's disk is all the data there are.
    void settle(unsigned node) { adopt_content(node, "the only disk"); }
    // Both are Primary and have lost each other.
    void parted();
    // What this node's applications see is the other's data from now on, and the writes they have under way.
    void follow_other(unsigned node);
    // A disk that nobody uses yet.
    void attached(unsigned node);
    void resync_started(unsigned source, unsigned target);
    // The target says that it is UpToDate, whatever becomes of the source.
    void resync_finished(unsigned source, unsigned target);
    void in_sync(unsigned master, std::array<uint64_t, 2> sessions, bool asynchronous);
    void final_check();
    // The administrator gives up what this node has.
    void discard_ordered(unsigned node) { discard_ordered_[node] = true; }
    void primary_alone(unsigned node) { primary_alone_[node] = true; }
    bool diverged() const { return primary_alone_[0] && primary_alone_[1]; }
    bool has_exclusive_data(unsigned node) const { return !exclusive_writes_[node].empty(); }
    bool founded() const { return founded_; }

    // Blocks (of 4 KiB) with a sector that differs between the disks, among all that were ever written.
    std::vector<BitNr> differing_blocks() const;
    bool under_way(uint64_t first_sector, uint64_t size_sectors) const;
    struct Amount {
        uint64_t writes = 0;
        uint64_t sectors = 0;
    };
    // Of this node's applications, ever.
    const Amount& issued(unsigned node) const { return issued_[node]; }
    const Amount& ended(unsigned node) const { return ended_[node]; }
    uint64_t writes_completed() const { return writes_completed_; }
    uint64_t reads_checked() const { return reads_checked_; }

  private:
    using Admissible = std::vector<WriteId>;
    struct Branch {
        std::unordered_map<uint64_t, Admissible> sectors;
    };
    struct Excuse {
        bool in_transit = false;  // protocol A, B: may arrive as long as this session lasts
        uint64_t session = 0;
    };

    // Where it comes from is in it: what was meant for the other volume is garbage here.
    uint64_t new_tag(WriteId id, unsigned node) const;
    WriteId write_of(uint64_t tag) const;
    static const Admissible& admissible(const Branch& branch, uint64_t sector);
    bool admits(const Admissible& set, uint64_t tag) const;
    bool has_under_way(const Admissible& set) const;
    bool ended_before(const Admissible& set, uint64_t sequence) const;
    bool has_under_way(const Admissible& set, unsigned node) const;
    bool may_arrive(const Admissible& set) const;
    void narrow(Admissible& set, uint64_t tag) const;
    void narrow_by_read(Admissible& set, uint64_t sector, uint64_t tag) const;
    void admit_to_reads(unsigned node, uint64_t sector, WriteId id);  // those that have not ended
    void end(WriteId id);
    uint64_t tag_on(unsigned node, uint64_t sector) const { return disks_[node]->word_at(Sector(sector)); }
    std::string name(uint64_t tag) const;
    std::string describe(WriteId id) const;
    std::string name(const Admissible& set) const;
    void adopt_content(unsigned node, const char* when);

    Verdict& verdict_;
    Journal& journal_;
    std::array<const Disk*, 2> disks_;
    const unsigned volume_;
    std::vector<Write> writes_;
    std::shared_ptr<uint64_t> sequence_;
    std::array<std::shared_ptr<Branch>, 2> branch_;       // what the applications of a node see
    std::array<std::shared_ptr<Branch>, 2> disk_branch_;  // what its disk belongs to
    std::array<std::unordered_map<uint64_t, Excuse>, 2> excuses_;
    std::unordered_map<uint64_t, bool> touched_;  // sectors
    std::vector<uint64_t> touched_order_;
    std::array<std::vector<std::unique_ptr<PendingRead>>, 2> reads_;
    std::array<bool, 2> discard_ordered_{};
    std::array<bool, 2> primary_alone_{};
    struct Exclusive {
        WriteId id;
        bool flushed;
    };
    bool holds_by_now(unsigned node, const Exclusive& exclusive) const;
    void carry_over_under_way(unsigned node);                 // into another history
    std::array<std::vector<Exclusive>, 2> exclusive_writes_;  // completed, and the peer lacks them
    // Completed, and on no good disk any more, like what a disk loses with its power: the next flush has to
    // say so.
    std::array<bool, 2> flush_must_fail_{};
    std::array<uint64_t, 2> last_flush_{};
    std::array<std::vector<WriteId>, 2> under_way_;
    std::array<Amount, 2> issued_{};
    std::array<Amount, 2> ended_{};
    std::array<std::vector<WriteId>, 2> adrift_;  // ended on the other node, and may yet come to this one
    bool founded_ = false;
    uint64_t writes_completed_ = 0;
    uint64_t reads_checked_ = 0;
};

}  // namespace duplex::sim
