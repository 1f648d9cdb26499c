// The steps of up and adjust, and the stages they are done in, over all resources (cli 13).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/model.hpp"

namespace duplex::drbdadm {

enum class Stage : uint8_t { prerequisites, resource, disk_prerequisites, disk, net_prerequisites, net };

enum class Action : uint8_t {
    new_resource,
    resource_options,
    detach,
    del_minor,
    new_minor,
    apply_al,
    attach,
    resize,
    disk_options,
    disconnect,
    connect,
    net_options,
};

struct Step {
    Stage stage;
    Action action;
    config::Resource* resource;
    config::Volume* volume = nullptr;  // as configured; nullptr for what is only running
    unsigned minor = 0;                // of detach, del_minor: the running one
    std::string local;                 // of disconnect: the running addresses
    std::string remote;
};

// The command a step stands for, as messages name it.
std::string_view action_name(Action action);

struct AdjustPlan {
    std::vector<Step> steps;
    std::vector<std::string> differences;  // what -v -v -v tells
    std::vector<std::string> remarks;  // what -v -v -v -v tells: the differences and what is equal, in order
};

// What has to be done so that what runs becomes what is configured. running: nullptr if the resource is not
// there. peer_address: where the configured connection goes, empty if that is not known.
AdjustPlan plan_adjust(config::Resource& configured, const config::Resource* running,
                       const config::Address* peer_address);

// Everything that up does for a resource, or for one of its volumes.
std::vector<Step> plan_up(config::Resource& resource, config::Volume* only);

}  // namespace duplex::drbdadm
