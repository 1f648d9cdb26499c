// Strings in drbd.conf: quoted where the scanner would not read them back as one plain string (cli 2, 14.1).
#pragma once

#include <string>
#include <string_view>

namespace duplex::config {

// "text", with a backslash before every '"' and '\'.
std::string quoted(std::string_view text);

// text as dump prints it: unchanged if it is one to 80 characters of a-z A-Z 0-9 / . _ -, else quoted.
std::string quoted_if_needed(std::string_view text);

// text as a word for the shell, the way dry runs print it (cli 12.3): every character outside
// % + - . / 0-9 : = @ A-Z _ a-z gets a backslash.
std::string shell_escaped(std::string_view text);

}  // namespace duplex::config
