// A volume: its state, its disk, its data generation, and the parts that do the work on them. One file per
// concern:
//
//   device_state.cpp    applying state changes: rules, immediate effects, deferred actions      states 2
//   attach.cpp          attach, detach, a disk that fails                                        states 4
//   resize.cpp          the size of the device                                                   states 18
//   negotiation.cpp     what both nodes tell each other of a volume and conclude from it states 3.3, 5.4
//   roles.cpp           promotion and demotion                                                   states 8
//   bitmap_exchange.cpp both bitmaps to their union before a resync                              wire
//   protocol 11 app_io, congestion, peer_io, resync, verify: classes of their own
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "engine/app_io.hpp"
#include "engine/bitmap.hpp"
#include "engine/congestion.hpp"
#include "engine/disk_timeout.hpp"
#include "engine/generations.hpp"
#include "engine/interval_set.hpp"
#include "engine/local_disk.hpp"
#include "engine/peer_io.hpp"
#include "engine/resource.hpp"
#include "engine/resync.hpp"
#include "engine/resync_throttle.hpp"
#include "engine/states.hpp"
#include "engine/task.hpp"
#include "engine/verify.hpp"
#include "engine/volume.hpp"
#include "wire/bitmap_codec.hpp"

namespace duplex::engine {

class Core;

class Device final : public Volume {
  public:
    Device(Core& core, unsigned number, unsigned minor);
    ~Device();

    // ---- Volume: for the exports
    // ----------------------------------------------------------------------------------
    unsigned number() const override { return number_; }
    unsigned minor() const override { return minor_; }
    uint64_t size_sectors() const override { return size_sectors_; }
    bool is_primary() const override { return open_to_users_; }
    bool can_discard() const override;
    int open(bool for_writing, std::string_view who) override;
    void close(std::string_view who) override;
    void add_watcher(VolumeWatcher& watcher) override;
    void remove_watcher(VolumeWatcher& watcher) override;
    Request* take_request(Op op, Sector sector, uint32_t size_bytes, User& user) override {
        return app.take(op, sector, size_bytes, user);
    }
    void submit(Request& request) override { app.submit(request); }
    void release(Request& request) override { app.release(request); }

    uint16_t wire_number() const { return static_cast<uint16_t>(number_); }

    // ---- state
    // ----------------------------------------------------------------------------------------------------
    State state() const;
    StateContext context() const;
    // States 2.2. A wish can be refused, a fact only by the hard rules.
    StateChangeResult change_state(const State& wanted, ChangeKind kind, bool verbose = true);
    // Half of a change of the whole connection, already checked.
    void apply_state(const ChangeDecision& decision, bool logged);
    // A volume request of an administrator (states 2.6): waits while things are in transition, asks the peer
    // where it has to agree, and returns when the deferred actions have run.
    Task<StateChangeResult> request_state(StateChangeRequest request, bool verbose);
    StateChangeResult peer_requests_state(StateChangeRequest mirrored);
    void peer_answered(int32_t code);
    // The disk is to be given up, whatever on-io-error says (meta data 12.6).
    void meta_io_failed(int error);
    void data_io_failed(int error, bool read);

    // ---- data generation
    // --------------------------------------------------------------------------------------------
    UuidSet uuids() const;
    void set_uuids(const UuidSet& set);
    uint64_t exposed_data_uuid = 0;
    // A clean bit means that the block is good on our disk. Not so while the peer has bits that were not
    // merged.
    bool bitmap_complete = false;
    std::optional<wire::Uuids> peer_uuids;
    // What a peer that attaches is to compare with, if the comparison here has corrected the set (rules 34,
    // 36): it has to come to the same result.
    std::optional<UuidSet> compared_uuids;
    uint64_t communicated_bits = 0;
    // With a bitmap UUID: no peer can have our generation. Kept over a restart by CONNECTED_IND.
    bool own_generation = false;
    void start_generation(UuidSet& set, NewGeneration kind);
    Task<> new_current_uuid_now();  // durable when it returns; tells the peer if there is one

