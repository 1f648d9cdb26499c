// proxy-up, proxy-down: calls of drbd-proxy-ctl (cli 15).
#include <fmt/format.h>

#include "tools/drbdadm/actions.hpp"
#include "tools/drbdadm/session.hpp"

namespace duplex::drbdadm {
namespace {

using config::Address;
using config::Resource;

std::string endpoint(const Address& address) {
    return fmt::format("{}:{}", address.ip, address.port);
}

std::string connection_name(const Session& session, const Resource& resource) {
    const std::vector<std::string>& peer_names = resource.peer->proxy->names;
    return fmt::format("{}-{}-{}", resource.name, peer_names.empty() ? "" : peer_names.front(),
                       session.node.name);
}

bool proxies_known(Session& session, Resource& resource) {
    session.find_peer(resource);
    if (resource.me->proxy && resource.peer != nullptr && resource.peer->proxy) return true;
    fmt::print(stderr, "resource {}: cannot configure network without knowing my peer.\n", resource.name);
    return false;
}

}  // namespace

int proxy_up(Session& session, const Target& target) {
    Resource& resource = *target.resource;
    if (!proxies_known(session, resource)) return config::exit_fatal;
    const config::ProxyHost& own = *resource.me->proxy;
    const std::string name = connection_name(session, resource);
    const int status = session.run({session.line.drbd_proxy_ctl, "-c",
                                    fmt::format("add connection {} {} {} {} {}", name, endpoint(own.inside),
                                                endpoint(resource.peer->proxy->outside),
                                                endpoint(own.outside), endpoint(resource.me->address))},
                                   TimeLimit::short_time, resource);
    if (status != 0) return status;

    std::vector<std::string> words{session.line.drbd_proxy_ctl};
    for (const config::OptionSetting& setting : own.options) {
        words.insert(words.end(), {"-c", fmt::format("set {} {} {}", setting.name, name, setting.value)});
    }
    for (std::size_t i = 0; i < own.plugins.size(); ++i) {
        words.insert(words.end(), {"-c", fmt::format("set plugin {} {} {}", name, i, own.plugins[i])});
    }
    if (!own.plugins.empty()) {
        words.insert(words.end(), {"-c", fmt::format("set plugin {} {} END", name, own.plugins.size())});
    }
    return words.size() == 1 ? 0 : session.run(std::move(words), TimeLimit::short_time, resource);
}

int proxy_down(Session& session, const Target& target) {
    Resource& resource = *target.resource;
    if (!proxies_known(session, resource)) return config::exit_fatal;
    return session.run({session.line.drbd_proxy_ctl, "-c",
                        fmt::format("del connection {}", connection_name(session, resource))},
                       TimeLimit::short_time, resource);
}

}  // namespace duplex::drbdadm
