// Which host section is mine, which one is the peer's (cli 8).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/model.hpp"
#include "config/report.hpp"

namespace duplex::config {

// The node a configuration is looked at from.
struct Node {
    std::string name;                    // uname -n, or __DRBD_NODE__
    std::vector<std::string> addresses;  // of its interfaces
};

enum class MatchBy : bool {
    host_section,
    proxy,  // mine is the host section whose proxy runs on this node (proxy-up, proxy-down)
};

// Sets Resource::me where there is one, and what stacked sections stand on.
void assign_roles(Config& config, const Node& node, MatchBy match, Report& report);

// The own section as drbdsetup show marks it.
void assign_running_roles(Resource& resource);

struct PeerChoice {
    std::string_view name;         // --peer; empty: not given
    bool explain = false;          // say why there is no peer
    bool mention_ignored = false;  // say that --peer makes no difference
};

// Sets Resource::peer if it is clear which host that is.
void choose_peer(Resource& resource, const PeerChoice& choice, Report& report);

}  // namespace duplex::config
