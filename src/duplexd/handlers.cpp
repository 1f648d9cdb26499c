#include "duplexd/handlers.hpp"

#include <arpa/inet.h>
#include <cstdlib>

#include <fmt/format.h>

#include "config/quote.hpp"

namespace duplex::duplexd {
namespace {

// Written out in full, eight groups of four digits, as the kernel prints it.
std::string full_ipv6(const std::string& address) {
    in6_addr bytes{};
    const std::string without_scope = address.substr(0, address.find('%'));
    if (inet_pton(AF_INET6, without_scope.c_str(), &bytes) != 1) return address;
    std::string text;
    for (size_t i = 0; i < 16; i += 2) {
        text += fmt::format("{}{:02x}{:02x}", i > 0 ? ":" : "", bytes.s6_addr[i], bytes.s6_addr[i + 1]);
    }
    return text;
}

}  // namespace

runtime::HandlerCommand handler_command(std::string_view drbdadm, std::string_view handler, int minor,
                                        std::string_view resource, const engine::Endpoint* peer) {
    const std::string object = minor >= 0 ? fmt::format("minor-{}", minor) : std::string(resource);
    runtime::HandlerCommand command;
    command.command = fmt::format("exec {} {} {}", config::shell_escaped(drbdadm),
                                  config::shell_escaped(handler), config::shell_escaped(object));
    command.environment = {"HOME=/", "TERM=linux", "PATH=/sbin:/usr/sbin:/bin:/usr/bin"};
    if (peer != nullptr) {
        const bool is_ipv6 = peer->family == "ipv6";
        command.environment.push_back("DRBD_PEER_AF=" +
                                      (is_ipv6 || peer->family == "ipv4" ? peer->family : "ssocks"));
        command.environment.push_back("DRBD_PEER_ADDRESS=" +
                                      (is_ipv6 ? full_ipv6(peer->address) : peer->address));
    }
    // Where Duplex's own directories are elsewhere, its tools must look there too.
    for (const char* const name : {"DUPLEX_RUN_DIR", "DUPLEX_CONF", "DUPLEX_LOCK_DIR", "DUPLEX_STATE_DIR"}) {
        if (const char* const value = std::getenv(name))
            command.environment.push_back(fmt::format("{}={}", name, value));
    }
    return command;
}

}  // namespace duplex::duplexd
