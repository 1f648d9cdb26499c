// Addresses as the lower tools take them, and comparison by value instead of by spelling.
#pragma once

#include <string>
#include <string_view>

#include "config/model.hpp"

namespace duplex::config {

// ipv4:10.0.0.1:7788, ipv6:[fe80::1]:7788 (cli 4.6)
std::string setup_argument(const Address& address);

// "ipv4 10.0.0.1:7788", "ipv6 [fe80::1]:7788", as dump prints it.
std::string config_text(const Address& address);

// The same IP address, whatever its spelling; a scope (%eth0) does not count. Text that is no address is
// equal to the same text only.
bool same_ip(std::string_view a, std::string_view b);

// Family, IP and port are equal.
bool same_address(const Address& a, const Address& b);

bool is_loopback(std::string_view ip);

}  // namespace duplex::config