    // ---- disk
    // -------------------------------------------------------------------------------------------------------
    Task<Reply> attach(AttachCommand command);
    Task<Reply> detach(bool force);
    // At once, whatever it is doing (detach --force, disk-timeout): Failed, and nobody waits for it any more.
    // It becomes Diskless when it has let go of everything. hangs: its meta data are left as they are, too.
    void give_disk_up(bool hangs);
    std::unique_ptr<LocalDisk> disk;
    Bitmap bitmap;
    bool has_disk(DiskState at_least) const { return disk && state_.disk >= at_least; }
    // A procedure or an operation uses the disk: Failed does not become Diskless meanwhile.
    void use_disk() { ++disk->users; }
    void unuse_disk();
    Task<int> write_superblock();
    Task<int> write_bitmap();
    // MDF_FULL_SYNC stands on disk meanwhile (meta data R7).
    Task<int> set_all_and_write();
    Task<int> clear_all_and_write();
    // Takes the size that follows from both disks' and the configured one (states 18.1); flags of P_SIZES.
    Task<int> determine_size(uint64_t user_size_sectors, uint16_t flags,
                             std::optional<meta::AlStriping> striping = {});
    Task<Reply> resize(ResizeCommand command);
    uint64_t peer_disk_sectors = 0;  // d_size of the last P_SIZES
    void set_out_of_sync(Sector sector, uint64_t size_bytes);
    void set_in_sync(Sector sector, uint64_t size_bytes);
    // As the peer has it, which may not know yet that this node went Ahead. After a resync that broke off the
    // bit stays: a write may have set it again.
    void peer_marked_in_sync(Sector sector, uint32_t size_bytes) {
        if (state_.conn == ConnState::ahead)
            congestion.take_back(sector, size_bytes);
        else if (state_.conn >= ConnState::sync_source && state_.conn <= ConnState::paused_sync_t)
            set_in_sync(sector, size_bytes);
    }

    // ---- negotiation
    // ------------------------------------------------------------------------------------------------
    void send_parameters();
    bool send_sync_param();
    bool send_sizes(bool ask_for_reply, uint16_t flags = 0);
    bool send_uuids(uint64_t extra_flags = 0);
    bool send_state(const State& state);
    void receive_sync_param(const wire::SyncParam& packet);
    Task<> receive_sizes(wire::Sizes packet);
    Task<> receive_uuids(wire::Uuids packet);
    Task<> receive_state(wire::StatePacket packet);
    // The peer's first P_STATE waits for it to take our data; anything but parameters shows that it has.
    bool waits_for_acceptance() const { return unanswered_state_.has_value(); }
    Task<> peer_accepts();
    void forget_unanswered() { unanswered_state_.reset(); }
    Task<> receive_sync_uuid(uint64_t sync_uuid);
    // A new generation is due before frozen I/O goes on (states 15.4).
    bool new_uuid_pending = false;
    bool discard_mine = false;
    bool consider_resync = false;

    // ---- bitmap exchange
    // ----------------------------------------------------------------------------------------------
    Task<> send_bitmap();
    // One packet of the peer's; an error drops the connection.
    Status receive_bitmap(const wire::PacketInfo& info, std::span<const uint8_t> payload);
    bool receiving_bitmap() const { return bitmap_receiver_.has_value(); }

    // ---- roles
    // --------------------------------------------------------------------------------------------------------
    Task<Reply> set_role(Role role, bool force);

    Task<Reply> outdate();
    Task<Reply> invalidate(bool remote);
    Task<Reply> pause_sync(bool pause);
    void pause_after_others(bool pause);
    Task<Reply> suspend_io(bool suspend);
    Task<Reply> new_current_uuid_command(bool clear_bitmap);
    Task<Reply> change_disk_options(config::DiskOptions options);
    std::string openers() const;
    // Its exit code, with the kernel's lines in the log.
    Task<int> run_handler(std::string_view name);

    // ---- the parts
    // ------------------------------------------------------------------------------------------------------
    AppIo app;
    PeerIo peer;
    Resync resync;
    Verify verify;
    Congestion congestion;
    DiskTimeout disk_timeout;
    ResyncThrottle throttle;
    IntervalSet writes;  // in flight, ours and (with two Primaries) the peer's
    uint32_t next_seq() { return ++sequence_; }
    uint32_t peer_sequence = 0;  // highest seen, by the resolver (states 10.1)
    // UUIDs of a successful end (states 5.7); durable with the state change that follows.
    void resync_succeeded(bool target);
    void see_peer_sequence(uint32_t seq) {
        if (static_cast<int32_t>(seq - peer_sequence) > 0) peer_sequence = seq;
    }
    void reset_sequences() { sequence_ = peer_sequence = 0; }
    // Makes the peer's epoch stable; false: nothing to do. Connection::epoch_flush_done() follows.
    bool flush_epoch();
    // Resync and verify, at this speed, step back for the applications (states 12.5).
    bool resync_steps_back(uint64_t speed_kib) {
        return throttle.steps_back(disk->activation.busy(), speed_kib, disk->options.c_min_rate_kib);
    }
    // The volume exists no longer; procedures that stand in the middle of it find nothing to do.
    void retire() { state_ = State{}; }
    VolumeCounters counters;
    VolumeStatus status() const;

    template <typename... Args>
    void log(LogLevel level, fmt::format_string<Args...> format, Args&&... args) const {
        log_line(level, fmt::format(format, std::forward<Args>(args)...));
    }
    void log_line(LogLevel level, std::string_view text) const;

