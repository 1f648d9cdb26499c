#include "tools/drbdadm/local_node.hpp"

#include <arpa/inet.h>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <ifaddrs.h>
#include <netdb.h>
#include <sys/utsname.h>

#include <fmt/format.h>

namespace duplex::drbdadm {
namespace {

std::vector<std::string> interface_addresses() {
    std::vector<std::string> addresses;
    ifaddrs* list = nullptr;
    if (getifaddrs(&list) != 0) return addresses;
    for (const ifaddrs* each = list; each != nullptr; each = each->ifa_next) {
        if (each->ifa_addr == nullptr) continue;
        const int family = each->ifa_addr->sa_family;
        if (family != AF_INET && family != AF_INET6) continue;
        const socklen_t length = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
        std::array<char, NI_MAXHOST> text{};
        const int problem =
            getnameinfo(each->ifa_addr, length, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST);
        if (problem == 0) addresses.emplace_back(text.data());
    }
    freeifaddrs(list);
    return addresses;
}

}  // namespace

config::Node local_node() {
    config::Node node;
    utsname names{};
    if (uname(&names) == 0) node.name = names.nodename;
    if (const char* pretended = std::getenv("__DRBD_NODE__"); pretended != nullptr && *pretended != '\0') {
        node.name = pretended;
        fmt::print(stderr,
                   "\n   found __DRBD_NODE__ in environment\n"
                   "   PRETENDING that I am >>{}<<\n\n",
                   node.name);
    }
    node.addresses = interface_addresses();
    return node;
}

}  // namespace duplex::drbdadm
