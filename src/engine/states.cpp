#include "engine/states.hpp"

#include <array>
#include <initializer_list>

#include <fmt/format.h>

#include "base/ensure.hpp"
#include "meta/superblock.hpp"

namespace duplex::engine {

namespace {

using config::Fencing;
using config::OnNoData;
using Result = StateChangeResult;

using enum ConnState;
// The disk states by name; `d_unknown` and the rest do not collide with the connection states.
using enum DiskState;

constexpr bool is_one_of(ConnState conn, std::initializer_list<ConnState> list) {
    for (const ConnState entry : list)
        if (conn == entry) return true;
    return false;
}

constexpr bool is_starting_sync(ConnState conn) {
    return conn == starting_sync_s || conn == starting_sync_t;
}

// The states 3..7: the connection is lost, and this is why.
constexpr bool is_loss(ConnState conn) {
    return conn >= timeout && conn <= tear_down;
}

constexpr bool is_primary(const State& state) {
    return state.role == Role::primary;
}

// Deviation from the kernel: an outdated disk stays one before a Secondary without a disk, which has no
// generation to compare and no users who have seen data (invariant I12; docs/compatibility.md). A Primary
// without one has compared, with what its users have seen.
constexpr bool says_whose_data(DiskState disk, Role role) {
    return disk >= inconsistent || role == Role::primary;
}

}  // namespace

Fencing effective_fencing(Fencing policy, DiskState current_disk) {
    return current_disk >= inconsistent ? policy : Fencing::dont_care;
}

// ---- 2.3 --------------------------------------------------------------------------------------------------

namespace {

Result hard_conn_rule(ConnState from, ConnState to) {
    if (to == from) return Result::nothing_to_do;
    if (from == stand_alone && to == disconnecting) return Result::already_stand_alone;
    if (from == stand_alone && to != unconnected) return Result::need_connection;
    if (from < wf_report_params && to >= connected) return Result::need_connection;
    if (is_loss(from) && to != unconnected && to != disconnecting) return Result::in_transient_state;
    if (from == disconnecting && to != stand_alone) return Result::in_transient_state;
    return Result::success;
}

}  // namespace

Result hard_rule(const State& old_state, const State& new_state) {
    if (old_state.disk == diskless && new_state.disk == failed) return Result::is_diskless;
    return hard_conn_rule(old_state.conn, new_state.conn);
}

// ---- 2.4 --------------------------------------------------------------------------------------------------

namespace {

struct StateRule {
    bool (*applies)(const State& s, const StateContext& c);
    Result result;
};

// States 2.4 a, row by row; the first that applies decides.
constexpr std::array<StateRule, 14> state_rules{{
    // 1
    {[](const State& s, const StateContext& c) {
         return c.net_configured && !c.allow_two_primaries && is_primary(s) && s.peer == Role::primary;
     },
     Result::two_primaries},
    // 2
    {[](const State& s, const StateContext& c) {
         return c.net_configured && !c.allow_two_primaries && is_primary(s) && c.peer_primary_on_other_volume;
     },
     Result::o_vol_peer_pri},
    // 3
    {[](const State& s, const StateContext& c) { return s.role == Role::secondary && c.device_open; },
     Result::device_in_use},
    // 4
    {[](const State& s, const StateContext&) {
         return is_primary(s) && s.conn < connected && s.disk < up_to_date;
     },
     Result::no_up_to_date_disk},
    // 5
    {[](const State& s, const StateContext& c) {
         return c.fencing >= Fencing::resource_only && is_primary(s) && s.conn < connected &&
                s.pdsk >= d_unknown;
     },
     Result::primary_nop},
    // 6
    {[](const State& s, const StateContext&) {
         return is_primary(s) && s.disk <= inconsistent && s.pdsk <= inconsistent;
     },
     Result::no_up_to_date_disk},
    // 7
    {[](const State& s, const StateContext&) { return s.conn > connected && s.disk < inconsistent; },
     Result::no_local_disk},
    // 8
    {[](const State& s, const StateContext&) { return s.conn > connected && s.pdsk < inconsistent; },
     Result::no_remote_disk},
    // 9
    {[](const State& s, const StateContext&) {
         return s.conn > connected && s.disk < up_to_date && s.pdsk < up_to_date;
     },
     Result::no_up_to_date_disk},
    // 10
    {[](const State& s, const StateContext&) {
         return is_one_of(s.conn, {connected, wf_bitmap_s, sync_source, paused_sync_s}) &&
                s.disk == outdated && says_whose_data(s.pdsk, s.peer);
     },
     Result::connected_outdates},
    // 11
    {[](const State& s, const StateContext& c) {
         return c.net_configured && is_verify(s.conn) && !c.verify_alg_set;
     },
     Result::no_verify_alg},
    // 12 concerns protocols before 88: none is agreed that old.
    // 13
    {[](const State& s, const StateContext&) {
         return is_primary(s) && s.disk < up_to_date && s.pdsk < up_to_date;
     },
     Result::no_up_to_date_disk},
    // 14
    {[](const State& s, const StateContext&) { return is_starting_sync(s.conn) && s.pdsk == d_unknown; },
     Result::need_connection},
    // 15
    {[](const State& s, const StateContext&) { return s.conn >= connected && s.pdsk == d_unknown; },
     Result::connected_outdates},
}};
static_assert(wire::protocol_min >= 88);

struct SoftRule {
    bool (*applies)(const State& o, const State& n, const StateContext& c);
    Result result;
};

// States 2.4 b, row by row; the last that applies decides.
constexpr std::array<SoftRule, 14> soft_rules{{
    // 1
    {[](const State& o, const State& n, const StateContext&) {
         return is_starting_sync(n.conn) && o.conn > connected;
     },
     Result::resync_running},
    // 2
    {[](const State& o, const State& n, const StateContext&) {
         return n.conn == disconnecting && o.conn == stand_alone;
     },
     Result::already_stand_alone},
    // 3
    {[](const State& o, const State& n, const StateContext&) {
         return o.disk == diskless && n.disk > attaching;
     },
     Result::is_diskless},
    // 4
    {[](const State& o, const State& n, const StateContext&) {
         return n.conn == wf_connection && o.conn < unconnected;
     },
     Result::no_net_config},
    // 5
    {[](const State& o, const State& n, const StateContext&) {
         return n.disk == outdated && o.disk < outdated && o.disk != attaching;
     },
     Result::lower_than_outdated},
    // 6
    {[](const State& o, const State& n, const StateContext&) {
         return n.conn == disconnecting && o.conn == unconnected;
     },
     Result::in_transient_state},
    // 7
    {[](const State& o, const State& n, const StateContext& c) {
         const bool establishing = (o.conn == wf_connection && n.conn == wf_report_params) ||
                                   (o.conn == wf_report_params && n.conn >= connected);
         return c.state_sent && !establishing;
     },
     Result::in_transient_state},
    // 8
    {[](const State& o, const State& n, const StateContext&) {
         return !is_primary(o) && is_primary(n) && n.pdsk == up_to_date && n.disk != up_to_date &&
                n.disk != diskless && (n.conn <= wf_sync_uuid || n.conn != o.conn);
     },
     Result::in_transient_state},
    // 9
    {[](const State& o, const State& n, const StateContext&) {
         return is_verify(n.conn) && o.conn < connected;
     },
     Result::need_connection},
    // 10
    {[](const State& o, const State& n, const StateContext&) {
         return is_verify(n.conn) && n.conn != o.conn && o.conn > connected;
     },
     Result::resync_running},
    // 11
    {[](const State& o, const State& n, const StateContext&) {
         return is_starting_sync(n.conn) && o.conn < connected;
     },
     Result::need_connection},
    // 12
    {[](const State& o, const State& n, const StateContext&) {
         return (n.conn == sync_source || n.conn == sync_target) && o.conn < wf_report_params;
     },
     Result::need_connection},
    // 13
    {[](const State& o, const State& n, const StateContext&) {
         return n.conn == disconnecting && n.pdsk == outdated && o.conn < connected && o.pdsk > outdated;
     },
     Result::outdate_wo_conn},
    // Not in states 2.4: nobody without a disk becomes Primary over one that stayed Outdated before it (S5).
    {[](const State& o, const State& n, const StateContext&) {
         const bool own = !is_primary(o) && is_primary(n) && o.disk < inconsistent && o.pdsk == outdated;
         const bool peers = o.peer == Role::secondary && n.peer == Role::primary && o.pdsk < inconsistent &&
                            o.disk == outdated;
         return n.conn >= connected && o.conn >= connected && (own || peers);
     },
     Result::no_up_to_date_disk},
}};

}  // namespace

Result state_rule(const State& state, const StateContext& context) {
    for (const StateRule& rule : state_rules)
        if (rule.applies(state, context)) return rule.result;
    return Result::success;
}

Result soft_rule(const State& old_state, const State& new_state, const StateContext& context) {
    Result result = Result::success;
    for (const SoftRule& rule : soft_rules)
        if (rule.applies(old_state, new_state, context)) result = rule.result;
    return result;
}

// ---- 2.5 --------------------------------------------------------------------------------------------------

namespace {

struct Window {
    DiskState disk_min, disk_max, pdsk_min, pdsk_max;
};

// States 2.5, table of S6.
constexpr Window window_of(ConnState conn) {
    switch (conn) {
        case stand_alone:
        case disconnecting:
        case unconnected:
        case timeout:
        case broken_pipe:
        case network_failure:
        case protocol_error:
        case tear_down:
        case wf_connection:
        case wf_report_params:
            return {diskless, up_to_date, inconsistent, d_unknown};
        case connected:
            return {diskless, up_to_date, diskless, up_to_date};
        case starting_sync_t:
        case wf_bitmap_t:
        case wf_sync_uuid:
        case paused_sync_t:
        case behind:
            return {inconsistent, outdated, up_to_date, up_to_date};
        case starting_sync_s:
        case wf_bitmap_s:
        case paused_sync_s:
        case ahead:
            return {up_to_date, up_to_date, inconsistent, consistent};
        case sync_target:
            return {inconsistent, inconsistent, up_to_date, up_to_date};
        case sync_source:
            return {up_to_date, up_to_date, inconsistent, inconsistent};
        case verify_s:
        case verify_t:
            return {up_to_date, up_to_date, up_to_date, up_to_date};
    }
    ensure(false);
}

// Which of the two disks holds stale data in this state, if any.
enum class Stale : uint8_t { none, own, peers };

constexpr Stale stale_side(ConnState conn) {
    if (is_one_of(conn, {starting_sync_t, wf_bitmap_t, wf_sync_uuid, sync_target, paused_sync_t, behind}))
        return Stale::own;
    if (is_one_of(conn, {starting_sync_s, wf_bitmap_s, sync_source, paused_sync_s, ahead}))
        return Stale::peers;
    return Stale::none;
}

class Sanitiser {
  public:
    Sanitiser(const State& old_state, const State& wanted, const StateContext& context)
        : o_(old_state), n_(wanted), context_(context) {}