  private:
    struct EpochFlush final : DiskIo {
        Device* device = nullptr;
        void completed(int error) override { device->epoch_flushed(error); }
    };

    void epoch_flushed(int error);
    void immediate_effects(const State& old_state, const State& new_state);
    void update_flags(const State& new_state);
    void volume_parted();
    Task<> after_change(State old_state, State new_state, bool held_completions);
    Task<> thaw_if_data_are_back();
    Task<> start_of_source(State old_state, State new_state);
    Task<> generation_after_change(State old_state, State new_state);
    void report_to_peer(const State& old_state, const State& new_state);
    Task<> full_sync_requested(State new_state);
    Task<> disk_failed();
    Task<> disk_unused();
    void go_diskless();
    void transaction_ended(int error);
    Task<> try_request(StateChangeRequest request, bool verbose, StateChangeResult& result);
    Task<> ask_peer(StateChangeRequest request, StateChangeResult& result);
    Task<Reply> read_meta_data(const AttachCommand& command, Disk& data, Disk& meta);
    Reply check_meta_data(const AttachCommand& command, const meta::Superblock& superblock,
                          uint64_t usable) const;
    Reply check_current(const meta::Superblock& superblock, DiskState pdsk) const;
    Task<Reply> take_disk_over();
    Task<int> load_bitmap(uint64_t new_size_sectors);
    struct NewArea {
        meta::Layout layout;
        uint32_t al_slots;
    };
    Task<int> change_quietly(uint64_t new_size_sectors, NewArea area, bool new_is_clean);
    Task<int> change_size(uint64_t new_size_sectors, NewArea area, bool new_is_clean);
    Task<> move_area(NewArea area);
    Task<Reply> change_al_slots();
    Reply check_resize(const ResizeCommand& command, uint16_t flags) const;
    Reply check_striping(const meta::AlStriping& striping, bool forced) const;
    NewArea area_now(const std::optional<meta::AlStriping>& striping = {}) const;
    Status look_at_sizes();
    meta::Layout layout_now(const std::optional<meta::AlStriping>& striping = {}) const;
    uint64_t usable_now(const std::optional<meta::AlStriping>& striping = {}) const;
    meta::EffectiveSize size_with(uint64_t user_size_sectors, uint16_t flags,
                                  const std::optional<meta::AlStriping>& striping = {}) const;
    void close_disks(Disk& data, Disk& meta);
    void set_size(uint64_t size_sectors);
    Task<HandshakeDecision> handshake(Role peer_role, DiskState peer_disk);
    HandshakeInput handshake_input(Role peer_role, DiskState peer_disk) const;
    bool survive_failed_handshake(State& wanted, const State& packet, DiskState& real);
    void resync_new_area();
    bool confirms_end(const State& packet, DiskState& real);
    bool may_be_refused(const State& packet) const;
    Task<> take_state(State packet);
    bool descends_from_exposed(const wire::Uuids& peer) const;
    bool shows_other_data(const wire::Uuids& peer) const;
    bool shows_data_of_peer(const wire::Uuids& peer) const;
    bool lacks_exposed_data() const;
    Task<> role_changed(Role role, bool forced);
    void tell_watchers_primary();
    Task<> switch_al_updates(bool on);
    Task<bool> transfer_bitmap(ConnState entered);

    Core& core_;
    unsigned number_;
    unsigned minor_;
    State state_;
    uint64_t size_sectors_ = 0;
    bool open_to_users_ = false;  // Primary, and the superblock says so (meta data R1)
    bool attaching_ = false;
    bool state_request_pending_ = false;
    Event state_request_ended_;
    std::optional<int32_t> peer_answer_;
    uint32_t sequence_ = 0;
    uint64_t user_size_sectors_ = 0;
    bool resize_pending_ = false;  // grown here; the peer is to follow before the new area is resynced
    std::optional<State> unanswered_state_;  // of a peer that may yet refuse our data
    std::optional<wire::BitmapReceiver> bitmap_receiver_;
    bool bitmap_sent_ = false;
    bool bitmap_received_ = false;
    EpochFlush epoch_flush_;
    std::vector<std::string> openers_;
    std::vector<VolumeWatcher*> watchers_;
};

// Keeps a disk from becoming Diskless while a procedure uses it.
class DiskUse {
  public:
    explicit DiskUse(Device& device) : device_(&device) { device.use_disk(); }
    ~DiskUse() { device_->unuse_disk(); }
    DiskUse(const DiskUse&) = delete;
    DiskUse& operator=(const DiskUse&) = delete;

  private:
    Device* device_;
};

}  // namespace duplex::engine
