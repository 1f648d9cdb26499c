// Promotion and demotion (states 8).
#include "engine/core.hpp"

namespace duplex::engine {

namespace {

using wire::state_bits::disk_mask;
using wire::state_bits::pdsk_mask;
using wire::state_bits::role_mask;

constexpr unsigned tries_max = 4;

StateChangeRequest with_disk(StateChangeRequest request, DiskState disk) {
    request.mask |= disk_mask;
    request.value = (request.value & ~disk_mask) | static_cast<uint32_t>(disk)
                                                       << wire::state_bits::disk_shift;
    return request;
}

StateChangeRequest with_peer_outdated(StateChangeRequest request) {
    request.mask |= pdsk_mask;
    request.value = (request.value & ~pdsk_mask) | static_cast<uint32_t>(DiskState::outdated)
                                                       << wire::state_bits::pdsk_shift;
    return request;
}

}  // namespace

Task<Reply> Device::set_role(Role role, bool force) {
    if (role == Role::primary && core_.connection.established()) core_.connection.link.request_ping();
    // Of a write that is acknowledged, but not yet stable at the peer, nothing but the activity log knows
    // that it may be missing there; and the log counts for nothing once the superblock no longer says
    // Primary. After a barrier ack the peer has it, after a lost connection its bits are set.
    while (role == Role::secondary && openers_.empty() && app.writes_undone() > 0) {
        auto woken = core_.changed.wait();
        co_await woken;
    }
    StateChangeRequest want{role_mask, static_cast<uint32_t>(role)};
    bool forced = false;
    StateChangeResult result = StateChangeResult::unknown_error;
    for (unsigned tries = 1; tries <= tries_max; ++tries) {
        Task<StateChangeResult> requested = request_state(want, tries == tries_max);
        result = co_await requested;
        if (result == StateChangeResult::nothing_to_do && is_primary() == (role == Role::primary))
            co_return Reply{static_cast<int>(result), {}};
        if (wire::is_success(result)) break;
        if (result == StateChangeResult::no_up_to_date_disk && force && !forced &&
            state_.disk >= DiskState::inconsistent && state_.disk < DiskState::up_to_date) {
            want = with_disk(want, DiskState::up_to_date);
            forced = true;
        } else if (result == StateChangeResult::no_up_to_date_disk && state_.disk == DiskState::consistent &&
                   !(want.mask & pdsk_mask)) {
            Task<bool> fencing = core_.fencing.fence_peer();
            const bool fenced = co_await fencing;
            if (fenced) want = with_disk(want, DiskState::up_to_date);
        } else if (result == StateChangeResult::primary_nop && !(want.mask & pdsk_mask)) {
            Task<bool> fencing = core_.fencing.fence_peer();
            const bool fenced = co_await fencing;
            if (!fenced && force) want = with_peer_outdated(want);
        } else if (result == StateChangeResult::cw_failed_by_peer && (want.mask & pdsk_mask)) {
            want.mask &= ~pdsk_mask;  // it came back
            want.value &= ~pdsk_mask;
        } else if (result == StateChangeResult::two_primaries) {
            // The peer may be on its way down, or just not gone yet.
            if (tries < tries_max - 1) tries = tries_max - 2;
            Sleep pause(core_.executor, core_.ports.clock,
                        (core_.connection.options().ping_timeout_ds + 1) * 100);
            co_await pause;
        } else if (result != StateChangeResult::cw_failed_by_peer) {
            break;
        }
    }
    if (!wire::is_success(result)) co_return Reply{static_cast<int>(result), {}};
    if (forced) log(LogLevel::warning, "Forced to consider local data as UpToDate!");
    while (app.peer_pending() > 0) {
        auto woken = core_.changed.wait();
        co_await woken;
    }
    Task<> changed = role_changed(role, forced);
    co_await changed;
    if (disk == nullptr && role == Role::primary && state_.pdsk != DiskState::up_to_date)
        co_return Reply{static_cast<int>(StateChangeResult::no_up_to_date_disk), {}};
    co_return Reply{static_cast<int>(result), {}};
}

// What a new role means for the generation, and who is told. The device opens for its users last: by then
// MDF_PRIMARY_IND is on stable storage (meta data R1).
Task<> Device::role_changed(Role role, bool forced) {
    if (role == Role::primary) discard_mine = false;
    NewGeneration generation = NewGeneration::none;
    if (disk) {
        UuidSet set = uuids();
        if (role == Role::primary)
            generation = new_generation_at_promotion(state(), set, forced, own_generation);
        start_generation(set, generation);
        set_current(set, set.current, role);
        set_uuids(set);
        Task<int> written = write_superblock();
        const int error = co_await written;
        if (error) log(LogLevel::error, "the superblock could not be written after the change of role");
    }
    if (state_.conn >= ConnState::wf_report_params) {
        // To the kernel only a forced promotion is worth telling. But a peer without a disk, promoted next,
        // has to know of what generation the data are that its users see (I52).
        if (forced || generation != NewGeneration::none) send_uuids();
        send_state(state());
    }
    if (state_.role != role) co_return;
    open_to_users_ = role == Role::primary;
    tell_watchers_primary();
    core_.ports.host.changed(static_cast<int>(number_));
    core_.notify();
}

void Device::start_generation(UuidSet& set, NewGeneration kind) {
    if (kind == NewGeneration::none) return;
    const uint64_t random = core_.ports.host.random64();
    if (kind == NewGeneration::beside_bitmap)
        new_current_uuid_beside_bitmap(set, random, state_.role);
    else if (!new_current_uuid(set, random, state_.role))
        log(LogLevel::warning, "bm UUID was already set: {:X}", uuids().bitmap);
    own_generation = true;
    if (state_.disk >= DiskState::inconsistent) update_flags(state());
    exposed_data_uuid = set.current;
    log(LogLevel::info, "new current UUID {}", text_of(set));
}

void Device::tell_watchers_primary() {
    for (VolumeWatcher* watcher : watchers_) watcher->primary_changed(open_to_users_);
}

}  // namespace duplex::engine
