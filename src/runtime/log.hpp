// Where log lines go: to stderr (the journal's, under systemd, with the priority it understands) and, when
// stderr is not the journal, also to the system log. Never waits for the system log: what it does not take at
// once is counted and the count is logged later.
#pragma once

#include <string_view>

#include <fmt/format.h>

#include "engine/ports.hpp"

namespace duplex::runtime {

// name is the program's in the system log. Lines below `least` are dropped.
void open_log(std::string_view name, engine::LogLevel least = engine::LogLevel::info);
void log_line(engine::LogLevel level, std::string_view line);

template <typename... Args>
void log_format(engine::LogLevel level, fmt::format_string<Args...> format, Args&&... args) {
    log_line(level, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace duplex::runtime
