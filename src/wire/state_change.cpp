#include "wire/state_change.hpp"

#include <array>

#include "base/ensure.hpp"

namespace duplex::wire {

namespace {

struct KnownRequest {
    StateChangeKind kind;
    Command command;
    StateChangeRequest request;
};

// wire protocol 6.4, row by row, and the last one of states 2.6; in the order of StateChangeKind.
constexpr std::array<KnownRequest, 12> known_requests{{
    {StateChangeKind::become_primary, Command::state_chg_req, {0x00000003, 0x00000001}},
    {StateChangeKind::become_primary_forced, Command::state_chg_req, {0x00001e03, 0x00001001}},
    {StateChangeKind::become_primary_peer_outdated, Command::state_chg_req, {0x0001e003, 0x0000a001}},
    {StateChangeKind::become_primary_forced_peer_outdated, Command::state_chg_req, {0x0001fe03, 0x0000b001}},
    {StateChangeKind::become_sync_target, Command::state_chg_req, {0x000001f0, 0x000000c0}},
    {StateChangeKind::become_sync_source, Command::state_chg_req, {0x000001f0, 0x000000b0}},
    {StateChangeKind::start_verify, Command::state_chg_req, {0x000001f0, 0x00000120}},
    {StateChangeKind::detach, Command::state_chg_req, {0x00001e00, 0x00000400}},
    {StateChangeKind::disconnect, Command::conn_st_chg_req, {0x000001f0, 0x00000010}},
    {StateChangeKind::disconnect_peer_outdated, Command::conn_st_chg_req, {0x0001e1f0, 0x0000a010}},
    {StateChangeKind::disconnect_self_outdated, Command::conn_st_chg_req, {0x00001ff0, 0x00000a10}},
    {StateChangeKind::remove_volume, Command::state_chg_req, {0x000001f0, 0x00000090}},
}};

const KnownRequest& row_of(StateChangeKind kind) {
    const auto& row = known_requests.at(static_cast<size_t>(kind));
    ensure(row.kind == kind);
    return row;
}

// The connection state that the other node enters with us; what it cannot express becomes 0.
uint32_t mirrored_conn(uint32_t conn) {
    constexpr uint32_t whole_field = state_bits::conn_mask >> state_bits::conn_shift;
    if (conn == whole_field) return whole_field;
    switch (static_cast<ConnState>(conn)) {
        case ConnState::starting_sync_s:
            return static_cast<uint32_t>(ConnState::starting_sync_t);
        case ConnState::starting_sync_t:
            return static_cast<uint32_t>(ConnState::starting_sync_s);
        case ConnState::verify_s:
            return static_cast<uint32_t>(ConnState::verify_t);
        case ConnState::disconnecting:
            return static_cast<uint32_t>(ConnState::tear_down);
        case ConnState::connected:
        case ConnState::wf_report_params:
            return conn;
        default:
            return 0;
    }
}

}  // namespace

std::string_view text_of(StateChangeResult result) {
    switch (result) {
        case StateChangeResult::cw_no_need:
        case StateChangeResult::cw_success:
        case StateChangeResult::nothing_to_do:
        case StateChangeResult::success:
            return "success";
        case StateChangeResult::unknown_error:
            return "unknown error";
        case StateChangeResult::two_primaries:
            return "Multiple primaries not allowed by config";
        case StateChangeResult::no_up_to_date_disk:
            return "Need access to UpToDate data";
        case StateChangeResult::no_local_disk:
            return "Can not resync without local disk";
        case StateChangeResult::no_remote_disk:
            return "Can not resync without remote disk";
        case StateChangeResult::connected_outdates:
            return "Refusing to be Outdated while Connected";
        case StateChangeResult::primary_nop:
            return "Refusing to be Primary while peer is not outdated";
        case StateChangeResult::resync_running:
            return "Can not start OV/resync since it is already active";
        case StateChangeResult::already_stand_alone:
            return "Can not disconnect a StandAlone device";
        case StateChangeResult::cw_failed_by_peer:
            return "State change was refused by peer node";
        case StateChangeResult::is_diskless:
            return "Device is diskless, the requested operation requires a disk";
        case StateChangeResult::device_in_use:
            return "Device is held open by someone";
        case StateChangeResult::no_net_config:
            return "Have no net/connection configuration";
        case StateChangeResult::no_verify_alg:
            return "Need a verify algorithm to start online verify";
        case StateChangeResult::need_connection:
            return "Need a connection to start verify or resync";
        case StateChangeResult::lower_than_outdated:
            return "Disk state is lower than outdated";
        case StateChangeResult::not_supported:
            return "Peer does not support protocol";
        case StateChangeResult::in_transient_state:
            return "In transient state, retry after next state change";
        case StateChangeResult::concurrent_st_chg:
            return "Concurrent state changes detected and aborted";
        case StateChangeResult::o_vol_peer_pri:
            return "Other vol primary on peer not allowed by config";
        case StateChangeResult::outdate_wo_conn:
            return "Need a connection for a graceful disconnect/outdate peer";
    }
    return "unknown error";
}

StateChangeRequest request_for(StateChangeKind kind) {
    return row_of(kind).request;
}

Command command_for(StateChangeKind kind) {
    return row_of(kind).command;
}

std::optional<StateChangeKind> known_request(Command command, StateChangeRequest request) {
    for (const auto& row : known_requests)
        if (row.command == command && row.request == request) return row.kind;
    return std::nullopt;
}

uint32_t in_peers_view(uint32_t mask_or_value) {
    namespace b = state_bits;
    const uint32_t word = mask_or_value;
    const uint32_t moved = b::role_mask | b::peer_mask | b::conn_mask | b::disk_mask | b::pdsk_mask;
    const uint32_t conn = (word & b::conn_mask) >> b::conn_shift;
    return (word & ~moved) | (word & b::role_mask) << b::peer_shift | (word & b::peer_mask) >> b::peer_shift |
           mirrored_conn(conn) << b::conn_shift | (word & b::disk_mask) << (b::pdsk_shift - b::disk_shift) |
           (word & b::pdsk_mask) >> (b::pdsk_shift - b::disk_shift);
}

}  // namespace duplex::wire