    Sanitised run() {
        s1_no_view_of_the_peer();
        s3_no_resync_without_disk();
        s4_negotiation_cut_short();
        s2_no_dependency();  // after S4, which can end Diskless: else no fixed point (invariant I1 of states
                             // 22)
        s5_connected_is_current();
        s6_window();
        s7_freeze_for_fencing();
        s8_freeze_without_data();
        s9_pause();
        return {n_, warning_};
    }

  private:
    void s1_no_view_of_the_peer() {
        if (n_.conn >= connected) return;
        n_.peer_isp = false;
        n_.peer = Role::unknown;
        if (n_.pdsk > d_unknown || n_.pdsk < inconsistent) n_.pdsk = d_unknown;
    }

    void s2_no_dependency() {
        if (n_.conn == stand_alone && n_.disk == diskless && n_.role == Role::secondary) n_.aftr_isp = false;
    }

    void s3_no_resync_without_disk() {
        // Deviation from the kernel, where S6 would call a peer's disk that lacks a write UpToDate for as
        // long as a verify runs.
        const bool peer_lacks_data = is_verify(o_.conn) && is_verify(n_.conn) && n_.pdsk < up_to_date;
        if (n_.conn <= connected || (n_.disk > failed && n_.pdsk > failed && !peer_lacks_data)) return;
        warning_ = is_verify(o_.conn) ? SanitiseWarning::aborted_verify : SanitiseWarning::aborted_resync;
        // Deviation from the kernel, where S5 would now call the stale disk UpToDate because the good one
        // went away before the resync proper, and a Primary would go on with old data (states 2.5, last but
        // one hazard). Its data are good for nothing without the rest of the good ones: Inconsistent.
        const Stale stale = stale_side(n_.conn);
        if (stale == Stale::own && n_.disk > inconsistent) n_.disk = inconsistent;
        if (stale == Stale::peers && n_.pdsk > inconsistent) n_.pdsk = inconsistent;
        n_.conn = connected;
    }

