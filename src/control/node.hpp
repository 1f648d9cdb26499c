// All resources of the node at once, for /proc/drbd, status and the like.
#pragma once

#include <string>
#include <vector>

#include "control/proc_text.hpp"
#include "control/run_dir.hpp"
#include "engine/status.hpp"

namespace duplex::control {

struct SilentResource {
    std::string name;
    std::string why;    // for the administrator
    bool dead = false;  // its process is gone; else it does not answer or may not be asked
};

struct NodeStatus {
    std::vector<engine::ResourceStatus> resources;  // by name
    std::vector<SilentResource> silent;
};

// Asks every process at the same time and waits at most timeout_ms for all of them together.
NodeStatus ask_all(const RunDir& run_dir, int timeout_ms);

// The text of /proc/drbd of this node. Minors of processes that hang are shown as such.
std::string proc_text_of(const RunDir& run_dir, int timeout_ms);

}  // namespace duplex::control
