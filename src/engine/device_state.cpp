// State changes of a volume: the rules are states.cpp's, here is what a change brings about (states 2.2, 2.6
// to 2.8).
#include "engine/core.hpp"
#include "engine/sabotage.hpp"

namespace duplex::engine {

namespace {

bool both_up_to_date(const State& s) {
    return s.disk == DiskState::up_to_date && s.pdsk == DiskState::up_to_date;
}

bool is_source(ConnState conn) {
    return conn == ConnState::sync_source || conn == ConnState::paused_sync_s;
}

bool without_data(const State& s) {
    return s.role == Role::primary && s.disk < DiskState::up_to_date && s.pdsk < DiskState::up_to_date;
}

}  // namespace

State Device::state() const {
    State s = state_;
    s.susp = core_.susp;
    s.susp_nod = core_.susp_nod;
    s.susp_fen = core_.susp_fen;
    return s;
}

StateContext Device::context() const {
    const Connection& connection = core_.connection;
    StateContext c;
    if (disk) {
        c.fencing = effective_fencing(disk->options.fencing, state_.disk);
        c.exposed_data_is_current = same_generation(exposed_data_uuid, uuids().current);
        c.prepared_disk = disk->prepared.disk;
        c.prepared_pdsk = disk->prepared.pdsk;
    }
    c.on_no_data = core_.options.on_no_data_accessible;
    c.net_configured = connection.configured();
    c.allow_two_primaries = connection.options().allow_two_primaries;
    c.verify_alg_set = !connection.options().verify_alg.empty();
    c.peer_primary_on_other_volume = core_.other_primary_at_peer(*this) != nullptr;
    c.device_open = !openers_.empty();
    c.state_sent = connection.state_sent();
    return c;
}

// ---- changing it
// -------------------------------------------------------------------------------------------------

StateChangeResult Device::change_state(const State& wanted, ChangeKind kind, bool verbose) {
    const State old_state = state();
    const ChangeDecision decision = check_change(old_state, wanted, context(), kind);
    if (!wire::is_success(decision.result)) {
        if (verbose) {
            log(LogLevel::error, "State change failed: {}", text_of(decision.result));
            log(LogLevel::error, "  state = {}", describe(old_state));
            log(LogLevel::error, " wanted = {}", describe(decision.state));
        }
        return decision.result;
    }
    if (decision.result != StateChangeResult::nothing_to_do) apply_state(decision, true);
    return decision.result;
}

void Device::apply_state(const ChangeDecision& decision, bool logged) {
    const State old_state = state();
    const State new_state = decision.state;
    if (decision.warning != SanitiseWarning::none) log_line(LogLevel::warning, text_of(decision.warning));
    const std::string change = describe_change(old_state, new_state);
    if (logged && !change.empty()) log_line(LogLevel::info, change);
    state_ = new_state;
    core_.set_suspended(new_state);
    // The target holds this generation by now. If it is lost before this node has finished, what a Primary
    // writes from now on must be a new one.
    const bool source_ends = is_source(old_state.conn) && !is_source(new_state.conn);
    const bool still_primary = old_state.role == Role::primary ||
                               (old_state.peer == Role::primary && new_state.conn >= ConnState::connected);
    bool new_generation = false;
    const auto begin_generation = [&](NewGeneration kind) {
        new_generation = true;
        UuidSet set = uuids();
        start_generation(set, kind);
        set_uuids(set);
    };
    if (disk && source_ends && new_state.disk == DiskState::up_to_date) {
        const bool finished = resync.target_finished();
        own_generation = !finished && !resync.target_may_have_finished();
        if (still_primary && finished) resync_succeeded(false);
        if (still_primary && !own_generation)
            begin_generation(finished ? NewGeneration::from_current : NewGeneration::beside_bitmap);
    }
    // Demoted while Ahead, it has data that the peer lacks, and the superblock is about to say that it is no
    // Primary.
    if (disk && old_state.role == Role::primary && new_state.role != Role::primary &&
        new_state.conn == ConnState::ahead && uuids().bitmap == 0)
        begin_generation(NewGeneration::from_current);
    // I28: no write that was waiting for the lost peer completes before the new generation is on stable
    // storage.
    const bool hold =
        new_generation || (disk && new_current_due(old_state, new_state, uuids()) == NewCurrent::now);
    if (hold && !sabotage::new_generation) app.hold_completions();
    immediate_effects(old_state, new_state);
    core_.worker.add([this, old_state, new_state, hold] { return after_change(old_state, new_state, hold); });
    core_.notify();
    core_.ports.host.changed(static_cast<int>(number_));
}

namespace {

// Users of the device, here or on a diskless node later, see the peer's data.
bool reads_from_peer(const State& s) {
    const DiskState own = s.role == Role::primary ? DiskState::up_to_date : DiskState::negotiating;
    return s.disk < own && s.pdsk == DiskState::up_to_date;
}

}  // namespace

void Device::immediate_effects(const State& o, const State& n) {
    if (replicate(o) != replicate(n)) core_.connection.transfer_log.close_epoch();
    if (disk && n.disk >= DiskState::inconsistent) update_flags(n);
    if (disk && o.disk < DiskState::consistent && n.disk >= DiskState::consistent)
        exposed_data_uuid = uuids().current;
    if (!reads_from_peer(o) && reads_from_peer(n) && peer_uuids) exposed_data_uuid = peer_uuids->current;
    const bool merged = n.conn == ConnState::sync_target || n.conn == ConnState::paused_sync_t;
    if (n.disk == DiskState::up_to_date || merged) bitmap_complete = true;
    if (n.disk < DiskState::inconsistent || n.conn == ConnState::wf_bitmap_t) bitmap_complete = false;
    // The peer's writes are not sent here, and nobody says where they are (states 9.3).
    if (n.disk == DiskState::inconsistent && n.conn == ConnState::connected && n.peer == Role::primary)
        bitmap_complete = false;
    if (o.disk == DiskState::inconsistent && o.pdsk == DiskState::inconsistent && o.peer == Role::secondary &&
        n.peer == Role::primary)
        consider_resync = true;
    if (o.conn < ConnState::connected && n.conn >= ConnState::connected) ++core_.connections;
    if (o.conn < ConnState::connected && n.conn >= ConnState::connected && disk) {
        disk->al_suspended = false;
        disk->degraded = false;
    }
    if (n.conn != o.conn) {
        bitmap_receiver_.reset();
        bitmap_sent_ = bitmap_received_ = false;
    }
    resync.state_changed(o.conn, n.conn);
    verify.state_changed(o.conn, n.conn);
    if (n.conn < ConnState::wf_report_params && o.conn >= ConnState::wf_report_params) peer.connection_lost();
    if (n.conn == ConnState::wf_report_params && o.conn > n.conn) volume_parted();
    if (o.role == Role::primary && n.role != Role::primary) {
        open_to_users_ = false;
        tell_watchers_primary();
    }
    if (o.conn == ConnState::wf_report_params && n.conn != o.conn) core_.connection.volume_settled();
}

// The volume is removed on one of the nodes, while the connection goes on for the others (states 2.6).
void Device::volume_parted() {
    peer.connection_lost();
    forget_unanswered();
    peer_uuids.reset();
    compared_uuids.reset();
    reset_sequences();
}

void Device::update_flags(const State& n) {
    meta::Superblock& superblock = disk->meta_io.superblock;
    uint32_t flags = superblock_flags(n, disk->crashed_primary, superblock.flags);
    // For a later attach: the peer may have this generation (the kernel reads it only together with
    // PRIMARY_IND).
    if (uuids().bitmap != 0 && !own_generation) flags |= meta::flag::connected_ind;
    if (flags == superblock.flags) return;
    superblock.flags = flags;
    disk->meta_io.mark_dirty();
}

// ---- deferred actions, numbered as in states 2.8
// -------------------------------------------------------------------

Task<> Device::after_change(State o, State n, bool held_completions) {
    if (!both_up_to_date(o) && both_up_to_date(n)) {  // D1
        if (disk) disk->crashed_primary = false;
        if (peer_uuids) peer_uuids->flags &= ~wire::Uuids::flag_crashed_primary;
    }
    if (without_data(n) && !without_data(o))  // D2
        core_.ports.host.run_handler("pri-on-incon-degr", static_cast<int>(minor_), [](int) {});
    if (n.susp_nod) {  // D3
        Task<> thawed = thaw_if_data_are_back();
        co_await thawed;
    }
    if (n.susp_fen) {  // D4
        Task<> thawed = core_.fencing.thaw_after_reconnect();
        co_await thawed;
    }
    if (!is_source(o.conn) && is_source(n.conn) && disk) {  // D5
        Task<> started = start_of_source(o, n);
        co_await started;
    }
    // D6; also when the connection found the peer in the middle of its attach
    if ((o.pdsk == DiskState::diskless || o.pdsk == DiskState::attaching) && n.pdsk > o.pdsk &&
        n.pdsk != DiskState::d_unknown) {
        send_uuids();
        send_state(n);
    }
    // D20
    if (disk && disk->resync_after_negotiation && n.disk > DiskState::negotiating &&
        n.pdsk > DiskState::negotiating && n.pdsk != DiskState::d_unknown) {
        disk->resync_after_negotiation = false;
        if (state_.conn == ConnState::connected) resync_new_area();
    }
    Task<> generation = generation_after_change(o, n);  // D8, D9
    co_await generation;
    if (held_completions && disk && disk->meta_io.dirty()) {
        Task<int> written = write_superblock();
        const int error = co_await written;
        if (!error && state_.conn >= ConnState::connected) send_uuids();
    }
    if (held_completions && !sabotage::new_generation) app.release_completions();
    const bool demoted = o.role == Role::primary && n.role != Role::primary;
    const bool peer_demoted =
        o.peer == Role::primary && n.peer == Role::secondary && n.pdsk < DiskState::inconsistent;
    if ((demoted || peer_demoted) && disk) {  // D9', D10; also during a resync (meta data 13.3)
        Task<int> written = write_bitmap();
        co_await written;
    }
    const bool sync_ended = o.conn > ConnState::connected && o.conn < ConnState::ahead &&
                            (n.conn == ConnState::connected || n.conn >= ConnState::ahead);
    if (sync_ended && disk) {  // D24; and the UUIDs of the finished resync before the peer hears of them
        Task<int> bitmap_written = write_bitmap();
        co_await bitmap_written;
        Task<int> superblock_written = write_superblock();
        co_await superblock_written;
    }
    report_to_peer(o, n);
    if (o.conn != n.conn &&
        (n.conn == ConnState::starting_sync_s || n.conn == ConnState::starting_sync_t)) {  // D16
        Task<> set = full_sync_requested(n);
        co_await set;
    }
    // D17; D18 for a negotiation that ended with the connection
    if ((o.disk != DiskState::failed && n.disk == DiskState::failed) ||
        (o.disk == DiskState::negotiating && n.disk == DiskState::diskless))
        core_.tasks.add(disk_failed());
    if (disk && disk->meta_io.dirty()) {  // D25
        Task<int> written = write_superblock();
        co_await written;
    }
    if (o.conn != n.conn && n.conn == ConnState::wf_bitmap_s) core_.tasks.add(send_bitmap());  // D7
}

// D3: every volume reaches UpToDate data again. What was frozen starts anew.
Task<> Device::thaw_if_data_are_back() {
    for (const Device* device : core_.all_devices()) {
        const State s = device->state();
        const bool reachable = s.disk == DiskState::up_to_date ||
                               (s.conn >= ConnState::connected && s.pdsk == DiskState::up_to_date);
        if (s.role == Role::primary && !reachable) co_return;
    }
    // A volume with a disk of its own was frozen with another that had none: the peer may lack what was under
    // way.
    const bool connected = core_.connection.established();
    Task<bool> parting = core_.fencing.part();
    const bool parted = co_await parting;
    if (parted && connected) co_return;  // the next connection thaws
    State wanted = state();
    wanted.susp_nod = false;
    change_state(wanted, ChangeKind::fact);
}

Task<> Device::start_of_source(State, State) {
    UuidSet set = uuids();
    own_generation = false;
    const uint64_t sync_uuid = start_resync_source(set, core_.ports.host.random64());
    set_uuids(set);
    Task<int> written = write_superblock();
    const int error = co_await written;
    if (error == 0 && state_.conn >= ConnState::connected)
        core_.connection.link.send_packet(Channel::data, wire::Command::sync_uuid, wire_number(),
                                          wire::SyncUuid{sync_uuid});
}

Task<> Device::generation_after_change(State o, State n) {
    const NewCurrent due = disk ? new_current_due(o, n, uuids()) : NewCurrent::none;
    if (due == NewCurrent::pending) new_uuid_pending = true;
    if (due == NewCurrent::now) {
        Task<> created = new_current_uuid_now();
        co_await created;
    }
}

// The changes that the peer hears of (wire protocol 6.2), with the state as it was recorded.
void Device::report_to_peer(const State& o, const State& n) {
    const bool connected = n.conn >= ConnState::connected;
    if (connected && o.disk == DiskState::attaching && n.disk == DiskState::negotiating) {  // D11
        send_sizes(false);
        send_uuids();
        send_state(n);
    }
    bool report = false;
    report |= connected && (o.aftr_isp != n.aftr_isp || o.user_isp != n.user_isp);          // D12
    report |= o.conn == ConnState::wf_report_params && connected;                           // D14
    report |= connected && o.disk > DiskState::failed && n.disk == DiskState::failed;       // D17
    report |= connected && o.disk != DiskState::diskless && n.disk == DiskState::diskless;  // D18
    report |= connected && o.disk == DiskState::up_to_date && n.disk == DiskState::inconsistent &&
              n.conn == ConnState::connected;  // D19
    report |= o.disk < DiskState::up_to_date && o.conn >= ConnState::sync_source &&
              n.conn == ConnState::connected;  // D22
    report |= o.conn == ConnState::verify_s && n.conn == ConnState::connected &&
              core_.connection.agreed_protocol() != Verify::protocol_without_stop_sector;  // D23
    if (report) send_state(n);
}

// D16: both nodes call everything dirty, then the resync starts without a bitmap exchange (wire
// protocol 12.8).
Task<> Device::full_sync_requested(State n) {
    app.suspend();
    Task<int> set = set_all_and_write();
    const int error = co_await set;
    app.resume();
    State wanted = state();
    if (wanted.conn != n.conn) co_return;
    if (error) {
        wanted.conn = ConnState::connected;
        change_state(wanted, ChangeKind::wish);
    } else if (n.conn == ConnState::starting_sync_t) {
        wanted.conn = ConnState::wf_sync_uuid;
        change_state(wanted, ChangeKind::wish);
    } else {
        core_.tasks.add(resync.start(false));
    }
}

// ---- requests (states 2.6)
// --------------------------------------------------------------------------------------------

namespace {

// The volume's state mutex: one administrator's request at a time.
class RequestLock {
  public:
    RequestLock(bool& pending, Event& released) : pending_(&pending), released_(&released) { pending = true; }
    ~RequestLock() {
        *pending_ = false;
        released_->notify();
    }
    RequestLock(const RequestLock&) = delete;
    RequestLock& operator=(const RequestLock&) = delete;

