#include "control/words.hpp"

#include <algorithm>

#include "base/ensure.hpp"

namespace duplex::control {
namespace {

using wire::ConnState;
using wire::Role;

void add_word(std::string& words, bool set, std::string_view word) {
    if (!set) return;
    if (!words.empty()) words += ',';
    words += word;
}

std::string or_no(const std::string& words) {
    return words.empty() ? "no" : words;
}

// Primary > Secondary > Unknown: the numbers are not ordered by strength (states 1.3).
Role stronger(Role a, Role b) {
    if (a == Role::primary || b == Role::primary) return Role::primary;
    return std::max(a, b);
}

}  // namespace

std::string_view connection_word(ConnState state) {
    if (state >= ConnState::wf_report_params) return "Connected";
    return state == ConnState::wf_connection ? "Connecting" : name_of(state);
}

std::string_view replication_word(ConnState state) {
    if (state <= ConnState::wf_report_params) return "Off";
    return state == ConnState::connected ? "Established" : name_of(state);
}

bool is_unconfigured_for_tools(const engine::VolumeStatus& volume) {
    return volume.state.conn == ConnState::stand_alone && volume.state.disk == wire::DiskState::diskless;
}

bool is_unconfigured(const engine::VolumeStatus& volume) {
    return is_unconfigured_for_tools(volume) && volume.state.role == Role::secondary;
}

Role role_of(const engine::ResourceStatus& status) {
    Role role = Role::secondary;
    for (const auto& volume : status.volumes) role = stronger(role, volume.state.role);
    return role;
}

Role peer_role_of(const engine::ResourceStatus& status) {
    Role role = Role::unknown;
    for (const auto& volume : status.volumes) role = stronger(role, volume.state.peer);
    return role;
}

bool is_suspended(const wire::State& state) {
    return state.susp || state.susp_nod || state.susp_fen;
}

std::string_view blocked_word(const engine::VolumeStatus& volume) {
    return is_suspended(volume.state) ? "upper" : "no";
}

std::string suspension_words(const engine::ResourceStatus& status) {
    bool user = false;
    bool no_data = false;
    bool fencing = false;
    for (const auto& volume : status.volumes) {
        user |= volume.state.susp;
        no_data |= volume.state.susp_nod;
        fencing |= volume.state.susp_fen;
    }
    std::string words;
    add_word(words, user, "user");
    add_word(words, no_data, "no-data");
    add_word(words, fencing, "fencing");
    return or_no(words);
}

std::string resync_suspension_words(const wire::State& state) {
    std::string words;
    add_word(words, state.user_isp, "user");
    add_word(words, state.peer_isp, "peer");
    add_word(words, state.aftr_isp, "dependency");
    return or_no(words);
}

std::string_view write_ordering_word(engine::WriteOrdering ordering) {
    switch (ordering) {
        case engine::WriteOrdering::none:
            return "none";
        case engine::WriteOrdering::drain:
            return "drain";
        case engine::WriteOrdering::flush:
            return "flush";
    }
    ensure(false);
}

engine::WriteOrdering write_ordering_of(const engine::ResourceStatus& status) {
    return status.volumes.empty() ? engine::WriteOrdering::flush : status.volumes[0].write_ordering;
}

}  // namespace duplex::control
