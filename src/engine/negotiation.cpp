// What two nodes tell each other of a volume, and what they conclude from it (states 3.1, 3.3, 5; wire
// protocol 5, 6.3).
#include <algorithm>
#include <utility>

#include "engine/core.hpp"

namespace duplex::engine {

// ---- sending
// -------------------------------------------------------------------------------------------------------

void Device::send_parameters() {
    discard_mine = core_.connection.discard_my_data();
    resize_pending_ = false;
    reset_sequences();
    send_sync_param();
    send_sizes(false);
    send_uuids();
    send_state(state());
}

bool Device::send_sync_param() {
    const config::DiskOptions options = has_disk(DiskState::failed) ? disk->options : config::DiskOptions{};
    wire::SyncParam packet;
    packet.resync_rate_kib_s = options.resync_rate_kib;
    packet.verify_alg = wire::AlgorithmName(core_.connection.options().verify_alg);
    packet.csums_alg = wire::AlgorithmName(core_.connection.options().csums_alg);
    packet.c_plan_ahead_ds = options.c_plan_ahead_ds;
    packet.c_delay_target_ds = options.c_delay_target_ds;
    packet.c_fill_target_sectors = options.c_fill_target_sectors;
    packet.c_max_rate_kib_s = options.c_max_rate_kib;
    return core_.connection.link.send_packet(Channel::data, wire::Command::sync_param89, wire_number(),
                                             packet);
}

bool Device::send_sizes(bool ask_for_reply, uint16_t flags) {
    wire::Sizes packet;
    packet.dds_flags = flags;
    wire::QueueLimits limits;
    if (has_disk(DiskState::negotiating)) {
        if (const Status looked = look_at_sizes(); !looked) log_line(LogLevel::error, looked.error().text);
        packet.d_size_sectors = usable_now();
        packet.u_size_sectors = user_size_sectors_;
        packet.max_bio_size_bytes = std::min(disk->data.limits().io_bytes_max, wire::data_bytes_max);
        limits.physical_block_size_bytes = disk->data.limits().physical_block_bytes;
        limits.logical_block_size_bytes = disk->data.limits().logical_block_bytes;
        limits.discard_enabled = disk->data.limits().can_discard;
    }
    packet.c_size_sectors = ask_for_reply ? 0 : size_sectors_;
    if (core_.connection.features() & wire::feature::wsame) packet.limits = limits;
    return core_.connection.link.send_packet(Channel::data, wire::Command::sizes, wire_number(), packet);
}

bool Device::send_uuids(uint64_t extra_flags) {
    if (!has_disk(DiskState::negotiating)) return false;
    const UuidSet set = compared_uuids.value_or(uuids());
    compared_uuids.reset();
    communicated_bits = bitmap.set_bits();
    wire::Uuids packet;
    packet.current = set.current;
    packet.bitmap = set.bitmap;
    packet.history = set.history;
    packet.bits_set = communicated_bits;
    packet.flags = extra_flags;
    if (discard_mine) packet.flags |= wire::Uuids::flag_discard_my_data;
    if (disk->crashed_primary) packet.flags |= wire::Uuids::flag_crashed_primary;
    if (state_.disk == DiskState::negotiating && disk->prepared.disk == DiskState::inconsistent)
        packet.flags |= wire::Uuids::flag_inconsistent;
    return core_.connection.link.send_packet(Channel::data, wire::Command::uuids, wire_number(), packet);
}

bool Device::send_state(const State& s) {
    return core_.connection.link.send_packet(Channel::data, wire::Command::state, wire_number(),
                                             wire::StatePacket{s});
}

// ---- receiving
// -----------------------------------------------------------------------------------------------------

void Device::receive_sync_param(const wire::SyncParam& packet) {
    const config::NetOptions& options = core_.connection.options();
    if (state_.conn == ConnState::wf_report_params) {
        if (packet.verify_alg.view() != options.verify_alg || packet.csums_alg.view() != options.csums_alg) {
            core_.connection.go_stand_alone(fmt::format(
                "Different verify-alg or csums-alg settings. me: \"{}\" \"{}\" peer: \"{}\" \"{}\"",
                options.verify_alg, options.csums_alg, packet.verify_alg.view(), packet.csums_alg.view()));
            return;
        }
    } else {
        core_.connection.algorithms_changed(std::string(packet.verify_alg.view()),
                                            std::string(packet.csums_alg.view()));
    }
    if (!disk) return;
    disk->options.resync_rate_kib = packet.resync_rate_kib_s;
    disk->options.c_plan_ahead_ds = packet.c_plan_ahead_ds;
    disk->options.c_delay_target_ds = packet.c_delay_target_ds;
    disk->options.c_fill_target_sectors = packet.c_fill_target_sectors;
    disk->options.c_max_rate_kib = packet.c_max_rate_kib_s;
}

Task<> Device::receive_sizes(wire::Sizes packet) {
    peer_disk_sectors = packet.d_size_sectors;
    const uint64_t old_size = size_sectors_;
    bool own_disk_grew = false;
    if (has_disk(DiskState::negotiating)) {
        uint64_t user_size = packet.u_size_sectors;
        if (state_.conn == ConnState::wf_report_params && (user_size == 0 || user_size_sectors_ == 0))
            user_size = std::max(user_size, user_size_sectors_);
        else if (state_.conn == ConnState::wf_report_params)
            user_size = std::min(user_size, user_size_sectors_);
        const uint64_t announced = disk->usable_sectors;
        if (const Status looked = look_at_sizes(); !looked) log_line(LogLevel::error, looked.error().text);
        const uint64_t new_size = size_with(user_size, packet.dds_flags).size_sectors;
        if (new_size < size_sectors_ && state_.disk >= DiskState::outdated &&
            (state_.conn < ConnState::connected || state_.pdsk == DiskState::diskless)) {
            core_.connection.go_stand_alone("The peer's disk size is too small!");
            co_return;
        }
        Task<int> determined = determine_size(user_size, packet.dds_flags);
        co_await determined;
        if (!disk) co_return;
        own_disk_grew = disk->usable_sectors != announced;
    } else {
        const uint64_t size = packet.c_size_sectors   ? packet.c_size_sectors
                              : packet.u_size_sectors ? packet.u_size_sectors
                                                      : packet.d_size_sectors;
        if (size == 0 || size == size_sectors_) co_return;
        if (size_sectors_ > 0 && packet.d_size_sectors == 0) {
            log(LogLevel::warning, "Ignored diskless peer device size (peer:{} != me:{} sectors)!", size,
                size_sectors_);
            co_return;
        }
        if (size < size_sectors_ && state_.role == Role::primary) {
            core_.connection.go_stand_alone("The peer's device size is too small!");
            co_return;
        }
        set_size(size);
        co_return;
    }
    if (state_.conn <= ConnState::wf_report_params) co_return;
    if (packet.c_size_sectors != size_sectors_ || own_disk_grew) send_sizes(false, packet.dds_flags);
    const bool grew = size_sectors_ > old_size && old_size > 0 && state_.conn == ConnState::connected;
    if (packet.dds_flags & wire::Sizes::no_resync || !(grew || std::exchange(resize_pending_, false)))
        co_return;
    resize_pending_ = false;
    if (state_.pdsk >= DiskState::inconsistent && state_.disk >= DiskState::inconsistent)
        resync_new_area();
    else
        disk->resync_after_negotiation = true;
}

Task<> Device::receive_uuids(wire::Uuids packet) {
    peer_uuids = packet;
    if (shows_other_data(packet)) {
        core_.connection.go_stand_alone(
            fmt::format("Can only connect to data with current UUID={:016X}", exposed_data_uuid));
        co_return;
    }
    const bool skip = state_.conn == ConnState::connected && has_disk(DiskState::negotiating) &&
                      uuids().current == wire::uuid_just_created &&
                      (packet.flags & wire::Uuids::flag_skip_initial_sync);
    if (skip) {
        log(LogLevel::info, "Accepted new current UUID, preparing to skip initial sync");
        Task<int> cleared = clear_all_and_write();
        co_await cleared;
        if (!disk) co_return;
        UuidSet set = uuids();
        skip_initial_sync(set, uuid_set_of(packet), state_.role);
        set_uuids(set);
        State wanted = state();
        wanted.disk = wanted.pdsk = DiskState::up_to_date;
        change_state(wanted, ChangeKind::fact);
        // The kernel is silent here; but a P_STATE of ours from before may still be under way, and would have
        // the last word.
        send_state(state());
    } else if (shows_data_of_peer(packet)) {
        exposed_data_uuid = packet.current;
    }
}

bool Device::descends_from_exposed(const wire::Uuids& peer) const {
    return same_generation(peer.current, exposed_data_uuid) ||
           same_generation(peer.bitmap, exposed_data_uuid) ||
           same_generation(peer.history[0], exposed_data_uuid) ||
           same_generation(peer.history[1], exposed_data_uuid);
}

// The users of a Primary would see its data replaced by others (I52, states 5.8). The kernel takes the older
// data of the peer if its own disk is not diskless, but Inconsistent after an I/O error with pass_on.
bool Device::shows_other_data(const wire::Uuids& peer) const {
    if (state_.role != Role::primary) return false;
    if (state_.conn >= ConnState::connected && state_.pdsk != DiskState::diskless) return false;
    if (state_.disk < DiskState::inconsistent) return !same_generation(peer.current, exposed_data_uuid);
    return state_.disk == DiskState::inconsistent && exposed_data_uuid != 0 && !descends_from_exposed(peer);
}

// States 5.8, but never data that nobody has read from, or that are older than what our users have seen: the
// kernel takes the generation of an Inconsistent disk, too, and that of an outdated one in the moment in
// which its own disk fails.
bool Device::shows_data_of_peer(const wire::Uuids& peer) const {
    if (state_.role != Role::primary)
        return state_.disk < DiskState::negotiating && state_.pdsk == DiskState::up_to_date;
    return state_.disk < DiskState::up_to_date && !(peer.flags & wire::Uuids::flag_inconsistent) &&
           (exposed_data_uuid == 0 || descends_from_exposed(peer));
}

// End of a resync as the target reports it (states 3.3 a), of a verify as the source does (3.3 b). true: the
// packet is dealt with.
bool Device::confirms_end(const State& packet, DiskState& real) {
    // The peer has ended a verify at its stop sector (3.3 b).
    if (state_.conn == ConnState::verify_t && state_.disk == DiskState::up_to_date &&
        packet.conn == ConnState::connected && real == DiskState::up_to_date) {
        verify.peer_finished();
        return true;
    }
    const bool expected = (state_.pdsk == DiskState::inconsistent || state_.pdsk == DiskState::consistent) &&
                          real >= DiskState::inconsistent && state_.conn > ConnState::connected &&
                          state_.disk == DiskState::up_to_date;
    if (!expected) return false;
    if (real == DiskState::up_to_date && packet.conn > ConnState::connected &&
        packet.conn < ConnState::sync_source) {
        real = DiskState::inconsistent;  // it is only preparing
        return false;
    }
    // Also when blocks failed and the target ends Inconsistent, which the kernel as source waits out (wire
    // 19, 18).
    if (state_.conn >= ConnState::sync_source && packet.conn == ConnState::connected) {
        if (real != DiskState::up_to_date) resync.count_failed(bitmap.set_bits());
        resync.peer_finished();
        return true;
    }
    return false;
}

// Without a disk a Primary goes on with the data that its users have seen, and no others.
bool Device::lacks_exposed_data() const {
    return state_.role == Role::primary && state_.disk < DiskState::inconsistent && peer_uuids &&
           !same_generation(peer_uuids->current, exposed_data_uuid);
}

// Only a Primary without good data knows what its users have seen, and whether ours are those data (I52). Its
// P_STATE comes before it has compared them. To the kernel a disk that is outdated, or may be, is UpToDate
// with that packet, and in a generation of its own; where the Primary refuses, it remains so: old data that
// can be promoted, and a split brain as soon as the Primary has its disk back (I12, I15).
bool Device::may_be_refused(const State& packet) const {
    const bool doubtful = state_.disk == DiskState::outdated || state_.disk == DiskState::consistent;
    return state_.conn == ConnState::wf_report_params && doubtful && packet.role == Role::primary &&
           packet.disk <= DiskState::inconsistent && packet.conn < ConnState::connected;
}

// A peer that takes our data says next that it is Connected (D14); one that does not closes the connection.
Task<> Device::receive_state(wire::StatePacket packet) {
    unanswered_state_.reset();
    if (may_be_refused(packet.state)) {
        unanswered_state_ = packet.state;
        co_return;
    }
    Task<> taken = take_state(packet.state);
    co_await taken;
}

// Its users' requests may be faster than its answer.
Task<> Device::peer_accepts() {
    const State packet = *unanswered_state_;
    unanswered_state_.reset();
    Task<> taken = take_state(packet);
    co_await taken;
}

Task<> Device::take_state(State packet) {
    const State ps = packet;
    if (state_.conn <= ConnState::tear_down) co_return;
    // A second one for a volume can only be the answer to ours; on the way it has come past all that the peer
    // sent of its own accord.
    if (state_.conn >= ConnState::connected) core_.connection.parameters_complete();
    DiskState real = ps.disk;
    if (real == DiskState::negotiating)
        real = peer_uuids && (peer_uuids->flags & wire::Uuids::flag_inconsistent) ? DiskState::inconsistent
                                                                                  : DiskState::consistent;
    if (confirms_end(ps, real)) co_return;
    if (state_.pdsk == DiskState::up_to_date && real == DiskState::inconsistent &&
        state_.conn == ConnState::connected && ps.conn > ConnState::sync_source)
        real = DiskState::up_to_date;  // a stale message (wire protocol 6.3, item 8)

    const State before = state();
    State wanted = before;
    if (wanted.conn == ConnState::wf_report_params) wanted.conn = ConnState::connected;
    if (ps.conn == ConnState::ahead) wanted.conn = ConnState::behind;
    const bool both_have_disks =
        peer_uuids && ps.disk >= DiskState::negotiating && before.disk >= DiskState::negotiating;
    const bool negotiating = ps.disk == DiskState::negotiating || before.disk == DiskState::negotiating;
    const bool peer_starts = ps.conn >= ConnState::starting_sync_s && ps.conn <= ConnState::wf_bitmap_t;
    const bool consider = before.conn < ConnState::connected || consider_resync ||
                          (before.conn == ConnState::connected && (negotiating || peer_starts));
    if (both_have_disks && consider) {
        Task<HandshakeDecision> decided = handshake(ps.role, real);
        const HandshakeDecision decision = co_await decided;
        if (state_.conn <= ConnState::tear_down) {
            // Lost while a handler ran, perhaps because the peer was through with its own earlier. It would
            // not end otherwise with a new connection.
            if (decision == HandshakeDecision::fail && disk && peer_uuids && !negotiating &&
                !core_.connection.peer_dry_run())
                core_.connection.go_stand_alone("no agreement with the peer about whose data is good");
            co_return;
        }
        if (decision == HandshakeDecision::fail) {
            if (!survive_failed_handshake(wanted, ps, real)) co_return;
        } else {
            wanted.conn = decision == HandshakeDecision::wf_bitmap_s   ? ConnState::wf_bitmap_s
                          : decision == HandshakeDecision::wf_bitmap_t ? ConnState::wf_bitmap_t
                                                                       : ConnState::connected;
        }
    }
    // What was decided holds for the state as it is now; our own role, disk and pauses may have changed
    // meanwhile.
    State now = state();
    if (now.conn == before.conn || wanted.conn != before.conn) now.conn = wanted.conn;
    if (now.disk == before.disk) now.disk = wanted.disk;
    consider_resync = false;
    // Said before it learnt that our disk, with newer data, is gone (I52). Outdated would not do (S5).
    if (real > DiskState::inconsistent && now.pdsk != DiskState::up_to_date && lacks_exposed_data())
        real = DiskState::inconsistent;
    now.peer = ps.role;
    now.pdsk = real;
    now.peer_isp = ps.aftr_isp || ps.user_isp;
    // Not by a P_STATE of the peer's from before it knew of the attach: its UUIDs come first.
    const bool negotiated = peer_uuids || ps.disk < DiskState::negotiating;
    if ((now.conn == ConnState::connected || now.conn == ConnState::wf_bitmap_s) && disk && negotiated &&
        now.disk == DiskState::negotiating) {
        // The peer's disk went away before the two were compared: the same question as before the attach.
        const bool usable =
            real >= DiskState::inconsistent || check_current(disk->meta_io.superblock, real).ok();
        now.disk = usable ? disk->prepared.disk : DiskState::failed;
    }
    // The data of a Primary are those that its users see, whatever its disk was called.
    if (now.role == Role::primary && now.disk == DiskState::outdated && now.conn == ConnState::connected &&
        real < DiskState::inconsistent)
        now.disk = DiskState::up_to_date;
    const bool establishing = before.conn < ConnState::connected && now.conn >= ConnState::connected;
    // I51: with fencing a peer that was restarted reports Consistent (3.3 d).
    if (establishing && now.conn == ConnState::connected && real == DiskState::consistent &&
        core_.suspended() && new_uuid_pending) {
        Task<bool> parting = core_.fencing.part();
        co_await parting;
        co_return;
    }
    const StateChangeResult result = change_state(now, establishing ? ChangeKind::wish : ChangeKind::fact);
    if (!wire::is_success(result)) {
        core_.connection.go_stand_alone(fmt::format(
            "volume {}: the state with the peer is not acceptable: {}", number_, text_of(result)));
        co_return;
    }
    if (before.conn > ConnState::wf_report_params && now.conn > ConnState::connected &&
        ps.conn <= ConnState::connected && ps.disk != DiskState::negotiating) {
        send_uuids();
        send_state(state());
    }
    discard_mine = false;
    Task<int> written = write_superblock();
    co_await written;
}

// An attach that fails leaves the connection up; anything else ends it. false: the packet leads nowhere.
bool Device::survive_failed_handshake(State& wanted, const State& packet, DiskState& real) {
    if (state_.disk == DiskState::negotiating) {
        State failed = state();
        failed.disk = DiskState::failed;
        change_state(failed, ChangeKind::fact);
        wanted.disk = DiskState::failed;
        wanted.conn = ConnState::connected;
        return true;
    }
    if (packet.disk == DiskState::negotiating) {
        log(LogLevel::error, "Disk attach process on the peer node was aborted.");
        // For us its disk remains Diskless, so no state change tells it; it has to come to the same
        // conclusion.
        send_uuids();
        send_state(state());
        real = DiskState::diskless;
        wanted.conn = ConnState::connected;
        return true;
    }
    if (core_.connection.peer_dry_run())
        core_.connection.drop(ConnState::protocol_error, "dry-run connect: the peer only wanted to know");
    else
        core_.connection.go_stand_alone("no agreement with the peer about whose data is good");
    return false;
}

// ---- whose data is good (states 5.4)
// ---------------------------------------------------------------------------------

HandshakeInput Device::handshake_input(Role peer_role, DiskState peer_disk) const {
    const config::NetOptions& options = core_.connection.options();
    HandshakeInput input;
    input.uuids.self = uuids();
    input.uuids.peer = uuid_set_of(*peer_uuids);
    input.uuids.self_crashed_primary = disk->crashed_primary;
    input.uuids.peer_crashed_primary = peer_uuids->flags & wire::Uuids::flag_crashed_primary;
    input.uuids.self_primary = state_.role == Role::primary;
    input.uuids.peer_primary = peer_role == Role::primary;
    input.uuids.resolver = core_.connection.resolver();
    input.uuids.features = core_.connection.features();
    input.own_disk = state_.disk == DiskState::negotiating ? disk->prepared.disk : state_.disk;
    input.actual_own_disk = state_.disk;
    input.peer_disk = peer_disk;
    input.own_discard_mine = discard_mine;
    input.peer_flags = peer_uuids->flags;
    input.own_changes = communicated_bits;
    input.peer_changes = peer_uuids->bits_set;
    input.bits_set = bitmap.set_bits();
    input.after_sb_0pri = options.after_sb_0pri;
    input.after_sb_1pri = options.after_sb_1pri;
    input.after_sb_2pri = options.after_sb_2pri;
    input.always_asbp = options.always_asbp;
    input.rr_conflict = options.rr_conflict;
    input.tentative = core_.connection.command().tentative;
    input.peer_dry_run = core_.connection.peer_dry_run();
    return input;
}

Task<HandshakeDecision> Device::handshake(Role peer_role, DiskState peer_disk) {
    HandshakeInput input = handshake_input(peer_role, peer_disk);
    HandshakeOutcome outcome = resync_handshake(input);
    for (;;) {
        for (const HandshakeStep& step : outcome.steps) {
            if (step.handler == HandshakeHandler::none) {
                log_line(step.level, step.line);
                continue;
            }
            Task<int> ran = run_handler(name_of(step.handler));
            co_await ran;
        }
        if (outcome.decision != HandshakeDecision::try_demote) break;
        State secondary = state();
        secondary.role = Role::secondary;
        const StateChangeResult demoted = change_state(secondary, ChangeKind::wish);
        input.demotion = wire::is_success(demoted) ? Demotion::succeeded : Demotion::failed;
        outcome = resync_handshake(input);
    }
    if (!disk || !peer_uuids) co_return HandshakeDecision::fail;
    if (outcome.comparison.self_corrected) {
        if (state_.pdsk < DiskState::inconsistent) compared_uuids = uuids();
        set_uuids(outcome.comparison.self);
    }
    if (outcome.comparison.peer_corrected) {
        peer_uuids->current = outcome.comparison.peer.current;
        peer_uuids->bitmap = outcome.comparison.peer.bitmap;
        peer_uuids->history = outcome.comparison.peer.history;
    }
    if (outcome.full_sync && outcome.decision != HandshakeDecision::fail) {
        Task<int> set = set_all_and_write();
        const int error = co_await set;
        if (error) co_return HandshakeDecision::fail;
    }
    co_return outcome.decision;
}

Task<int> Device::run_handler(std::string_view name) {
    Event ended(core_.executor);
    std::optional<int> exit_code;
    log(LogLevel::info, "helper command: /sbin/drbdadm {} minor-{}", name, minor_);
    core_.ports.host.run_handler(name, static_cast<int>(minor_), [&](int code) {
        exit_code = code;
        ended.notify();
    });
    while (!exit_code) {
        auto woken = ended.wait();
        co_await woken;
    }
    log(LogLevel::info, "helper command: /sbin/drbdadm {} minor-{} exit code {}", name, minor_, *exit_code);
    co_return *exit_code;
}

// ---- start and end of a resync (states 5.7)
// ----------------------------------------------------------------------------

Task<> Device::receive_sync_uuid(uint64_t sync_uuid) {
    // Our own half of the transition may still be on its way: the bitmap being written or sent.
    while (state_.conn == ConnState::wf_bitmap_t || state_.conn == ConnState::starting_sync_t) {
        auto woken = core_.changed.wait();
        co_await woken;
    }
    if (!has_disk(DiskState::negotiating)) co_return;
    if (state_.conn != ConnState::wf_sync_uuid && state_.conn != ConnState::behind) {
        if (state_.conn >= ConnState::connected)
            core_.connection.drop(
                ConnState::protocol_error,
                fmt::format("P_SYNC_UUID, volume {}: not expected in {}", number_, name_of(state_.conn)));
        co_return;
    }
    UuidSet set = uuids();
    start_resync_target(set, sync_uuid, state_.role);
    set_uuids(set);
    log(LogLevel::info, "updated sync uuid {}", text_of(set));
    Task<> started = resync.start(true);
    co_await started;
}

void Device::resync_succeeded(bool target) {
    UuidSet set = uuids();
    UuidSet peer_set = peer_uuids ? uuid_set_of(*peer_uuids) : UuidSet{};
    if (target)
        finish_resync_target(set, peer_set, state_.role);
    else
        finish_resync_source(set, peer_set);
    set_uuids(set);
    if (peer_uuids) {
        peer_uuids->current = peer_set.current;
        peer_uuids->bitmap = peer_set.bitmap;
        peer_uuids->history = peer_set.history;
    }
    log(LogLevel::info, "updated UUIDs {}", text_of(set));
}

}  // namespace duplex::engine
