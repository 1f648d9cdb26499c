// A resource's status as JSON. Options appear under their names in the option table: numbers, flags and
// enumerations as integers, texts as strings. What a reader does not know it ignores, what is missing keeps
// its default, so tools and process of different versions understand each other.
#pragma once

#include <nlohmann/json.hpp>

#include "engine/status.hpp"

namespace duplex::control {

nlohmann::json to_json(const engine::ResourceStatus& status);

// Throws nlohmann::json::exception for a member of the wrong type or out of its range.
engine::ResourceStatus status_from_json(const nlohmann::json& json);

}  // namespace duplex::control
