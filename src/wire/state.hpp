// The state word that both nodes exchange (wire protocol 6.1). The names are the kernel's, in /proc/drbd, in
// its log and in the tools' output.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace duplex::wire {

enum class Role : uint8_t { unknown = 0, primary = 1, secondary = 2 };

enum class ConnState : uint8_t {
    stand_alone = 0,
    disconnecting = 1,
    unconnected = 2,
    timeout = 3,
    broken_pipe = 4,
    network_failure = 5,
    protocol_error = 6,
    tear_down = 7,
    wf_connection = 8,
    wf_report_params = 9,
    connected = 10,
    starting_sync_s = 11,
    starting_sync_t = 12,
    wf_bitmap_s = 13,
    wf_bitmap_t = 14,
    wf_sync_uuid = 15,
    sync_source = 16,
    sync_target = 17,
    verify_s = 18,
    verify_t = 19,
    paused_sync_s = 20,
    paused_sync_t = 21,
    ahead = 22,
    behind = 23,
};

enum class DiskState : uint8_t {
    diskless = 0,
    attaching = 1,
    failed = 2,
    negotiating = 3,
    inconsistent = 4,
    outdated = 5,
    d_unknown = 6,
    consistent = 7,
    up_to_date = 8,
};

std::string_view name_of(Role role);
std::string_view name_of(ConnState conn);
std::string_view name_of(DiskState disk);

// One volume as the node that writes the word sees it: role, conn and disk are its own, peer and pdsk what it
// knows of its peer.
struct State {
    Role role = Role::secondary;
    Role peer = Role::unknown;
    ConnState conn = ConnState::stand_alone;
    DiskState disk = DiskState::diskless;
    DiskState pdsk = DiskState::d_unknown;
    bool susp = false;      // I/O suspended by the user
    bool aftr_isp = false;  // resync paused by resync-after
    bool peer_isp = false;  // resync paused by the peer
    bool user_isp = false;  // resync paused by the user
    bool susp_nod = false;  // I/O suspended: no data reachable
    bool susp_fen = false;  // I/O suspended: fence handler running

    constexpr bool operator==(const State&) const = default;

    // The 32-bit word, bit 0 = least significant; unused bits are 0.
    uint32_t pack() const;
    // nullopt when a field holds a value that names no state (wire protocol 17.3). Unused bits are ignored.
    static std::optional<State> unpack(uint32_t word);
};

// Fields of the word, for the masks of state-change requests.
namespace state_bits {
inline constexpr uint32_t role_mask = 0x00000003;
inline constexpr uint32_t peer_mask = 0x0000000c;
inline constexpr uint32_t conn_mask = 0x000001f0;
inline constexpr uint32_t disk_mask = 0x00001e00;
inline constexpr uint32_t pdsk_mask = 0x0001e000;
inline constexpr unsigned peer_shift = 2;
inline constexpr unsigned conn_shift = 4;
inline constexpr unsigned disk_shift = 9;
inline constexpr unsigned pdsk_shift = 13;
inline constexpr uint32_t susp = 1u << 17;
inline constexpr uint32_t aftr_isp = 1u << 18;
inline constexpr uint32_t peer_isp = 1u << 19;
inline constexpr uint32_t user_isp = 1u << 20;
inline constexpr uint32_t susp_nod = 1u << 21;
inline constexpr uint32_t susp_fen = 1u << 22;
}  // namespace state_bits

}  // namespace duplex::wire
