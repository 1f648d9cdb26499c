// The rules of the state word: which states a volume can be in, which steps are allowed, what a wanted state
// is turned into, what a step means for the peer and for the superblock. Pure tables, numbered as in the
// specification (states 2.3 to 2.7, 4.2, 5.6, 9.3); where Duplex deviates from the kernel on purpose, the
// comment says so.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "config/options.hpp"
#include "wire/packet.hpp"
#include "wire/state.hpp"
#include "wire/state_change.hpp"

namespace duplex::engine {

using wire::ConnState;
using wire::DiskState;
using wire::Role;
using wire::State;
using wire::StateChangeRequest;
using wire::StateChangeResult;

// What the rules need to know besides the state word itself.
struct StateContext {
    // As effective: see effective_fencing().
    config::Fencing fencing = config::Fencing::dont_care;
    config::OnNoData on_no_data = config::OnNoData::io_error;
    bool net_configured = false;
    bool allow_two_primaries = false;
    bool verify_alg_set = false;
    bool peer_primary_on_other_volume = false;
    bool device_open = false;
    // The parameters of a new connection are being exchanged (states 1.6, state_sent).
    bool state_sent = false;
    // S4: the disk has the data that users have seen. (The kernel compares bit 0, too, but has just copied
    // it.)
    bool exposed_data_is_current = false;
    // S4: what attach prepared for the time after the negotiation (4.2, items 7 and 9).
    DiskState prepared_disk = DiskState::diskless;
    DiskState prepared_pdsk = DiskState::d_unknown;
};

// The volume's policy counts only while its disk, as it is now, is Inconsistent or better (states 2.4).
config::Fencing effective_fencing(config::Fencing policy, DiskState current_disk);

// ---- the rules --------------------------------------------------------------------------------------------

// States 2.3: holds for facts, too. nothing_to_do (positive) when conn does not change.
StateChangeResult hard_rule(const State& old_state, const State& new_state);
// States 2.4 a: is the state acceptable as such?
StateChangeResult state_rule(const State& state, const StateContext& context);
// States 2.4 b: is the step acceptable as a request?
StateChangeResult soft_rule(const State& old_state, const State& new_state, const StateContext& context);

// What sanitising did beyond the obvious; worth a line in the log.
enum class SanitiseWarning : uint8_t {
    none,
    aborted_resync,
    aborted_verify,
    connection_lost_while_negotiating,  // and there are no data: the attach ends Diskless
    implicitly_upgraded_disk,
    implicitly_upgraded_pdsk,
};
std::string_view text_of(SanitiseWarning warning);  // the log line, without prefix; empty for none

struct Sanitised {
    State state;
    SanitiseWarning warning = SanitiseWarning::none;
};
// States 2.5.
Sanitised sanitise(const State& old_state, const State& wanted, const StateContext& context);

// A fact is applied whatever the soft rules say (CS_HARD); a wish can be refused.
enum class ChangeKind : uint8_t { wish, fact };

struct ChangeDecision {
    // nothing_to_do: state equals the old state. Any error: state is the refused, sanitised state.
    // success: apply `state`.
    StateChangeResult result = StateChangeResult::nothing_to_do;
    State state;
    SanitiseWarning warning = SanitiseWarning::none;
};
// States 2.2, the part before the change is stored.
ChangeDecision check_change(const State& old_state, const State& wanted, const StateContext& context,
                            ChangeKind kind);
// States 2.6, the requester's check before P_STATE_CHG_REQ: as check_change() for a wish, but the new state
// must satisfy state_rule() even if the old one did not.
ChangeDecision check_cluster_wide(const State& old_state, const State& wanted, const StateContext& context);

// ---- requests ---------------------------------------------------------------------------------------------

// (old and not mask) or value; nullopt when that is no state (wire protocol 17.3).
std::optional<State> with_request(const State& old_state, StateChangeRequest request);
// The peer's request in our view: role and peer, disk and pdsk change places, conn is translated, a pause of
// the peer becomes peer_isp; the suspend flags are dropped (states 2.6).
StateChangeRequest mirror(StateChangeRequest request);
// Must the peer agree before this step, taken by a volume request? Both states sanitised (states 2.6).
bool is_cluster_wide(const State& old_state, const State& new_state);

// ---- consequences -----------------------------------------------------------------------------------------

constexpr bool is_verify(ConnState conn) {
    return conn == ConnState::verify_s || conn == ConnState::verify_t;
}
// I/O is suspended for whatever reason.
constexpr bool is_suspended(const State& state) {
    return state.susp || state.susp_nod || state.susp_fen;
}
constexpr bool has_isp(const State& state) {
    return state.aftr_isp || state.peer_isp || state.user_isp;
}
// Writes go to the peer (states 9.3). Connected with an Inconsistent peer is not enough: every write then
// only sets bits.
constexpr bool replicate(const State& state) {
    return state.pdsk == DiskState::up_to_date ||
           (state.pdsk >= DiskState::inconsistent && state.conn >= ConnState::wf_bitmap_t &&
            state.conn < ConnState::ahead);
}
// Writes set bits here and, by P_OUT_OF_SYNC, there (states 9.3).
constexpr bool mark_and_tell(const State& state) {
    return state.conn == ConnState::ahead || state.conn == ConnState::wf_bitmap_s;
}

// The superblock's flags in the new state; flags that do not follow the state keep their value. Only for a
// disk that is Inconsistent or better: of a failing disk the last flags before the failure stay (states 2.7,
// item 8).
uint32_t superblock_flags(const State& state, bool crashed_primary, uint32_t old_flags);

// The peer's data went out of reach, going by pdsk before and after (states 5.6).
bool contact_to_peer_data_lost(DiskState old_pdsk, DiskState new_pdsk);

struct AttachedState {
    DiskState disk;
    DiskState pdsk;
};
// The states that the superblock's flags entitle a disk to (states 4.2, item 7).
AttachedState state_at_attach(uint32_t superblock_flags, config::Fencing policy, DiskState pdsk);

// ---- text -------------------------------------------------------------------------------------------------

// "role( Secondary -> Primary ) disk( Inconsistent -> UpToDate ) " with the blank at its end, as the kernel
// logs it; empty if nothing changed. connection_wide adds the suspend flags (states 1.7).
std::string describe_change(const State& old_state, const State& new_state, bool connection_wide = false);
// "{ cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate r----- }", for refusals (states 1.7).
std::string describe(const State& state);

}  // namespace duplex::engine