    void s4_negotiation_cut_short() {
        if (n_.conn >= connected || n_.disk != negotiating) return;
        if (context_.exposed_data_is_current) {
            n_.disk = context_.prepared_disk;
            n_.pdsk = context_.prepared_pdsk;
        } else {
            warning_ = SanitiseWarning::connection_lost_while_negotiating;
            n_.disk = diskless;
            n_.pdsk = d_unknown;
        }
    }

    void s5_connected_is_current() {
        if (n_.conn < connected || n_.conn >= ahead) return;
        const bool peer_tells = n_.conn > connected || says_whose_data(n_.pdsk, n_.peer);
        const bool own_tells = n_.conn > connected || says_whose_data(n_.disk, n_.role);
        if (n_.disk == consistent || (n_.disk == outdated && peer_tells)) n_.disk = up_to_date;
        if (n_.pdsk == consistent || (n_.pdsk == outdated && own_tells)) n_.pdsk = up_to_date;
    }

    void s6_window() {
        const Window window = window_of(n_.conn);
        if (n_.disk > window.disk_max) n_.disk = window.disk_max;
        if (n_.disk < window.disk_min) {
            n_.disk = window.disk_min;
            if (n_.disk > o_.disk) warning_ = SanitiseWarning::implicitly_upgraded_disk;
        }
        if (n_.pdsk > window.pdsk_max) n_.pdsk = window.pdsk_max;
        if (n_.pdsk < window.pdsk_min) {
            n_.pdsk = window.pdsk_min;
            if (n_.pdsk > o_.pdsk) warning_ = SanitiseWarning::implicitly_upgraded_pdsk;
        }
    }

