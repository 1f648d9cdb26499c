// What drbdadm says of its version. Scripts and cluster agents decide by these numbers how to talk to it and
// to what it manages: they are those of the DRBD whose behaviour it has (cli 10.1).
#pragma once

#include <string_view>

namespace duplex::drbdadm {

inline constexpr std::string_view compatible_version = "9.22.0";
inline constexpr std::string_view compatible_version_code = "0x091600";
inline constexpr std::string_view drbd_version_code = "0x08040b";
inline constexpr std::string_view build_tag = "Duplex 0.1.0";

}  // namespace duplex::drbdadm
