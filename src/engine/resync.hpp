// A resync of one volume (states 12). The target drives it: every 100 ms it asks for as many dirty blocks as
// the controller allows, locking their extents against its own application; the source reads under the same
// lock and answers. The source ends only when the target has said that it is done (12.8).
#pragma once

#include <cstdint>
#include <optional>

#include "engine/requests.hpp"
#include "engine/resync_control.hpp"
#include "engine/status.hpp"
#include "engine/sync_marks.hpp"
#include "engine/task.hpp"

namespace duplex::engine {

class Core;
class Device;

class Resync {
  public:
    Resync(Core& core, Device& device) : core_(core), device_(device), timer_(*this) {}
    ~Resync();

    // Start procedure of 12.2; target says on which side we are. Runs before-resync-* and changes the state.
    Task<> start(bool target);
    // The state has become, or ceased to be, SyncTarget: paused, resumed, interrupted.
    void state_changed(wire::ConnState old_conn, wire::ConnState new_conn);
    // The connection or the disk is gone.
    void reset();

    // ---- target
    PeerRequest* find_outstanding(Sector sector, uint32_t size_bytes);
    void block_written(PeerRequest& request, bool in_sync);  // our disk has it, or failed
    void block_in_sync(PeerRequest& request);                // P_RS_IS_IN_SYNC
    void block_refused(PeerRequest& request);                // P_NEG_RS_DREPLY
    void block_cancelled(PeerRequest& request);              // P_RS_CANCEL
    void answered(const PeerRequest& request);
    void own_block_read(PeerRequest& request, int error);  // for its checksum (12.7)

    // ---- both
    void count_equal(const PeerRequest& request);
    void count_failed(uint64_t bits) { failed_bits_ += bits; }
    // The own disk has failed an application's request. As source the disk stays UpToDate meanwhile, and the
    // target may have the block already: no resync clears the bit.
    void own_block_failed() {
        if (!running_ || target_) return;
        own_blocks_failed_ = true;
        check_complete();
    }
    uint64_t failed_bits() const { return failed_bits_; }
    // Done, but for the failed blocks.
    bool complete() const;
    // Ends it if it is complete: the target by itself, the source once the target has reported
    // (peer_finished).
    void check_complete();
    void peer_finished() {
        peer_finished_ = true;
        check_complete();
    }

    bool is_target() const { return target_; }
    uint64_t speed_kib() const;  // of the last seconds
    // As source: the target has finished, and this node is about to.
    bool target_finished() const { return running_ && !target_ && peer_finished_ && failed_bits_ == 0; }
    // All that is missing may be on the target's disk already, its acknowledgements under way.
    bool target_may_have_finished() const;
    std::optional<SyncProgress> progress() const;

  private:
    class Tick final : public Timer {
      public:
        explicit Tick(Resync& o) : owner(o) {}
        void fired() override { owner.tick(); }
        Resync& owner;
    };

    void begin(bool target);
    void tick();
    bool make_request(int64_t& made, int64_t allowed);
    bool send_request(PeerRequest& request);
    uint32_t request_bytes(BitNr first, int64_t allowed, int64_t& blocks) const;
    void done_with(PeerRequest& request);
    Task<> write_bitmap();
    Task<> finish();
    wire::State finished_state() const;

    Core& core_;
    Device& device_;
    Tick timer_;
    ResyncControl control_;
    SyncMarks marks_;
    List<PeerRequest, InQueue> outstanding_;
    bool target_ = false;
    bool running_ = false;
    bool finishing_ = false;
    bool peer_finished_ = false;
    bool checksums_ = false;  // target: asks with the checksum of its own block
    uint64_t equal_bits_ = 0;
    uint64_t position_ = 0;  // the next bit to look at
    uint64_t failed_bits_ = 0;
    bool own_blocks_failed_ = false;
    uint64_t bitmap_written_ms_ = 0;
    uint64_t conn_changes_ = 0;
};

}  // namespace duplex::engine
