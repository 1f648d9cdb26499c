#include "config/unique_names.hpp"

#include <fmt/format.h>

namespace duplex::config {

std::optional<std::string> UniqueNames::claim(std::string_view kind, const std::string& key,
                                              const Position& position) {
    const auto [entry, inserted] = used_.try_emplace({std::string(kind), key}, position);
    if (inserted) return std::nullopt;
    return fmt::format("{}:{}: conflicting use of {} '{}' ...\n{}:{}: {} '{}' first used here.",
                       position.file, position.line, kind, key, entry->second.file, entry->second.line, kind,
                       key);
}

}  // namespace duplex::config
