// DRBD's words and exit statuses for the answers to commands (cli 20, states 2.9).
#pragma once

#include <string>
#include <string_view>

#include "engine/resource.hpp"

namespace duplex::control {

// Configuration errors that have no other home: the engine never gives them.
namespace error_code {
inline constexpr int invalid_resource = 158;
inline constexpr int resource_in_use = 159;
inline constexpr int minor_configured = 160;
inline constexpr int minor_or_volume_exists = 161;
inline constexpr int invalid_request = 162;
}  // namespace error_code

// nullptr-free: an unknown code has an empty text.
std::string_view text_of(int code);

int exit_status_of(int code);

// What drbdsetup writes to stderr: nothing for a success, else lines with their ends. object is the object as
// the user typed it.
std::string message_of(std::string_view object, const engine::Reply& reply);

}  // namespace duplex::control
