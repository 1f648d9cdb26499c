// The invariants of states 22 that can be seen from outside the engine or in its state words, looked at after
// every turn of either node; and what the nodes' states mean for the oracle. Of one volume.
#pragma once

#include <array>
#include <optional>

#include "sim/node.hpp"
#include "sim/oracle.hpp"
#include "sim/scheduler.hpp"
#include "sim/verdict.hpp"
#include "sim/wire_watch.hpp"

namespace duplex::sim {

class Checker {
  public:
    Checker(Scheduler& scheduler, Verdict& verdict, const Scenario& scenario, Oracle& oracle,
            unsigned volume = 0)
        : scheduler_(scheduler), verdict_(verdict), scenario_(scenario), oracle_(oracle), volume_(volume) {}

    void watch(std::array<Node*, 2> nodes, WireWatch* wire = nullptr) {
        nodes_ = nodes;
        wire_ = wire;
    }

    void after_run(Node& node);
    void check_size(const Node& node);
    void before_stop(Node& node);
    void after_stop(Node& node, bool power);
    void write_issued(WriteId id) const {
        if (wire_) wire_->issued(volume_, id, oracle_.write(id));
    }
    void write_failed(WriteId id) const {
        if (wire_) wire_->failed(volume_, id);
    }
    // Of the last power failure of this node (I25).
    const Oracle::Remains& remains(unsigned side) const { return seen_[side].remains; }
    // This node's handshake has decided about a split brain as the configuration says.
    void split_brain_solved(unsigned side, unsigned primaries, bool self_wins);
    // A write has just been reported to its application.
    void write_completed(unsigned side, WriteId id) const;

    Oracle::Completion completion(unsigned side) const;

    // Connections that this node has had.
    uint64_t session(unsigned side) const { return seen_[side].session; }
    bool connected(unsigned side) const;
    // Connected, and both disks UpToDate, as this node sees it.
    bool in_contact(unsigned side) const;
    bool has_good_data(unsigned side) const;
    // Nothing but its own disk's failure can make a request of this node fail.
    bool serves_requests(unsigned side) const;
    // Changes with every moment in which that is not so. A request that was held while the disk was given up
    // starts on the peer alone, and ends with it, though the disk may be back by then.
    uint64_t interruptions(unsigned side) const { return seen_[side].interruptions; }
    // A flush of this node may say that writes are lost, once: while its own disk was not UpToDate they have
    // completed on the peer's alone, or on one that was given up before the peer was known to have them.
    bool may_have_lost_writes(unsigned side) const;
    void flush_answered(unsigned side) {
        seen_[side].relied_on_peer = seen_[side].lost_what_it_relied_on = false;
    }
    bool all_in_sync() const;
    // Both disks are attached, and neither holds data that may be used.
    bool no_good_data() const;
    // Both nodes have a new generation since they were last in sync.
    bool generations_parted() const;
    // No silent divergence (I23), where both nodes have noticed that they are on their own.
    void check_divergence();
    // The end: quiet, connected, UpToDate on both.
    void final_check();

    uint64_t resyncs() const { return resyncs_; }
    // How often a node that had pulled ahead has begun to bring its peer up again.
    uint64_t returns() const { return returns_; }
    uint64_t divergence_checks() const { return divergence_checks_; }

  private:
    struct Seen {
        engine::State state;
        bool open_to_users = false;
        bool relied_on_peer = false;          // since the last flush
        bool lost_what_it_relied_on = false;  // and was disconnected then, or later
        uint32_t stored_flags = 0;            // of the superblock on stable storage
        uint64_t size_sectors = 0;
        bool gives_in = false;  // in this connection, as the after-sb policies say
        uint64_t interruptions = 0;
        uint64_t session = 0;
        uint64_t in_contact_since = 0;  // in the order of the oracle
        Oracle::Remains remains;
        // What had ended when the node came back from Ahead, until it pulls ahead again.
        std::optional<Oracle::Amount> ended_before_return;
    };

    void check_state(const Node& node) const;
    void check_stored(const Node& node, const meta::Superblock& stored) const;
    void check_generations(const Node& node) const;
    void follow(Node& node);
    void follow_congestion(unsigned side, engine::State was, engine::State now);
    bool on_its_own(const Node& node) const;
    bool covered(BitNr block) const;
    bool generations_tell() const;
    int compare_generations() const;
    bool covered_on(const Node& node, BitNr block) const;

    Scheduler& scheduler_;
    Verdict& verdict_;
    const Scenario& scenario_;
    Oracle& oracle_;
    const unsigned volume_;
    std::array<Node*, 2> nodes_{};
    WireWatch* wire_ = nullptr;
    std::array<Seen, 2> seen_{};
    std::array<std::vector<uint64_t>, 2> snapshots_;
    bool in_sync_ = false;
    bool resynced_ = false;  // in this connection, to the end
    uint64_t next_divergence_check_us_ = 0;
    uint64_t resyncs_ = 0;
    uint64_t returns_ = 0;
    uint64_t divergence_checks_ = 0;
};

}  // namespace duplex::sim
