#include "wire/state.hpp"

#include <array>

#include "base/ensure.hpp"

namespace duplex::wire {

namespace {

constexpr std::array<std::string_view, 3> role_names{"Unknown", "Primary", "Secondary"};

constexpr std::array<std::string_view, 24> conn_names{
    "StandAlone",    "Disconnecting", "Unconnected",  "Timeout",        "BrokenPipe", "NetworkFailure",
    "ProtocolError", "TearDown",      "WFConnection", "WFReportParams", "Connected",  "StartingSyncS",
    "StartingSyncT", "WFBitMapS",     "WFBitMapT",    "WFSyncUUID",     "SyncSource", "SyncTarget",
    "VerifyS",       "VerifyT",       "PausedSyncS",  "PausedSyncT",    "Ahead",      "Behind"};

constexpr std::array<std::string_view, 9> disk_names{"Diskless",    "Attaching",    "Failed",
                                                     "Negotiating", "Inconsistent", "Outdated",
                                                     "DUnknown",    "Consistent",   "UpToDate"};

template <typename Enum, size_t count>
std::string_view name_in(const std::array<std::string_view, count>& names, Enum value) {
    const auto index = static_cast<size_t>(value);
    ensure(index < count);
    return names[index];
}

constexpr uint32_t flag(bool set, uint32_t bit) {
    return set ? bit : 0;
}

}  // namespace

std::string_view name_of(Role role) {
    return name_in(role_names, role);
}

std::string_view name_of(ConnState conn) {
    return name_in(conn_names, conn);
}

std::string_view name_of(DiskState disk) {
    return name_in(disk_names, disk);
}

uint32_t State::pack() const {
    namespace b = state_bits;
    return static_cast<uint32_t>(role) | static_cast<uint32_t>(peer) << b::peer_shift |
           static_cast<uint32_t>(conn) << b::conn_shift | static_cast<uint32_t>(disk) << b::disk_shift |
           static_cast<uint32_t>(pdsk) << b::pdsk_shift | flag(susp, b::susp) | flag(aftr_isp, b::aftr_isp) |
           flag(peer_isp, b::peer_isp) | flag(user_isp, b::user_isp) | flag(susp_nod, b::susp_nod) |
           flag(susp_fen, b::susp_fen);
}

std::optional<State> State::unpack(uint32_t word) {
    namespace b = state_bits;
    const uint32_t role = word & b::role_mask;
    const uint32_t peer = (word & b::peer_mask) >> b::peer_shift;
    const uint32_t conn = (word & b::conn_mask) >> b::conn_shift;
    const uint32_t disk = (word & b::disk_mask) >> b::disk_shift;
    const uint32_t pdsk = (word & b::pdsk_mask) >> b::pdsk_shift;
    if (role >= role_names.size() || peer >= role_names.size() || conn >= conn_names.size() ||
        disk >= disk_names.size() || pdsk >= disk_names.size())
        return std::nullopt;
    return State{.role = static_cast<Role>(role),
                 .peer = static_cast<Role>(peer),
                 .conn = static_cast<ConnState>(conn),
                 .disk = static_cast<DiskState>(disk),
                 .pdsk = static_cast<DiskState>(pdsk),
                 .susp = (word & b::susp) != 0,
                 .aftr_isp = (word & b::aftr_isp) != 0,
                 .peer_isp = (word & b::peer_isp) != 0,
                 .user_isp = (word & b::user_isp) != 0,
                 .susp_nod = (word & b::susp_nod) != 0,
                 .susp_fen = (word & b::susp_fen) != 0};
}

}  // namespace duplex::wire
