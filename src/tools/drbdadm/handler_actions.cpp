// Handlers: called as "drbdadm HANDLER minor-N" when something happened, runs what is configured for it
// (cli 17).
#include <cstdlib>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "config/address.hpp"
#include "tools/drbdadm/actions.hpp"
#include "tools/drbdadm/session.hpp"

namespace duplex::drbdadm {
namespace {

using config::Host;
using config::Resource;

// If the sections do not tell which host the peer is, its address, which the caller knows, does.
void find_peer_by_address(Resource& resource) {
    const char* ip = std::getenv("DRBD_PEER_ADDRESS");
    if (resource.peer != nullptr || ip == nullptr) return;
    for (Host& host : resource.hosts) {
        if (&host != resource.me && config::same_ip(host.address.ip, ip)) resource.peer = &host;
    }
}

std::string minors_of(const Target& target) {
    if (target.volume != nullptr) return fmt::to_string(target.volume->minor.value_or(0));
    std::string text;
    for (const config::Volume& volume : target.resource->me->volumes) {
        text += fmt::format("{}{}", text.empty() ? "" : " ", volume.minor.value_or(0));
    }
    return text;
}

}  // namespace

int run_handler(Session& session, const Target& target) {
    Resource& resource = *target.resource;
    const config::OptionSetting* handler =
        config::find_setting(resource.handlers, session.line.command->name);
    if (handler == nullptr) return 0;
    session.find_peer(resource);
    find_peer_by_address(resource);

    ToolCall call;
    call.words = {"/bin/sh", "-c", handler->value};
    call.limit = TimeLimit::long_time;
    call.resource = resource.name;
    call.environment = {{"DRBD_CONF", session.config.absolute_file}, {"DRBD_MINOR", minors_of(target)}};
    if (target.volume != nullptr) {
        call.environment.emplace_back("DRBD_VOLUME", fmt::to_string(target.volume->number));
        call.environment.emplace_back("DRBD_LL_DISK", target.volume->disk);
    }
    if (const Host* peer = resource.peer) {
        call.environment.emplace_back("DRBD_PEER_AF", peer->address.family);
        call.environment.emplace_back("DRBD_PEER_ADDRESS", peer->address.ip);
        call.environment.emplace_back("DRBD_PEER", peer->names.empty() ? std::string() : peer->names.front());
        call.environment.emplace_back("DRBD_PEERS", fmt::format("{}", fmt::join(peer->names, " ")));
    }
    return session.runner.run(call);
}

}  // namespace duplex::drbdadm
