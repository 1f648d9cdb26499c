#include "engine/device.hpp"

#include <algorithm>
#include <cerrno>

#include "engine/core.hpp"

namespace duplex::engine {

Device::Device(Core& core, unsigned number, unsigned minor)
    : app(core, *this),
      peer(core, *this),
      resync(core, *this),
      verify(core, *this),
      congestion(core, *this),
      disk_timeout(core, *this),
      core_(core),
      number_(number),
      minor_(minor),
      state_request_ended_(core.executor) {
    state_.conn = core.connection.state();
}

Device::~Device() = default;

void Device::log_line(LogLevel level, std::string_view text) const {
    core_.ports.host.log(level, fmt::format("block drbd{}: {}", minor_, text));
}

// ---- Volume
// --------------------------------------------------------------------------------------------------------

bool Device::can_discard() const {
    return !core_.connection.established() || (core_.connection.features() & wire::feature::trim);
}

int Device::open(bool for_writing, std::string_view who) {
    if (!open_to_users_) return for_writing ? EROFS : EMEDIUMTYPE;
    openers_.emplace_back(who);
    return 0;
}

void Device::close(std::string_view who) {
    const auto at = std::find(openers_.begin(), openers_.end(), who);
    ensure(at != openers_.end());
    openers_.erase(at);
    core_.notify();
}

void Device::add_watcher(VolumeWatcher& watcher) {
    watchers_.push_back(&watcher);
}

void Device::remove_watcher(VolumeWatcher& watcher) {
    std::erase(watchers_, &watcher);
}

// ---- the peer's epochs
// ----------------------------------------------------------------------------------------------

bool Device::flush_epoch() {
    if (!has_disk(DiskState::inconsistent) || !disk->options.disk_flushes) return false;
    epoch_flush_.device = this;
    epoch_flush_.kind = IoKind::flush;
    use_disk();
    disk->data.submit(epoch_flush_);
    return true;
}

// A disk that cannot flush gets the next weaker method (states 9.9).
void Device::epoch_flushed(int error) {
    if (error) {
        log(LogLevel::warning, "local disk flush failed with status {}; using drain from now on", error);
        disk->options.disk_flushes = false;
    }
    unuse_disk();
    core_.connection.epoch_flush_done();
}

// ---- commands that are little more than a state request
// ----------------------------------------------------------------

namespace {

Reply reply_of(StateChangeResult result) {
    return {static_cast<int>(result), {}};
}

StateChangeRequest disk_request(DiskState disk) {
    return {wire::state_bits::disk_mask, static_cast<uint32_t>(disk) << wire::state_bits::disk_shift};
}

}  // namespace

std::string Device::openers() const {
    return fmt::format("{}", fmt::join(openers_, ", "));
}

Task<Reply> Device::outdate() {
    Task<StateChangeResult> requested = request_state(disk_request(DiskState::outdated), true);
    co_return reply_of(co_await requested);
}

// States 14.1, 14.2.
Task<Reply> Device::invalidate(bool remote) {
    if (!disk) co_return Reply{error_code::no_disk, {}};
    const bool alone = state_.conn == ConnState::stand_alone;
    if (alone && (state_.role == Role::primary) == remote) {
        State wanted = state();
        (remote ? wanted.pdsk : wanted.disk) = DiskState::inconsistent;
        const StateChangeResult result = change_state(wanted, ChangeKind::wish);
        if (!wire::is_success(result)) co_return reply_of(result);
        app.suspend();
        Task<int> set = set_all_and_write();
        const int error = co_await set;
        app.resume();
        if (error) co_return Reply{error_code::meta_io, {}};
        if (disk) disk->al_suspended = remote;
        co_return reply_of(StateChangeResult::success);
    }
    Task<StateChangeResult> requested =
        request_state(wire::request_for(remote ? wire::StateChangeKind::become_sync_source
                                               : wire::StateChangeKind::become_sync_target),
                      true);
    co_return reply_of(co_await requested);
}

// States 12.6.
Task<Reply> Device::pause_sync(bool pause) {
    const uint32_t flag = wire::state_bits::user_isp;
    Task<StateChangeResult> requested = request_state({flag, pause ? flag : 0}, true);
    const StateChangeResult result = co_await requested;
    if (result != StateChangeResult::nothing_to_do) co_return reply_of(result);
    if (pause) co_return Reply{error_code::pause_already_set, {}};
    const bool paused = state_.conn == ConnState::paused_sync_s || state_.conn == ConnState::paused_sync_t;
    if (paused && state_.aftr_isp) co_return Reply{error_code::paused_by_after, {}};
    if (paused && state_.peer_isp) co_return Reply{error_code::paused_by_peer, {}};
    co_return Reply{error_code::pause_already_clear, {}};
}

void Device::pause_after_others(bool pause) {
    State wanted = state();
    wanted.aftr_isp = pause;
    change_state(wanted, ChangeKind::fact);
}

// States 15.5. The flags are the resource's; any volume speaks for all.
Task<Reply> Device::suspend_io(bool suspend) {
    using namespace wire::state_bits;
    if (!suspend) {
        Task<bool> created = core_.fencing.new_generation();
        co_await created;
    }
    const uint32_t mask = suspend ? susp : susp | susp_nod | susp_fen;
    Task<StateChangeResult> requested = request_state({mask, suspend ? susp : 0}, true);
    co_return reply_of(co_await requested);
}

// States 7.3.
Task<Reply> Device::new_current_uuid_command(bool clear_bitmap) {
    if (!disk) co_return Reply{error_code::no_disk, {}};
    const bool skip =
        state_.conn == ConnState::connected && clear_bitmap && uuids().current == wire::uuid_just_created;
    if (!skip && state_.conn != ConnState::stand_alone) co_return Reply{error_code::need_stand_alone, {}};
    UuidSet set = uuids();
    new_current_uuid_by_command(set, core_.ports.host.random64(), state_.role, skip);
    set_uuids(set);
    if (clear_bitmap) {
        Task<int> cleared = clear_all_and_write();
        const int error = co_await cleared;
        if (error) co_return Reply{error_code::meta_io, {}};
    }
    Task<int> written = write_superblock();
    const int error = co_await written;
    if (error) co_return Reply{error_code::meta_io, {}};
    if (skip) {
        send_uuids(wire::Uuids::flag_skip_initial_sync);
        if (peer_uuids) peer_uuids->current = set.current;  // which it takes from this packet
        State wanted = state();
        wanted.disk = wanted.pdsk = DiskState::up_to_date;
        change_state(wanted, ChangeKind::fact);
    }
    co_return Reply{};
}

Task<Reply> Device::change_disk_options(config::DiskOptions options) {
    if (!disk) co_return Reply{error_code::no_disk, {}};
    if (stonith_with_protocol_a(options, core_.connection.options()))
        co_return Reply{error_code::stonith_and_protocol_a, {}};
    options.size_sectors = user_size_sectors_;
    const bool updates_changed = options.al_updates != disk->options.al_updates;
    if (updates_changed) {
        Task<> switched = switch_al_updates(options.al_updates);
        co_await switched;
        if (!disk) co_return Reply{error_code::meta_io, {}};
    }
    disk->options = options;
    disk_timeout.restart();
    disk->meta_io.set_md_flushes(options.md_flushes);
    if (core_.connection.established()) send_sync_param();
    core_.ports.host.changed(static_cast<int>(number_));
    Task<Reply> resized = change_al_slots();
    co_return co_await resized;
}

// Meta data 9.6: off, the superblock says so first; on, bitmap and log are complete before it does.
Task<> Device::switch_al_updates(bool on) {
    DiskUse use(*this);
    meta::Superblock& superblock = disk->meta_io.superblock;
    if (on) {
        app.suspend();
        while (app.in_flight() > 0) {
            auto woken = core_.changed.wait();
            co_await woken;
        }
        Task<int> bitmap_written = write_bitmap();
        co_await bitmap_written;
        Task<int> initialised = disk->meta_io.initialise_al(disk->al);
        const int error = co_await initialised;
        if (error) meta_io_failed(error);
        disk->activation.set_updates(true);
        superblock.flags &= ~meta::flag::al_disabled;
        app.resume();
    } else {
        superblock.flags |= meta::flag::al_disabled;
    }
    disk->meta_io.mark_dirty();
    Task<int> written = write_superblock();
    co_await written;
    if (!on) disk->activation.set_updates(false);
}

// ---- status
// --------------------------------------------------------------------------------------------------------

VolumeStatus Device::status() const {
    VolumeStatus s;
    s.volume = number_;
    s.minor = minor_;
    s.state = state();
    s.size_sectors = size_sectors_;
    s.out_of_sync_bits = bitmap.set_bits();
    s.epochs = core_.connection.transfer_log.epochs_open() + 1;  // the kernel counts the current one
    s.counters = counters;
    s.counters.local_pending = app.local_pending();
    s.counters.peer_pending = app.peer_pending();
    s.counters.unacked = peer.unacked();
    s.counters.app_pending = app.in_flight();
    s.openers = static_cast<uint32_t>(openers_.size());
    s.sync = verify.progress();
    if (!s.sync) s.sync = resync.progress();
    if (!disk) return s;
    s.al_suspended = disk->al_suspended;
    s.degraded = disk->degraded;
    s.write_ordering = disk->options.disk_flushes ? WriteOrdering::flush
                       : disk->options.disk_drain ? WriteOrdering::drain
                                                  : WriteOrdering::none;
    s.counters.al_writes = disk->meta_io.al_writes();
    s.counters.bitmap_writes = disk->meta_io.bitmap_writes();
    DiskStatus d;
    d.data_path = disk->data_path;
    d.meta_path = disk->meta_path;
    d.meta_index = disk->meta_index;
    d.options = disk->options;
    const UuidSet set = uuids();
    d.current_uuid = set.current;
    d.bitmap_uuid = set.bitmap;
    d.history_uuids[0] = set.history[0];
    d.history_uuids[1] = set.history[1];
    d.flags = disk->meta_io.superblock.flags;
    s.disk = d;
    return s;
}

}  // namespace duplex::engine
