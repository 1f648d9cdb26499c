// Addresses as they stand on the tools' command lines (cli 19): [AF:]ADDR[:PORT].
#pragma once

#include <string>
#include <string_view>

#include "base/result.hpp"
#include "engine/ports.hpp"

namespace duplex::control {

struct ParsedEndpoint {
    engine::Endpoint endpoint;  // the address as written; a host name is not looked up
    std::string note;           // what was guessed, for the user; may be empty
};

// AF is ipv4 (default), ipv6, sdp or ssocks; the port is 7788 by default; IPv6 is ADDR or [ADDR].
Result<ParsedEndpoint> parse_endpoint(std::string_view text);

// "ipv4:10.0.0.1:7788", "ipv6:[fe80::1]:7788"
std::string endpoint_text(const engine::Endpoint& endpoint);

}  // namespace duplex::control
