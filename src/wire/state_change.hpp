// Cluster-wide state changes as data: the requests a node may make of its peer, and the answers
// (wire protocol 6.4, 17.4).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "wire/packet.hpp"
#include "wire/state.hpp"

namespace duplex::wire {

// Result of a state change, local or from the peer; >= 1 is success.
enum class StateChangeResult : int32_t {
    cw_no_need = 4,  // no cluster-wide change needed
    cw_success = 3,
    nothing_to_do = 2,
    success = 1,
    unknown_error = 0,
    two_primaries = -1,
    no_up_to_date_disk = -2,
    no_local_disk = -4,
    no_remote_disk = -5,
    connected_outdates = -6,
    primary_nop = -7,
    resync_running = -8,
    already_stand_alone = -9,
    cw_failed_by_peer = -10,
    is_diskless = -11,
    device_in_use = -12,
    no_net_config = -13,
    no_verify_alg = -14,
    need_connection = -15,
    lower_than_outdated = -16,
    not_supported = -17,
    in_transient_state = -18,
    concurrent_st_chg = -19,
    o_vol_peer_pri = -20,
    outdate_wo_conn = -21,
};

constexpr bool is_success(StateChangeResult result) {
    return static_cast<int32_t>(result) >= 1;
}

// The kernel's sentence, as drbdsetup prints it behind "State change failed: (N) " (states 5, cli).
std::string_view text_of(StateChangeResult result);

// Every request of wire protocol 6.4, from the requester's point of view. Any other pair of mask and value is
// refused with not_supported.
enum class StateChangeKind : uint8_t {
    become_primary,
    become_primary_forced,  // own disk becomes UpToDate
    become_primary_peer_outdated,
    become_primary_forced_peer_outdated,
    become_sync_target,  // invalidate
    become_sync_source,  // invalidate-remote
    start_verify,
    detach,
    disconnect,
    disconnect_peer_outdated,
    disconnect_self_outdated,
    remove_volume,  // states 2.6: it goes back to WFReportParams
};

StateChangeRequest request_for(StateChangeKind kind);
// The packet that carries it: P_CONN_ST_CHG_REQ for the three disconnects, else P_STATE_CHG_REQ.
Command command_for(StateChangeKind kind);
// nullopt: not on the whitelist of 17.4, or in the wrong packet.
std::optional<StateChangeKind> known_request(Command command, StateChangeRequest request);

// A mask or value as the other node sees it: role and peer, disk and pdsk change places, conn is mirrored.
uint32_t in_peers_view(uint32_t mask_or_value);

}  // namespace duplex::wire
