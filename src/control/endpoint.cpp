#include "control/endpoint.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace duplex::control {
namespace {

constexpr std::array<std::string_view, 4> families{"ipv4", "ipv6", "sdp", "ssocks"};
constexpr uint16_t default_port = 7788;

Result<uint16_t> parse_port(std::string_view digits, std::string_view whole) {
    uint16_t port = 0;
    const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (failed != std::errc() || end != digits.data() + digits.size() || port == 0) {
        return error("'{}' is not a valid port in address '{}'", digits, whole);
    }
    return port;
}

}  // namespace

Result<ParsedEndpoint> parse_endpoint(std::string_view text) {
    ParsedEndpoint parsed;
    engine::Endpoint& endpoint = parsed.endpoint;
    endpoint.family = "ipv4";
    endpoint.port = default_port;
    std::string_view rest = text;
    for (const std::string_view family : families) {
        if (rest.starts_with(family) && rest.substr(family.size()).starts_with(':')) {
            endpoint.family = family;
            rest.remove_prefix(family.size() + 1);
            break;
        }
    }
    std::string_view port;
    if (rest.starts_with('[')) {
        const size_t end = rest.find(']');
        if (end == std::string_view::npos) return error("no ']' in address '{}'", text);
        endpoint.address = rest.substr(1, end - 1);
        rest.remove_prefix(end + 1);
        if (!rest.empty() && rest.front() != ':') return error("malformed address '{}'", text);
        if (!rest.empty()) port = rest.substr(1);
    } else {
        const size_t colon = rest.rfind(':');
        endpoint.address = rest.substr(0, colon);
        if (colon != std::string_view::npos) port = rest.substr(colon + 1);
        if (endpoint.family == "ipv6") {
            parsed.note = fmt::format("interpreting {} as ipv6:[{}]:{}", text, endpoint.address, port);
        }
    }
    if (endpoint.address.empty()) return error("no address in '{}'", text);
    if (!port.empty()) {
        Result<uint16_t> number = parse_port(port, text);
        if (!number) return number.error();
        endpoint.port = *number;
    }
    return parsed;
}

std::string endpoint_text(const engine::Endpoint& endpoint) {
    return endpoint.family == "ipv6"
               ? fmt::format("ipv6:[{}]:{}", endpoint.address, endpoint.port)
               : fmt::format("{}:{}:{}", endpoint.family, endpoint.address, endpoint.port);
}

}  // namespace duplex::control
