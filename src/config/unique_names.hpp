// Names that may be used once: sections, statements, minors, devices, addresses (cli 9.2).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "config/model.hpp"

namespace duplex::config {

class UniqueNames {
  public:
    // Remembers KIND 'KEY' as used at position; if it is in use already, returns the two-line message.
    std::optional<std::string> claim(std::string_view kind, const std::string& key, const Position& position);

  private:
    std::map<std::pair<std::string, std::string>, Position> used_;
};

}  // namespace duplex::config
