// Addresses as drbd.conf writes them, and as the kernel wants them.
#pragma once

#include <netinet/in.h>
#include <string>
#include <sys/socket.h>

#include "base/result.hpp"
#include "engine/ports.hpp"

namespace duplex::runtime {

struct SocketAddress {
    sockaddr_storage storage{};
    socklen_t bytes = 0;

    const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
    sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
    int family() const { return storage.ss_family; }
};

// Numeric addresses only; IPv6 with a scope ("fe80::1%eth0") if it needs one. The error names the address.
Result<SocketAddress> parse_address(const engine::Endpoint& endpoint);
// The same host, whatever the port.
bool same_host(const SocketAddress& a, const SocketAddress& b);
// "10.0.7.105:7788", "[fe80::1%eth0]:7788"
std::string to_text(const SocketAddress& address);

}  // namespace duplex::runtime
