#include "config/address.hpp"

#include <arpa/inet.h>
#include <array>
#include <cstdint>
#include <optional>

#include <fmt/format.h>

#include "config/options.hpp"

namespace duplex::config {
namespace {

using Bytes = std::array<uint8_t, 16>;

// An IPv4 address as its IPv6-mapped form would have the last four bytes only, the rest zero.
std::optional<Bytes> bytes_of(std::string_view ip) {
    const std::string text(ip.substr(0, ip.find('%')));
    Bytes bytes{};
    const int family = text.find(':') == std::string::npos ? AF_INET : AF_INET6;
    if (inet_pton(family, text.c_str(), bytes.data()) != 1) return std::nullopt;
    return bytes;
}

int64_t port_of(const Address& address) {
    const Result<int64_t> port = parse_number(address.port, NumberUnit::one);
    return port ? *port : 0;
}

std::string endpoint(const Address& address) {
    const bool brackets = address.family == "ipv6";
    return brackets ? fmt::format("[{}]:{}", address.ip, address.port)
                    : fmt::format("{}:{}", address.ip, address.port);
}

}  // namespace

std::string setup_argument(const Address& address) {
    return fmt::format("{}:{}", address.family, endpoint(address));
}

std::string config_text(const Address& address) {
    return fmt::format("{} {}", address.family, endpoint(address));
}

bool same_ip(std::string_view a, std::string_view b) {
    if (a == b) return true;
    if ((a.find(':') == std::string_view::npos) != (b.find(':') == std::string_view::npos)) return false;
    const std::optional<Bytes> left = bytes_of(a);
    return left && left == bytes_of(b);
}

bool same_address(const Address& a, const Address& b) {
    return a.family == b.family && same_ip(a.ip, b.ip) && port_of(a) == port_of(b);
}

bool is_loopback(std::string_view ip) {
    return ip.starts_with("127.") || ip == "::1";
}

}  // namespace duplex::config
