// The application's requests: admission, write path, reads, completion (states 9 and 11). A write passes, in
// this order:
//
//   admitted        no suspension, no bitmap exchange, disk settled              states 9.1
//   extents active  activity-log transaction on stable storage                   9.2 item 1, meta data R2
//   no conflict     no overlapping write of ours or the peer's in flight         9.2 item 2
//   started         epoch number, transfer log, packet queued, disk submitted    9.2 items 5-8
//   completed       local disk and peer have answered as the protocol demands    9.6
//   destroyed       barrier ack; out-of-sync bits set before the extents go      9.7
#pragma once

#include <cstdint>
#include <optional>

#include "engine/requests.hpp"
#include "engine/volume.hpp"

namespace duplex::engine {

class Core;
class Device;

class AppIo {
  public:
    AppIo(Core& core, Device& device) : core_(core), device_(device) {}
    ~AppIo();

    // ---- from the exports
    Request* take(Op op, Sector sector, uint32_t size_bytes, User& user);
    void submit(Request& request);
    void release(Request& request);

    // ---- the end of a turn: whatever a wait may have ended for
    void retry_held();       // tells what is complete, starts what may start
    void retry_conflicts();  // a write has left the interval set
    void extents_active(AppRequest& request);

    // New requests wait while a procedure needs the volume quiet; nests.
    void suspend() { ++suspensions_; }
    void resume();
    // Nothing is started and not yet completed or failed locally; what waits for a barrier ack does not
    // count.
    uint32_t in_flight() const { return in_flight_; }
    bool quiet() const { return local_pending_ == 0; }
    // Started and not destroyed: neither covered by a barrier ack nor marked out of sync.
    uint32_t writes_undone() const { return writes_undone_; }
    // Since when the local disk has had its oldest request.
    std::optional<uint64_t> oldest_local_ms() const;
    // The disk is given up while it still has requests: for the applications they end now, at the peer or
    // with an error (states 4.3).
    void abandon_local();
    uint32_t local_pending() const { return local_pending_; }
    uint32_t peer_pending() const { return peer_pending_; }

    // ---- events of a request (states 9.6)
    void local_completed(AppRequest& request, int error);
    void packet_done(AppRequest& request, bool sent);
    void acked(AppRequest& request, bool marked_in_sync);
    void neg_acked(AppRequest& request);
    void superseded(AppRequest& request);
    void to_be_retried(AppRequest& request);
    void barrier_acked(AppRequest& request);
    void stable_at_peer(AppRequest& flush);
    void read_answered(AppRequest& request);
    void read_refused(AppRequest& request);
    void connection_lost(AppRequest& request);
    // A write that outlives its connection, and goes to the next one (states 9.8).
    void freeze(AppRequest& request);
    void unfreeze(AppRequest& request);
    void send_again(AppRequest& request);
    // A peer write that overlapped postponed writes is on disk: they start anew (states 10.3).
    void restart_postponed(const Interval& over);

    // Completions of writes wait while a new current UUID is on its way to the disk (I28), and while I/O is
    // frozen for fencing (I49).
    void hold_completions() { ++completion_holds_; }
    void release_completions();

    // Finds the request behind a peer's block id; nullptr if it is none of ours, or not this one.
    AppRequest* find(wire::BlockId block_id, Sector sector);
    static wire::BlockId block_id_of(const AppRequest& request, size_t index);

  private:
    int refuse(const AppRequest& request) const;  // 0, or the errno value it is refused with
    bool may_start() const;
    void admit(AppRequest& request);
    void begin(AppRequest& request);
    void begin_write(AppRequest& request);
    void start_write(AppRequest& request);
    void start_read(AppRequest& request);
    void start_flush(AppRequest& request);
    void submit_local(AppRequest& request);
    void send_write(AppRequest& request);
    void send_read(AppRequest& request);
    void mark_out_of_sync(AppRequest& request);
    void start_over(AppRequest& request);
    void answered_by_peer(AppRequest& request);
    bool read_locally(const AppRequest& request) const;
    bool better_at_peer(const AppRequest& request);
    bool completions_held() const;
    void check(AppRequest& request);  // complete and destroy it if it is time
    void complete(AppRequest& request, int error);
    void deliver(AppRequest& request);
    void destroy(AppRequest& request);
    void give_buffer(AppRequest& request);
    void free_if_unused(AppRequest& request);
    void abandon(AppRequest& request);
    void let_go_by_disk(AppRequest& request);

    Core& core_;
    Device& device_;
    List<AppRequest, InQueue> held_;         // not admitted yet
    List<AppRequest, InQueue> conflicting_;  // wait for an overlapping write
    List<AppRequest, InQueue> deliverable_;  // complete; told at the end of the turn
    List<AppRequest, InQueue> held_back_;    // complete, but not to be told yet (I28, I49)
    uint32_t suspensions_ = 0;
    uint32_t in_flight_ = 0;
    uint32_t local_pending_ = 0;
    uint32_t writes_undone_ = 0;
    uint32_t peer_pending_ = 0;
    uint32_t completion_holds_ = 0;
    bool peers_turn_ = false;
    bool lost_writes_ = false;  // completed ones; the next flush reports them
};

}  // namespace duplex::engine