    void s7_freeze_for_fencing() {
        const auto applies = [](const State& s) {
            return is_primary(s) && s.conn < connected && s.pdsk > outdated;
        };
        if (context_.fencing == Fencing::resource_and_stonith && applies(n_) && !applies(o_))
            n_.susp_fen = true;
    }

    void s8_freeze_without_data() {
        const auto applies = [](const State& s) {
            return is_primary(s) && s.disk < up_to_date && s.pdsk < up_to_date;
        };
        if (context_.on_no_data == OnNoData::suspend_io && applies(n_) && !applies(o_)) n_.susp_nod = true;
    }

    void s9_pause() {
        if (has_isp(n_)) {
            if (n_.conn == sync_source) n_.conn = paused_sync_s;
            if (n_.conn == sync_target) n_.conn = paused_sync_t;
            return;
        }
        if (n_.conn != paused_sync_s && n_.conn != paused_sync_t) return;
        n_.conn = n_.conn == paused_sync_s ? sync_source : sync_target;
        // The window of the running state is the narrower one; without this the new state would be no fixed
        // point of these rules (invariant I1 of states 22).
        s6_window();
    }

    const State& o_;
    State n_;
    const StateContext& context_;
    SanitiseWarning warning_ = SanitiseWarning::none;
};

// Deviation from the kernel (states 2.5, hazard of invalidate-remote and verify): S6 would silently call the
// source of the new resync, or both sides of a verify, UpToDate. Whoever asks, this node or the peer, a
// resync needs a source that is UpToDate, unless both disks are Inconsistent (the way to start the initial
// sync), and a verify needs two disks that are.
Result no_upgrade_rule(const State& old_state, const State& wanted) {
    if (old_state.conn != connected) return Result::success;
    const bool both_inconsistent = old_state.disk == inconsistent && old_state.pdsk == inconsistent;
    bool allowed = true;
    if (wanted.conn == starting_sync_s) allowed = old_state.disk == up_to_date || both_inconsistent;
    if (wanted.conn == starting_sync_t) allowed = old_state.pdsk == up_to_date || both_inconsistent;
    if (is_verify(wanted.conn)) allowed = old_state.disk == up_to_date && old_state.pdsk == up_to_date;
    return allowed ? Result::success : Result::no_up_to_date_disk;
}

}  // namespace

std::string_view text_of(SanitiseWarning warning) {
    switch (warning) {
        case SanitiseWarning::none:
            return "";
        case SanitiseWarning::aborted_resync:
            return "Resync aborted.";
        case SanitiseWarning::aborted_verify:
            return "Online-verify aborted.";
        case SanitiseWarning::connection_lost_while_negotiating:
            return "Connection lost while negotiating, no data!";
        case SanitiseWarning::implicitly_upgraded_disk:
            return "Implicitly upgraded disk";
        case SanitiseWarning::implicitly_upgraded_pdsk:
            return "Implicitly upgraded pdsk";
    }
    ensure(false);
}

Sanitised sanitise(const State& old_state, const State& wanted, const StateContext& context) {
    return Sanitiser(old_state, wanted, context).run();
}

// ---- 2.2 --------------------------------------------------------------------------------------------------

namespace {

// What is left of 2.2 and of the check in 2.6 once the state rule has been asked.
enum class OldStateCounts : bool { no, yes };

ChangeDecision check(const State& old_state, const State& wanted, const StateContext& context,
                     ChangeKind kind, OldStateCounts old_counts) {
    const Sanitised sanitised = sanitise(old_state, wanted, context);
    const State& new_state = sanitised.state;
    const auto decide = [&](Result result) { return ChangeDecision{result, new_state, sanitised.warning}; };

    if (kind == ChangeKind::wish) {
        const Result upgrade = no_upgrade_rule(old_state, wanted);
        if (!wire::is_success(upgrade)) return decide(upgrade);
    }
    if (new_state == old_state) return decide(Result::nothing_to_do);
    const Result hard = hard_rule(old_state, new_state);
    if (!wire::is_success(hard)) return decide(hard);
    if (kind == ChangeKind::fact) return decide(Result::success);

    const Result state = state_rule(new_state, context);
    const bool tolerated = old_counts == OldStateCounts::yes && state_rule(old_state, context) == state;
    if (!wire::is_success(state) && !tolerated) return decide(state);
    return decide(soft_rule(old_state, new_state, context));
}

}  // namespace

ChangeDecision check_change(const State& old_state, const State& wanted, const StateContext& context,
                            ChangeKind kind) {
    return check(old_state, wanted, context, kind, OldStateCounts::yes);
}

ChangeDecision check_cluster_wide(const State& old_state, const State& wanted, const StateContext& context) {
    return check(old_state, wanted, context, ChangeKind::wish, OldStateCounts::no);
}

// ---- 2.6 --------------------------------------------------------------------------------------------------

std::optional<State> with_request(const State& old_state, StateChangeRequest request) {
    return State::unpack((old_state.pack() & ~request.mask) | request.value);
}

namespace {

uint32_t mirrored_word(uint32_t word) {
    namespace b = wire::state_bits;
    constexpr uint32_t fields = b::role_mask | b::peer_mask | b::conn_mask | b::disk_mask | b::pdsk_mask;
    const bool paused = (word & (b::aftr_isp | b::user_isp)) != 0;
    return (wire::in_peers_view(word) & fields) | (paused ? b::peer_isp : 0);
}

}  // namespace

StateChangeRequest mirror(StateChangeRequest request) {
    return {mirrored_word(request.mask), mirrored_word(request.value)};
}

bool is_cluster_wide(const State& old_state, const State& new_state) {
    const auto entered = [&](ConnState conn) { return new_state.conn == conn && old_state.conn != conn; };
    if (old_state.conn >= connected && new_state.conn >= connected) {
        if (!is_primary(old_state) && is_primary(new_state)) return true;
        if (entered(starting_sync_t) || entered(starting_sync_s)) return true;
        if (new_state.disk == failed && old_state.disk != failed) return true;
    }
    if (old_state.conn >= connected && new_state.conn == disconnecting) return true;
    return old_state.conn == connected && (new_state.conn == verify_s || new_state.conn == wf_report_params);
}

// ---- 2.7, 4.2, 5.6 ----------------------------------------------------------------------------------------

uint32_t superblock_flags(const State& state, bool crashed_primary, uint32_t old_flags) {
    namespace flag = meta::flag;
    ensure(state.disk >= inconsistent);
    const bool diskless_primary_peer = state.pdsk < inconsistent && state.peer == Role::primary;

    const struct {
        uint32_t bit;
        bool set;
    } rows[] = {
        {flag::consistent, state.disk > inconsistent},
        {flag::was_up_to_date, state.disk > outdated},
        {flag::primary_ind, is_primary(state) || diskless_primary_peer},
        {flag::connected_ind, state.conn > wf_report_params},
        {flag::peer_out_dated, inconsistent <= state.pdsk && state.pdsk <= outdated},
        {flag::crashed_primary, crashed_primary},
        {flag::al_clean, false},
    };
    uint32_t flags = old_flags;
    for (const auto& row : rows) flags = row.set ? flags | row.bit : flags & ~row.bit;
    return flags;
}

bool contact_to_peer_data_lost(DiskState old_pdsk, DiskState new_pdsk) {
    const auto has_data = [](DiskState pdsk) {
        return pdsk >= inconsistent && pdsk != d_unknown && pdsk != outdated;
    };
    if (has_data(old_pdsk) && !has_data(new_pdsk)) return true;
    return old_pdsk == d_unknown && (new_pdsk == diskless || new_pdsk == failed || new_pdsk == outdated);
}

AttachedState state_at_attach(uint32_t superblock_flags, Fencing policy, DiskState pdsk) {
    namespace flag = meta::flag;
    const auto has = [&](uint32_t bit) { return (superblock_flags & bit) != 0; };
    const bool peer_outdated = has(flag::peer_out_dated);
    const DiskState seen_pdsk = peer_outdated ? outdated : pdsk;
    if (!has(flag::consistent)) return {inconsistent, seen_pdsk};
    if (!has(flag::was_up_to_date)) return {outdated, seen_pdsk};
    if (peer_outdated || policy == Fencing::dont_care) return {up_to_date, seen_pdsk};
    return {consistent, seen_pdsk};
}

// ---- 1.7 --------------------------------------------------------------------------------------------------

std::string describe_change(const State& old_state, const State& new_state, bool connection_wide) {
    std::string text;
    const auto named = [&](std::string_view field, auto from, auto to) {
        if (from != to) text += fmt::format("{}( {} -> {} ) ", field, wire::name_of(from), wire::name_of(to));
    };
    const auto flag = [&](std::string_view field, bool from, bool to) {
        if (from != to) text += fmt::format("{}( {:d} -> {:d} ) ", field, from, to);
    };
    named("role", old_state.role, new_state.role);
    named("peer", old_state.peer, new_state.peer);
    named("conn", old_state.conn, new_state.conn);
    named("disk", old_state.disk, new_state.disk);
    named("pdsk", old_state.pdsk, new_state.pdsk);
    flag("aftr_isp", old_state.aftr_isp, new_state.aftr_isp);
    flag("peer_isp", old_state.peer_isp, new_state.peer_isp);
    flag("user_isp", old_state.user_isp, new_state.user_isp);
    if (connection_wide) flag("susp", is_suspended(old_state), is_suspended(new_state));
    return text;
}

std::string describe(const State& state) {
    const auto mark = [](bool set, char letter) { return set ? letter : '-'; };
    return fmt::format("{{ cs:{} ro:{}/{} ds:{}/{} {}{}{}{}{}{} }}", wire::name_of(state.conn),
                       wire::name_of(state.role), wire::name_of(state.peer), wire::name_of(state.disk),
                       wire::name_of(state.pdsk), is_suspended(state) ? 's' : 'r', mark(state.aftr_isp, 'a'),
                       mark(state.peer_isp, 'p'), mark(state.user_isp, 'u'), mark(state.susp_fen, 'F'),
                       mark(state.susp_nod, 'N'));
}

}  // namespace duplex::engine
