// Where an export says what its users did wrong and what went wrong with them: one line, in the kernel's
// manner
// ("block drbd0: nbd: ..."). Cold paths only.
#pragma once

#include <functional>
#include <string_view>

#include "engine/ports.hpp"

namespace duplex::exports {

using Log = std::function<void(engine::LogLevel level, std::string_view line)>;

}  // namespace duplex::exports
