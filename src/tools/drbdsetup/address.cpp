#include "tools/drbdsetup/address.hpp"

#include <arpa/inet.h>
#include <array>
#include <netdb.h>

#include "control/endpoint.hpp"

namespace duplex::drbdsetup {
namespace {

Result<std::string> ipv4_address(const std::string& text) {
    in_addr address{};
    if (inet_pton(AF_INET, text.c_str(), &address) != 1) {
        addrinfo hints{};
        hints.ai_family = AF_INET;
        addrinfo* found = nullptr;
        if (const int problem = getaddrinfo(text.c_str(), nullptr, &hints, &found); problem != 0) {
            return error("can not resolve the hostname: gethostbyname({}): {}", text,
                         problem == EAI_AGAIN ? "Host name lookup failure" : "Unknown host");
        }
        address = reinterpret_cast<const sockaddr_in*>(found->ai_addr)->sin_addr;
        freeaddrinfo(found);
    }
    std::array<char, INET_ADDRSTRLEN> written{};
    inet_ntop(AF_INET, &address, written.data(), written.size());
    return std::string(written.data());
}

// The scope (%eth0) stays as it is.
Result<std::string> ipv6_address(const std::string& text) {
    const size_t scope = text.find('%');
    in6_addr address{};
    if (inet_pton(AF_INET6, text.substr(0, scope).c_str(), &address) != 1) {
        return error("'{}' is no IPv6 address", text);
    }
    std::array<char, INET6_ADDRSTRLEN> written{};
    inet_ntop(AF_INET6, &address, written.data(), written.size());
    return std::string(written.data()) + (scope == std::string::npos ? std::string() : text.substr(scope));
}

}  // namespace

Result<std::string> normalized_address(std::string_view text) {
    Result<control::ParsedEndpoint> parsed = control::parse_endpoint(text);
    if (!parsed) return parsed.error();
    if (!parsed->note.empty()) fmt::print(stderr, "{}\n", parsed->note);
    engine::Endpoint& endpoint = parsed->endpoint;
    Result<std::string> address =
        endpoint.family == "ipv6" ? ipv6_address(endpoint.address) : ipv4_address(endpoint.address);
    if (!address) return address.error();
    endpoint.address = std::move(*address);
    return control::endpoint_text(endpoint);
}

}  // namespace duplex::drbdsetup
