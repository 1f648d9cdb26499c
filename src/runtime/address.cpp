#include "runtime/address.hpp"

#include <cstring>
#include <netdb.h>

#include "base/ensure.hpp"

namespace duplex::runtime {

Result<SocketAddress> parse_address(const engine::Endpoint& endpoint) {
    addrinfo hints{};
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    hints.ai_socktype = SOCK_STREAM;
    if (endpoint.family == "ipv4")
        hints.ai_family = AF_INET;
    else if (endpoint.family == "ipv6")
        hints.ai_family = AF_INET6;
    else
        return error("address family '{}' of {}:{} cannot be used, only ipv4 and ipv6", endpoint.family,
                     endpoint.address, endpoint.port);
    addrinfo* found = nullptr;
    const int code =
        getaddrinfo(endpoint.address.c_str(), std::to_string(endpoint.port).c_str(), &hints, &found);
    if (code != 0) return error("{} address '{}': {}", endpoint.family, endpoint.address, gai_strerror(code));
    SocketAddress address;
    ensure(found->ai_addrlen <= sizeof address.storage);
    std::memcpy(&address.storage, found->ai_addr, found->ai_addrlen);
    address.bytes = found->ai_addrlen;
    freeaddrinfo(found);
    return address;
}

bool same_host(const SocketAddress& a, const SocketAddress& b) {
    if (a.family() != b.family()) return false;
    if (a.family() == AF_INET) {
        const auto& left = reinterpret_cast<const sockaddr_in&>(a.storage);
        const auto& right = reinterpret_cast<const sockaddr_in&>(b.storage);
        return left.sin_addr.s_addr == right.sin_addr.s_addr;
    }
    const auto& left = reinterpret_cast<const sockaddr_in6&>(a.storage);
    const auto& right = reinterpret_cast<const sockaddr_in6&>(b.storage);
    if (std::memcmp(&left.sin6_addr, &right.sin6_addr, sizeof left.sin6_addr) != 0) return false;
    // A link-local address means a host only together with its link; 0 is "not said".
    return left.sin6_scope_id == right.sin6_scope_id || left.sin6_scope_id == 0 || right.sin6_scope_id == 0;
}

std::string to_text(const SocketAddress& address) {
    char host[NI_MAXHOST];
    char port[NI_MAXSERV];
    if (getnameinfo(address.get(), address.bytes, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return "(unknown address)";
    return address.family() == AF_INET6 ? fmt::format("[{}]:{}", host, port)
                                        : fmt::format("{}:{}", host, port);
}

}  // namespace duplex::runtime
