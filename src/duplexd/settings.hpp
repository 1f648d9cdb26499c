// What is Duplex's alone, and therefore not in drbd.conf: /etc/duplex.conf, or the file that DUPLEX_CONF
// names.
//
//     # a line: KEY VALUE
//     export nbd,device
#pragma once

#include <string>
#include <string_view>

#include "base/result.hpp"

namespace duplex::duplexd {

struct Settings {
    bool export_nbd = true;     // a Unix socket per volume
    bool export_device = true;  // /dev/drbdN
};

// Errors name file and line.
Result<Settings> parse_settings(std::string_view text, std::string_view file_name);

// A missing file means the defaults.
Result<Settings> load_settings();

}  // namespace duplex::duplexd