  private:
    bool* pending_;
    Event* released_;
};

}  // namespace

Task<StateChangeResult> Device::request_state(StateChangeRequest request, bool verbose) {
    StateChangeResult result = StateChangeResult::in_transient_state;
    for (;;) {
        while (state_request_pending_) {
            auto released = state_request_ended_.wait();
            co_await released;
        }
        Task<> tried = try_request(request, verbose, result);
        co_await tried;
        if (result != StateChangeResult::in_transient_state) break;
        auto woken = core_.changed.wait();
        co_await woken;
    }
    while (!core_.worker.idle()) {
        auto idle = core_.worker.became_idle.wait();
        co_await idle;
    }
    co_return result;
}

Task<> Device::try_request(StateChangeRequest request, bool verbose, StateChangeResult& result) {
    RequestLock lock(state_request_pending_, state_request_ended_);
    const State old_state = state();
    const std::optional<State> wanted = with_request(old_state, request);
    ensure(wanted.has_value());
    const StateContext now = context();
    const ChangeDecision decision = check_change(old_state, *wanted, now, ChangeKind::wish);
    result = decision.result;
    bool peer_may_have_agreed = false;
    if (wire::is_success(result) && is_cluster_wide(old_state, decision.state)) {
        result = check_cluster_wide(old_state, *wanted, now).result;
        if (wire::is_success(result)) {
            Task<> asked = ask_peer(request, result);
            co_await asked;
            peer_may_have_agreed = result != StateChangeResult::cw_failed_by_peer;
        }
    }
    // Else it would go on believing what has not come about, say a promotion that its own, of another volume,
    // has made illegal meanwhile.
    const auto tell_peer = [this, peer_may_have_agreed] {
        if (peer_may_have_agreed && state_.conn >= ConnState::connected) send_state(state());
    };
    if (!wire::is_success(result)) {
        tell_peer();
        if (verbose && result != StateChangeResult::in_transient_state)
            log(LogLevel::error, "State change failed: {}", text_of(result));
        co_return;
    }
    // What was agreed is applied to the state as it is now; the wait for the peer may have changed it.
    const std::optional<State> then = with_request(state(), request);
    ensure(then.has_value());
    const StateChangeResult applied = change_state(*then, ChangeKind::wish, verbose);
    if (!wire::is_success(applied)) tell_peer();
    if (!wire::is_success(applied) || result == StateChangeResult::success) result = applied;
}

Task<> Device::ask_peer(StateChangeRequest request, StateChangeResult& result) {
    peer_answer_.reset();
    if (!core_.connection.link.send_packet(Channel::data, wire::Command::state_chg_req, wire_number(),
                                           request)) {
        result = StateChangeResult::cw_failed_by_peer;
        co_return;
    }
    for (;;) {
        if (peer_answer_) {
            const auto answer = static_cast<StateChangeResult>(*peer_answer_);
            if (!wire::is_success(answer))
                log(LogLevel::error, "State change was refused by peer node: ({}) {}", *peer_answer_,
                    text_of(answer));
            result = wire::is_success(answer) ? StateChangeResult::cw_success
                                              : StateChangeResult::cw_failed_by_peer;
            co_return;
        }
        const State now = state();
        const std::optional<State> wanted = with_request(now, request);
        ensure(wanted.has_value());
        const ChangeDecision decision = check_cluster_wide(now, *wanted, context());
        if (!wire::is_success(decision.result)) {
            result = decision.result;
            co_return;
        }
        if (!is_cluster_wide(now, decision.state)) {
            result = StateChangeResult::cw_no_need;
            co_return;
        }
        auto woken = core_.changed.wait();
        co_await woken;
    }
}

StateChangeResult Device::peer_requests_state(StateChangeRequest mirrored) {
    if (state_request_pending_ && core_.connection.resolver()) return StateChangeResult::concurrent_st_chg;
    const std::optional<State> wanted = with_request(state(), mirrored);
    if (!wanted) return StateChangeResult::not_supported;
    return change_state(*wanted, ChangeKind::wish);
}

void Device::peer_answered(int32_t code) {
    peer_answer_ = code;
    core_.notify();
}

}  // namespace duplex::engine
