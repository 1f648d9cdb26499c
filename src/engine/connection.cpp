#include "engine/connection.hpp"

#include <algorithm>

#include "engine/core.hpp"
#include "engine/sabotage.hpp"

namespace duplex::engine {

namespace {

constexpr uint64_t retry_pause_ms = 1000;

StateChangeRequest conn_request(ConnState conn) {
    return {wire::state_bits::conn_mask, static_cast<uint32_t>(conn) << wire::state_bits::conn_shift};
}

ConnState conn_of(StateChangeRequest request) {
    return static_cast<ConnState>((request.value & wire::state_bits::conn_mask) >>
                                  wire::state_bits::conn_shift);
}

}  // namespace

Connection::Connection(Core& core)
    : link(core.ports, core.packets, *this, core.executor),
      core_(core),
      request_timer_(*this),
      stand_still_timer_(*this) {}

Connection::~Connection() {
    core_.ports.clock.cancel(request_timer_);
    core_.ports.clock.cancel(stand_still_timer_);
}

void Connection::drop_procedures() {
    life_.reset();
    procedure_.reset();
}

void Connection::log_line(LogLevel level, std::string_view text) const {
    core_.ports.host.log(level, fmt::format("drbd {}: {}", core_.name, text));
}

// ---- state
// ---------------------------------------------------------------------------------------------------------

StateChangeResult Connection::change_state(StateChangeRequest request, ChangeKind kind, bool verbose) {
    const bool names_conn = (request.mask & wire::state_bits::conn_mask) != 0;
    return change_volumes(
        names_conn ? conn_of(request) : state_, [request](const Device&) { return request; }, kind, verbose);
}

StateChangeResult Connection::peer_requests_state(StateChangeRequest mirrored) {
    namespace bits = wire::state_bits;
    const bool outdates = (mirrored.mask & bits::disk_mask) != 0;
    const auto acceptable = [mirrored, outdates](const Device& device) {
        const bool below = outdates && device.state().disk < DiskState::outdated;
        const uint32_t kept = below ? ~bits::disk_mask : ~uint32_t{0};
        return StateChangeRequest{mirrored.mask & kept, mirrored.value & kept};
    };
    return change_volumes(conn_of(mirrored), acceptable, ChangeKind::wish, true);
}

// All volumes or none (states 2.1).
StateChangeResult Connection::change_volumes(ConnState conn, const Request& request, ChangeKind kind,
                                             bool verbose) {
    State own;
    own.conn = state_;
    State own_wanted = own;
    own_wanted.conn = conn;
    const StateChangeResult legal = hard_rule(own, own_wanted);
    if (!wire::is_success(legal)) return legal;
    std::vector<std::pair<Device*, ChangeDecision>> decisions;
    for (auto& [number, device] : core_.devices) {
        const std::optional<State> wanted = with_request(device->state(), request(*device));
        ensure(wanted.has_value());
        const ChangeDecision decision = check_change(device->state(), *wanted, device->context(), kind);
        if (!wire::is_success(decision.result)) {
            if (verbose && decision.result != StateChangeResult::in_transient_state)
                device->log(LogLevel::error, "State change failed: {}", text_of(decision.result));
            return decision.result;
        }
        decisions.emplace_back(device.get(), decision);
    }
    // The flags of suspended I/O are the resource's, whichever volume raises them.
    bool susp_nod = false, susp_fen = false;
    for (const auto& [device, decision] : decisions) {
        susp_nod |= decision.state.susp_nod;
        susp_fen |= decision.state.susp_fen;
    }
    for (auto& [device, decision] : decisions) {
        decision.state.susp_nod = susp_nod;
        decision.state.susp_fen = susp_fen;
    }
    log_change(conn, decisions);
    if (conn < ConnState::wf_report_params && state_ >= ConnState::wf_report_params) stop_receiving();
    state_ = conn;
    for (auto& [device, decision] : decisions)
        if (decision.result != StateChangeResult::nothing_to_do) device->apply_state(decision, false);
    core_.notify();
    core_.ports.host.changed(-1);
    return StateChangeResult::success;
}

// One line for the whole connection, as the kernel logs it (states 1.7).
void Connection::log_change(ConnState conn,
                            const std::vector<std::pair<Device*, ChangeDecision>>& decisions) const {
    std::string text;
    for (const auto& [device, decision] : decisions)
        if (text.empty() && decision.result != StateChangeResult::nothing_to_do)
            text = describe_change(device->state(), decision.state, true);
    if (text.empty() && conn != state_)
        text = fmt::format("conn( {} -> {} ) ", name_of(state_), name_of(conn));
    if (!text.empty()) log_line(LogLevel::info, text);
}

bool Connection::set_state(ConnState conn) {
    return wire::is_success(change_state(conn_request(conn), ChangeKind::fact));
}

// Nothing that arrives from now on counts; what is being received is forgotten.
void Connection::stop_receiving() {
    incoming_ = nullptr;
    incoming_read_ = nullptr;
    write_waits_ = waiting_for_room_ = false;
    retry_packet_ = nullptr;
    barrier_.reset();
    core_.ports.clock.cancel(stand_still_timer_);
}

void Connection::drop(ConnState why, const std::string& text) {
    if (state_ < ConnState::wf_connection) return;  // it is ending already
    log_line(LogLevel::error, text);
    set_state(why);
}

void Connection::go_stand_alone(const std::string& text) {
    if (state_ <= ConnState::disconnecting) return;
    log_line(LogLevel::error, text);
    no_agreement_ = state_sent_;
    set_state(ConnState::disconnecting);
}

void Connection::volume_settled() {
    for (const auto& [number, device] : core_.devices)
        if (device->state().conn == ConnState::wf_report_params) return;
    parameters_complete();
}

void Connection::parameters_complete() {
    if (!state_sent_) return;
    state_sent_ = false;
    core_.notify();
}

bool Connection::close_expected() {
    return disconnect_pending_;
}

void Connection::link_failed(ConnState why, const std::string& text) {
    if (handshaking_) {
        log_line(LogLevel::warning, text);
        handshake_broken_ = true;
        worth_retrying_ = why != ConnState::protocol_error || link.unreadable();
        core_.notify();
        return;
    }
    drop(why, text);
}

// ---- life (states 3.1)
// -----------------------------------------------------------------------------------------------

Task<> Connection::run() {
    bool stand_alone = false;
    while (!stand_alone && set_state(ConnState::wf_connection)) {
        Task<Outcome> establishing = establish();
        const Outcome outcome = co_await establishing;
        while (outcome == Outcome::established && state_ >= ConnState::wf_report_params) {
            auto woken = core_.changed.wait();
            co_await woken;
        }
        Task<> parting = part();
        co_await parting;
        link.close(state_ == ConnState::tear_down || state_ == ConnState::disconnecting);
        Task<> cleaning = clean_up();
        co_await cleaning;
        if (outcome == Outcome::established) core_.fencing.connection_lost();
        stand_alone = outcome == Outcome::stand_alone || stopping();
        if (stand_alone) break;
        if (outcome == Outcome::retry) {
            Task<> pausing = pause_before_retry();
            co_await pausing;
        }
        stand_alone = stopping() || !set_state(ConnState::unconnected);
    }
    if (state_ > ConnState::disconnecting) set_state(ConnState::disconnecting);
    log(LogLevel::info, "Connection closed");
    configured_ = false;
    set_state(ConnState::stand_alone);
}

// The peer is to find out for itself that there is no agreement, and call its handlers: what it was told must
// arrive before the end of the meta socket, which is for it a failure at once, and a reason to try again.
Task<> Connection::part() {
    if (!std::exchange(no_agreement_, false) || !link.is_open()) co_return;
    link.finish();
    Deadline over(core_.ports.clock, link.answered, options_.ping_timeout_ds * uint64_t{100});
    while (!over.passed() && !link.peer_has_closed()) {
        auto woken = link.answered.wait();
        co_await woken;
    }
}

Task<> Connection::pause_before_retry() {
    Deadline over(core_.ports.clock, core_.changed, retry_pause_ms);
    while (!over.passed() && !stopping()) {
        auto woken = core_.changed.wait();
        co_await woken;
    }
}

Task<Connection::Outcome> Connection::establish() {
    core_.ports.network.configure(
        command_.local, command_.peer,
        {options_.sndbuf_size_bytes, options_.rcvbuf_size_bytes, options_.tcp_cork},
        *(establisher_ = std::make_unique<Establisher>(core_.ports, core_.packets, options_, core_.changed,
                                                       [this] { return stopping(); })));
    Task<Establisher::Outcome> searching = establisher_->run();
    const Establisher::Outcome found = co_await searching;
    const SocketPair pair = establisher_->pair();
    if (found == Establisher::Outcome::local_error) log_line(LogLevel::error, establisher_->local_error());
    establisher_.reset();
    if (found == Establisher::Outcome::local_error) co_return Outcome::stand_alone;
    if (found == Establisher::Outcome::stopped) co_return Outcome::retry;

    resolver_ = pair.resolver;
    link.open(*pair.data, *pair.meta, options_);
    handshaking_ = true;
    handshake_broken_ = false;
    Task<Outcome> shaking = handshake();
    const Outcome outcome = co_await shaking;
    handshaking_ = false;
    if (outcome != Outcome::established) co_return outcome;
    if (handshake_broken_ || stopping()) co_return Outcome::retry;

    protocol_received_ = false;
    send_protocol();
    state_sent_ = true;
    transfer_log.connection_started();
    epoch_size_ = 0;
    epoch_dropped_ = epoch_flushed_ = false;
    for (auto& [number, device] : core_.devices) device->send_parameters();
    if (!set_state(ConnState::wf_report_params)) co_return Outcome::retry;
    if (core_.devices.empty()) state_sent_ = false;
    command_.discard_my_data = false;
    established_ms_ = core_.ports.clock.now_ms();
    core_.ports.clock.arm(request_timer_, request_check_ms);
    link.resume(Channel::data);
    link.resume(Channel::meta);
    co_return Outcome::established;
}

// States 3.6. The order matters: the new current UUID is on stable storage (the worker has run empty) before
// the writes that waited for the peer complete; nothing of the old connection is at a disk when the next one
// starts.
Task<> Connection::clean_up() {
    core_.ports.clock.cancel(request_timer_);
    disconnect_answer_.reset();
    state_sent_ = false;
    while (!core_.worker.idle() && !sabotage::new_generation) {
        auto idle = core_.worker.became_idle.wait();
        co_await idle;
    }
    // With two Primaries the order of what both have written is not known any more.
    if (core_.susp_fen && !core_.susp_nod && !two_primaries())
        freeze_transfer_log();
    else
        clean_transfer_log();
    for (;;) {
        bool quiet = !procedure_running_ && flushes_pending_ == 0;
        for (const auto& [number, device] : core_.devices) quiet &= device->peer.quiet();
        if (quiet) break;
        auto woken = core_.changed.wait();
        co_await woken;
    }
    for (auto& [number, device] : core_.devices) {
        device->forget_unanswered();
        device->peer_uuids.reset();
        device->compared_uuids.reset();
    }
    epoch_size_ = 0;
    agreed_protocol_ = 0;
    for (Device* device : core_.all_devices()) {
        Task<int> bitmap_written = device->write_bitmap();
        co_await bitmap_written;
        Task<int> superblock_written = device->write_superblock();
        co_await superblock_written;
    }
}

// ---- commands
// ------------------------------------------------------------------------------------------------------

namespace {

// States 3.5. 0 if the options go together.
int conflict_in(const config::NetOptions& options, const Core& core) {
    if (options.allow_two_primaries && options.protocol != config::Protocol::c)
        return error_code::need_protocol_c;
    if (options.on_congestion != config::OnCongestion::block && options.protocol != config::Protocol::a)
        return error_code::congestion_not_protocol_a;
    for (const auto& [number, device] : core.devices)
        if (device->disk && stonith_with_protocol_a(device->disk->options, options))
            return error_code::stonith_and_protocol_a;
    const auto unknown = [](const std::string& name) { return !name.empty() && !digest_from_name(name); };
    if (unknown(options.cram_hmac_alg)) return error_code::auth_alg;
    if (!options.cram_hmac_alg.empty() && !can_hmac(*digest_from_name(options.cram_hmac_alg)))
        return error_code::auth_alg_not_digest;
    if (unknown(options.data_integrity_alg)) return error_code::integrity_alg;
    if (unknown(options.verify_alg)) return error_code::verify_alg;
    if (unknown(options.csums_alg)) return error_code::csums_alg;
    return 0;
}

}  // namespace

Task<Reply> Connection::connect(ConnectCommand command) {
    if (state_ > ConnState::stand_alone || (life_ && !life_->done()))
        co_return Reply{error_code::net_configured, {}};
    const int conflict = conflict_in(command.options, core_);
    if (conflict) co_return Reply{conflict, {}};
    for (const auto& [number, device] : core_.devices)
        if (command.discard_my_data && device->state().role == Role::primary)
            co_return Reply{error_code::discard_impossible, {}};
    command_ = command;
    options_ = command.options;
    configured_ = true;
    const bool started = set_state(ConnState::unconnected);
    ensure(started);
    life_.emplace(run());
    co_return Reply{};
}

Task<Reply> Connection::disconnect(bool force) {
    StateChangeResult result = StateChangeResult::already_stand_alone;
    if (force) {
        result = change_state(conn_request(ConnState::disconnecting), ChangeKind::fact);
    } else {
        Task<StateChangeResult> asked = disconnect_politely();
        result = co_await asked;
    }
    if (result == StateChangeResult::already_stand_alone) co_return Reply{};
    if (!wire::is_success(result)) co_return Reply{static_cast<int>(result), {}};
    while (state_ != ConnState::stand_alone) {
        auto woken = core_.changed.wait();
        co_await woken;
    }
    co_return Reply{};
}

// States 3.4.
Task<StateChangeResult> Connection::disconnect_politely() {
    using wire::StateChangeKind;
    for (;;) {
        Task<StateChangeResult> plain = request_disconnect(wire::request_for(StateChangeKind::disconnect));
        StateChangeResult result = co_await plain;
        if (result == StateChangeResult::primary_nop) {
            Task<StateChangeResult> outdating =
                request_disconnect(wire::request_for(StateChangeKind::disconnect_peer_outdated));
            result = co_await outdating;
            if (result == StateChangeResult::outdate_wo_conn)
                result = change_state(conn_request(ConnState::disconnecting), ChangeKind::wish);
            co_return result;
        }
        if (result != StateChangeResult::cw_failed_by_peer) co_return result;
        if (state_ <= ConnState::wf_connection) continue;
        Task<StateChangeResult> outdated =
            request_disconnect(wire::request_for(StateChangeKind::disconnect_self_outdated));
        result = co_await outdated;
        if (result == StateChangeResult::is_diskless || result == StateChangeResult::lower_than_outdated)
            result = change_state(conn_request(ConnState::disconnecting), ChangeKind::fact);
        co_return result;
    }
}

Task<StateChangeResult> Connection::request_disconnect(StateChangeRequest request) {
    while (disconnect_pending_ || state_sent_) {  // in transition: the next change tells more
        auto woken = core_.changed.wait();
        co_await woken;
    }
    while (state_ < ConnState::wf_report_params) {
        const StateChangeResult result = change_state(request, ChangeKind::wish);
        if (result != StateChangeResult::in_transient_state) co_return result;
        auto woken = core_.changed.wait();
        co_await woken;
    }
    for (auto& [number, device] : core_.devices) {
        const std::optional<State> wanted = with_request(device->state(), request);
        ensure(wanted.has_value());
        const ChangeDecision decision =
            check_change(device->state(), *wanted, device->context(), ChangeKind::wish);
        if (!wire::is_success(decision.result)) co_return decision.result;
    }
    disconnect_answer_.reset();
    disconnect_pending_ = true;
    const bool sent = link.send_packet(Channel::data, wire::Command::conn_st_chg_req, 0, request);
    while (sent && !disconnect_answer_ && state_ >= ConnState::wf_report_params) {
        auto woken = core_.changed.wait();
        co_await woken;
    }
    disconnect_pending_ = false;
    core_.notify();
    if (disconnect_answer_ && *disconnect_answer_ < 1) {
        log(LogLevel::warning, "the peer refuses to disconnect: {}",
            text_of(static_cast<StateChangeResult>(*disconnect_answer_)));
        co_return StateChangeResult::cw_failed_by_peer;
    }
    co_return change_state(request, ChangeKind::wish);
}

Task<Reply> Connection::change_options(config::NetOptions options) {
    const int conflict = conflict_in(options, core_);
    if (conflict) co_return Reply{conflict, {}};
    if (options_.allow_two_primaries && !options.allow_two_primaries) {
        bool here = false, there = false;
        for (const auto& [number, device] : core_.devices) {
            here |= device->state().role == Role::primary;
            there |= device->state().peer == Role::primary;
        }
        if (here && there) co_return Reply{error_code::need_allow_two_primaries, {}};
    }
    for (const auto& [number, device] : core_.devices) {
        const ConnState conn = device->state().conn;
        const bool busy = conn >= ConnState::sync_source && conn <= ConnState::paused_sync_t;
        if (busy && !is_verify(conn) && options.csums_alg != options_.csums_alg)
            co_return Reply{error_code::csums_during_resync, {}};
        if (is_verify(conn) && options.verify_alg != options_.verify_alg)
            co_return Reply{error_code::verify_running, {}};
    }
    options_ = options;
    link.set_times(options);
    if (established()) {
        send_protocol_update();
        for (auto& [number, device] : core_.devices) device->send_sync_param();
    }
    core_.ports.host.changed(-1);
    co_return Reply{};
}

ConnectionStatus Connection::status() const {
    ConnectionStatus s;
    s.state = state_;
    s.configured = configured_;
    s.local = command_.local;
    s.peer = command_.peer;
    s.options = options_;
    s.agreed_protocol = established() ? agreed_protocol_ : 0;
    s.features = established() ? features_ : 0;
    return s;
}

}  // namespace duplex::engine
