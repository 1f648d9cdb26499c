// How an error says which packet it is about.
#pragma once

#include <utility>

#include <fmt/format.h>

#include "base/result.hpp"
#include "wire/rules.hpp"

namespace duplex::wire {

// "P_DATA, volume 3: ..."; "P_PROTOCOL: ..." for packets of the whole connection.
template <typename... Args>
[[nodiscard]] Error packet_error(const Header& header, fmt::format_string<Args...> format, Args&&... args) {
    const std::string what = fmt::format(format, std::forward<Args>(args)...);
    if (!concerns_volume(header.command)) return error("{}: {}", name_of(header.command), what);
    return error("{}, volume {}: {}", name_of(header.command), header.volume, what);
}

}  // namespace duplex::wire
