// Online verify of one volume (states 13, wire protocol 13). The source asks for the peer's digests block by
// block, every extent locked against its own application, compares, and tells the result; what differs is
// marked on both nodes and nothing is repaired. The target reads under the same lock, which it keeps until
// the result is there.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "engine/requests.hpp"
#include "engine/resource.hpp"
#include "engine/resync_control.hpp"
#include "engine/sync_marks.hpp"
#include "engine/task.hpp"

namespace duplex::engine {

class Core;
class Device;

class Verify {
  public:
    static constexpr uint32_t protocol_without_stop_sector = 100;

    Verify(Core& core, Device& device) : core_(core), device_(device), timer_(*this) {}
    ~Verify();

    Task<Reply> command(VerifyCommand wanted);
    // The state has become, or ceased to be, VerifyS or VerifyT.
    void state_changed(wire::ConnState old_conn, wire::ConnState new_conn);

    // ---- source
    // P_OV_REPLY; false: no room for our own block now, ask again.
    bool reply_arrived(Sector sector, uint32_t size_bytes, std::span<const uint8_t> digest);
    void own_block_read(PeerRequest& block, int error);
    // P_NEG_RS_DREPLY; false: nothing of the kind is outstanding.
    bool block_refused(Sector sector, uint32_t size_bytes);

    // ---- target
    void request_arrived(Sector sector);  // P_OV_REQUEST
    void peer_block_read(PeerRequest& block, int error);
    void result_arrived(Sector sector, uint32_t size_bytes, bool in_sync);  // P_OV_RESULT
    void peer_finished();                                                   // P_STATE Connected

    uint64_t speed_kib() const;  // of the last seconds
    std::optional<SyncProgress> progress() const;

  private:
    class Tick final : public Timer {
      public:
        explicit Tick(Verify& o) : owner(o) {}
        void fired() override { owner.tick(); }
        Verify& owner;
    };

    void begin(bool source);
    void ended();
    void tick();
    bool make_request();
    bool all_requested() const;
    PeerRequest* find_outstanding(Sector sector, uint32_t size_bytes);
    void send_result(Sector sector, uint32_t size_bytes, bool in_sync);
    void done_with(PeerRequest& block);
    void count(Sector sector, uint32_t size_bytes, bool in_sync);
    void report_out_of_sync();
    void check_complete();
    Task<> finish();

    Core& core_;
    Device& device_;
    Tick timer_;
    ResyncControl control_;
    SyncMarks marks_;
    List<PeerRequest, InQueue> outstanding_;  // source: asked for, not compared yet
    bool running_ = false;
    bool source_ = false;
    bool started_ = false;  // source: a request was sent; target: one has arrived
    bool finishing_ = false;
    uint64_t position_ = 0;  // source: the next block to ask for
    uint64_t left_bits_ = 0;
    uint64_t found_bits_ = 0;
    // Where the next run begins if it is not told, and where this one may end (a sector).
    uint64_t next_start_bit_ = 0;
    uint64_t stop_sector_ = 0;
    // The last run of differing blocks, not reported yet.
    Sector differing_;
    uint64_t differing_sectors_ = 0;
};

}  // namespace duplex::engine
