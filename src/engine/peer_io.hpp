// What the local disk does for the peer: its writes, its reads, and both ends of a resync's block traffic
// (states 9.5, 11.2, 12.3). A write passes: sequence wait, conflicts, resync writes in progress, activity log
// for a diskless Primary; while it waits for one of them the data socket stands still.
#pragma once

#include <cstdint>

#include "engine/requests.hpp"
#include "wire/stream.hpp"

namespace duplex::engine {

class Core;
class Device;

// Why a write of the peer's cannot start yet, if it cannot.
enum class Started : uint8_t {
    yes,
    waits_for_sequence,  // an ack sent before it is still under way on the meta socket (wire protocol 8.2)
    waits_for_conflict,  // an overlapping write is in flight (8.3)
    waits_for_disk,      // an overlapping resync write, earlier writes before a discard, the activity log
};

class PeerIo {
  public:
    PeerIo(Core& core, Device& device) : core_(core), device_(device), delay_timer_(*this) {}
    ~PeerIo();

    // A request object with a buffer of buffer_bytes (0: none); nullptr: none free, the data socket has to
    // wait.
    PeerRequest* take(PeerKind kind, Sector sector, uint32_t size_bytes, uint32_t buffer_bytes);
    bool take_buffer(PeerRequest& request);
    void give(PeerRequest& request);
    void give_buffer(PeerRequest& request);

    // Called again and again until it says yes; by then the write is at the disk, or answered.
    Started start_write(PeerRequest& write);

    void serve_read(PeerRequest& read);
    // Waits for the resync extent, then reads.
    void serve_resync_read(PeerRequest& read);
    // The target's block has arrived in request.buffer, or it is to be zeroed (deallocated at the source). It
    // is written, unless nobody waits for it any more.
    void resync_block_arrived(PeerRequest& request, bool deallocated);
    // The target has acknowledged (or refused) a block that we sent as source: the extent is free again.
    // false: there is no such block.
    bool resync_block_acked(Sector sector, uint32_t size_bytes, bool written);

    // ---- online verify
    void read_block(PeerRequest& request) { submit(request, IoKind::read); }
    // Its digest is on its way; the extent stays locked until the peer has compared it.
    void await_answer(PeerRequest& read);
    void verify_read_answered(Sector sector, uint32_t size_bytes);
    void end_resync_read(PeerRequest& read);

    // The end of a turn: waiting resync reads try for their extents again.
    void retry_resync_reads();

    void extents_active(PeerRequest& write);
    void local_completed(PeerRequest& request, int error);
    void packet_done(PeerRequest& request);
    // The disk is given up while it still has requests: they are answered as if it had failed them.
    void abandon_local();

    uint32_t active_writes() const { return active_writes_; }
    bool quiet() const { return at_disk_ == 0; }
    bool idle() { return in_service_.empty(); }
    // As source: of blocks that were sent and are not acknowledged.
    uint64_t unacknowledged_resync_bits();
    uint32_t own_requests() const { return own_requests_; }
    uint32_t unacked() const { return static_cast<uint32_t>(in_service_.size()) - own_requests_; }
    // The locks on resync extents are void as a whole.
    void forget_resync_extents();
    // The connection is gone: what waits is dropped, what is at the disk will be when it comes back.
    void connection_lost();

  private:
    class DelayTimer final : public Timer {
      public:
        explicit DelayTimer(PeerIo& o) : owner(o) {}
        void fired() override;
        PeerIo& owner;
    };

    Started resolve_conflicts(PeerRequest& write, bool& dropped);
    bool resync_write_overlaps(const PeerRequest& write);
    void submit(PeerRequest& request, IoKind kind);
    void submit_write(PeerRequest& write);
    void finish_local(PeerRequest& request, int error);
    void write_completed(PeerRequest& write, int error);
    void end_write(PeerRequest& write);
    void read_completed(PeerRequest& read, int error);
    void resync_read_completed(PeerRequest& read, int error);
    void resync_write_completed(PeerRequest& write, int error);
    bool send_block(PeerRequest& request, wire::Command command);
    bool send_ack(wire::Command command, const PeerRequest& request);
    void put_off(PeerRequest& read);
    bool lock_and_read(PeerRequest& read);

    Core& core_;
    Device& device_;
    List<PeerRequest, InService> in_service_;
    List<PeerRequest, InQueue> waiting_reads_;  // resync reads that wait for their extent, or were put off
    DelayTimer delay_timer_;
    uint32_t active_writes_ = 0;
    uint32_t at_disk_ = 0;
    uint32_t own_requests_ = 0;  // of in_service_
};

}  // namespace duplex::engine
