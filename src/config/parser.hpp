// Reads drbd.conf, in 8.4 and 8.3 spelling, into the model (cli 2 to 6, 9.1, 9.2).
#pragma once

#include <string_view>

#include "config/loader.hpp"
#include "config/model.hpp"
#include "config/report.hpp"

namespace duplex::config {

struct ParseResult {
    Config config;
    Report report;
};

// display_name is how messages call the file (as given to -c, or "STDIN").
// second_display_name and second: a file parsed on top (-t); its lines are counted on from the first file's.
ParseResult parse(const SourceFile& source, std::string_view display_name, Loader& loader,
                  const SourceFile* second = nullptr, std::string_view second_display_name = {});

// Reads what "drbdsetup show RES" printed. nullptr in config.resources if it does not begin with a resource.
ParseResult parse_running(std::string_view text, std::string_view display_name);

}  // namespace duplex::config
