// Names and short forms that the tools' outputs share (cli 22 to 24).
#pragma once

#include <string>
#include <string_view>

#include "engine/status.hpp"

namespace duplex::control {

// The connection as status and events2 name it: Connecting for WFConnection, Connected from WFReportParams
// on.
std::string_view connection_word(wire::ConnState state);

// The replication of one volume: Off while not connected, Established for Connected.
std::string_view replication_word(wire::ConnState state);

// StandAlone, Diskless and Secondary: nothing is known of the volume but its number.
bool is_unconfigured(const engine::VolumeStatus& volume);

// StandAlone and Diskless, whatever the role: what the one-line commands call unconfigured.
bool is_unconfigured_for_tools(const engine::VolumeStatus& volume);

// The highest over all volumes; Secondary or Unknown if there are none.
wire::Role role_of(const engine::ResourceStatus& status);
wire::Role peer_role_of(const engine::ResourceStatus& status);

bool is_suspended(const wire::State& state);
// Whether the volume takes the application's requests: "no" (nothing is in the way) or "upper".
std::string_view blocked_word(const engine::VolumeStatus& volume);
// "no" or a comma list of user, no-data, fencing
std::string suspension_words(const engine::ResourceStatus& status);
// "no" or a comma list of user, peer, dependency
std::string resync_suspension_words(const wire::State& state);

std::string_view write_ordering_word(engine::WriteOrdering ordering);
// The resource's: all volumes share it.
engine::WriteOrdering write_ordering_of(const engine::ResourceStatus& status);

constexpr uint64_t kib_of_sectors(uint64_t sectors) {
    return sectors / 2;
}

// A counter as DRBD keeps it: 32 bits that wrap (cli 26.1).
inline uint32_t wrapped(uint64_t counter) {
    return static_cast<uint32_t>(counter);
}

}  // namespace duplex::control
