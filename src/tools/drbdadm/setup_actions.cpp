// Commands that are calls of drbdsetup and drbdmeta (cli 11).
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>

#include <fmt/format.h>

#include "config/address.hpp"
#include "config/compare.hpp"
#include "tools/drbdadm/actions.hpp"
#include "tools/drbdadm/registry.hpp"
#include "tools/drbdadm/session.hpp"
#include "tools/drbdadm/setup_calls.hpp"

namespace duplex::drbdadm {
namespace {

using config::Resource;
using config::Volume;
using Words = std::vector<std::string>;

// Exit statuses of drbdsetup (cli 20).
constexpr int setup_peer_not_outdated = 5;
constexpr int setup_state_change_failed = 11;
constexpr int setup_no_up_to_date_disk = 17;

std::string minor_of(const Volume& volume) {
    return fmt::to_string(volume.minor.value_or(0));
}

TimeLimit limit_of(std::string_view command) {
    constexpr std::string_view medium[] = {"attach",  "disk-options", "detach",           "down",
                                           "primary", "secondary",    "invalidate-remote"};
    return std::ranges::find(medium, command) != std::end(medium) ? TimeLimit::medium_time
                                                                  : TimeLimit::short_time;
}

std::string own_address(const Resource& resource) {
    return config::setup_argument(resource.me->address);
}

// Where the connection goes: the peer, or the proxy on this side (cli 4.10). "N/A" in a dry run without peer.
std::string peer_address(const Resource& resource) {
    if (resource.me->proxy) return config::setup_argument(resource.me->proxy->inside);
    return resource.peer != nullptr ? config::setup_argument(resource.peer->address) : "N/A";
}

// Calls about the connection make no sense without a peer; a dry run shows them all the same.
bool peer_known(Session& session, Resource& resource) {
    session.find_peer(resource);
    if (resource.peer != nullptr || resource.me->proxy || session.dry_run()) return true;
    fmt::print(stderr, "resource {}: cannot configure network without knowing my peer.\n", resource.name);
    return false;
}

int call_setup(Session& session, const Target& target, Words words, std::string_view command) {
    session.add_setup_options(words);
    return session.run(std::move(words), limit_of(command), *target.resource);
}

int run_quietly(Session& session, const Target& target, Words words) {
    ToolCall call;
    call.words = std::move(words);
    call.resource = target.resource->name;
    call.drop_stderr = true;
    return session.runner.run(call);
}

}  // namespace

int setup_volume(Session& session, const Target& target) {
    const std::string command(session.line.command->name);
    return call_setup(session, target, {session.line.drbdsetup, command, minor_of(*target.volume)}, command);
}

int meta_volume(Session& session, const Target& target) {
    Words words = session.meta_words(*target.volume, session.line.command->name);
    session.add_setup_options(words);
    return session.run(std::move(words), TimeLimit::long_time, *target.resource);
}

// The meta data has a random identity, which it keeps when it is made anew (meta data 15.5).
int create_meta_data(Session& session, const Target& target) {
    std::string text;
    ToolCall read;
    read.words = session.meta_words(*target.volume, "read-dev-uuid");
    read.limit = TimeLimit::long_time;
    read.drop_stderr = true;
    read.always = true;
    read.stdout_text = &text;
    if (!session.dry_run()) session.runner.run(read);

    const int status = meta_volume(session, target);
    if (status != 0 || session.dry_run()) return status;
    uint64_t identity = std::strtoull(text.c_str(), nullptr, 16);
    if (identity == 0) {
        std::random_device source;
        identity = uint64_t{source()} << 32 | source();
    }
    std::vector<std::string> write = session.meta_words(*target.volume, "write-dev-uuid");
    write.push_back(fmt::format("{:016X}", identity));
    return session.run(std::move(write), TimeLimit::long_time, *target.resource);
}

int setup_or_meta(Session& session, const Target& target) {
    ToolCall call;
    std::string errors;
    call.words = {session.line.drbdsetup, std::string(session.line.command->name), minor_of(*target.volume)};
    session.add_setup_options(call.words);
    call.resource = target.resource->name;
    call.stderr_text = &errors;
    const int status = session.runner.run(call);
    if (!session.dry_run()) {
        if (status == 0) return 0;
        if (status == setup_state_change_failed || status == setup_no_up_to_date_disk) {
            fmt::print(stderr, "{}", errors);
            return status;
        }
    }
    return meta_volume(session, target);
}

int outdate(Session& session, const Target& target) {
    Words words{session.line.drbdsetup, "outdate", minor_of(*target.volume)};
    session.add_setup_options(words);
    const int status = run_quietly(session, target, std::move(words));
    if (!session.dry_run() && (status == 0 || status == setup_no_up_to_date_disk)) return status;
    const int meta_status = meta_volume(session, target);
    return status == setup_peer_not_outdated && meta_status != 0 ? status : meta_status;
}

int apply_activity_log(Session& session, const Target& target) {
    return session.run(session.meta_words(*target.volume, "apply-al"), TimeLimit::long_time,
                       *target.resource);
}

int attach(Session& session, const Target& target) {
    const int status = apply_activity_log(session, target);
    return status != 0 ? status : attach_disk(session, target);
}

int attach_disk(Session& session, const Target& target) {
    const Volume& volume = *target.volume;
    Words words{session.line.drbdsetup, "attach",         minor_of(volume), volume.disk,
                volume.meta_device(),   volume.meta_index};
    add_options(words, volume.disk_options);
    return call_setup(session, target, std::move(words), "attach");
}

int disk_options(Session& session, const Target& target) {
    return call_setup(session, target, {session.line.drbdsetup, "disk-options", minor_of(*target.volume)},
                      "disk-options");
}

int connect(Session& session, const Target& target) {
    Resource& resource = *target.resource;
    if (!peer_known(session, resource)) return config::exit_fatal;
    Words words{session.line.drbdsetup, "connect", resource.name, own_address(resource),
                peer_address(resource)};
    if (resource.me->alternate_address) {
        words.insert(words.end(),
                     {"--alternate-address", config::setup_argument(resource.me->alternate_address)});
    }
    if (resource.peer != nullptr && resource.peer->alternate_address) {
        words.insert(words.end(),
                     {"--alternate-peer-address", config::setup_argument(resource.peer->alternate_address)});
    }
    add_options(words, resource.net);
    return call_setup(session, target, std::move(words), "connect");
}

int net_options(Session& session, const Target& target) {
    Resource& resource = *target.resource;
    if (!peer_known(session, resource)) return config::exit_fatal;
    return call_setup(session, target,
                      {session.line.drbdsetup, "net-options", own_address(resource), peer_address(resource)},
                      "net-options");
}

int disconnect(Session& session, const Target& target) {
    Resource& resource = *target.resource;
    if (!peer_known(session, resource)) return config::exit_fatal;
    return call_setup(session, target,
                      {session.line.drbdsetup, "disconnect", own_address(resource), peer_address(resource)},
                      "disconnect");
}

int resource_options(Session& session, const Target& target) {
    return call_setup(session, target, {session.line.drbdsetup, "resource-options", target.resource->name},
                      "resource-options");
}

int new_resource(Session& session, const Target& target) {
    Words words{session.line.drbdsetup, "new-resource", target.resource->name};
    add_options(words, target.resource->options);
    const int status = call_setup(session, target, std::move(words), "new-resource");
    if (status == 0) register_resource(session, *target.resource);
    return status;
}

int new_minor(Session& session, const Target& target) {
    const Volume& volume = *target.volume;
    // Without the options of the command line, which are for the other calls of up: it has none.
    const int status = session.run({session.line.drbdsetup, "new-minor", target.resource->name,
                                    minor_of(volume), fmt::to_string(volume.number)},
                                   limit_of("new-minor"), *target.resource);
    if (status == 0) register_minor(session, volume.minor.value_or(0));
    return status;
}

int down(Session& session, const Target& target) {
    return call_setup(session, target, {session.line.drbdsetup, "down", target.resource->name}, "down");
}

int resize(Session& session, const Target& target) {
    const std::string minor = minor_of(*target.volume);
    Words words{session.line.drbdsetup, "resize", minor};
    const config::OptionSetting* size = config::find_setting(target.volume->disk_options, "size");
    if (size == nullptr) size = config::find_setting(target.resource->disk, "size");
    if (size != nullptr) words.push_back("--size=" + size->value);
    const int status = call_setup(session, target, std::move(words), "resize");
    if (status != 0) return status;
    session.run({session.line.drbdsetup, "check-resize", minor}, TimeLimit::short_time, *target.resource);
    return 0;
}

int check_resize(Session& session, const Target& target) {
    const std::string minor = minor_of(*target.volume);
    Words words{session.line.drbdsetup, "resize", minor};
    session.add_setup_options(words);
    if (run_quietly(session, target, std::move(words)) != 0) {
        return session.run(session.meta_words(*target.volume, "check-resize"), TimeLimit::long_time,
                           *target.resource);
    }
    session.run({session.line.drbdsetup, "check-resize", minor}, TimeLimit::short_time, *target.resource);
    return 0;
}

int status(Session& session, const Target& target) {
    if (target.resource == nullptr) {
        ToolCall call;
        call.words = {session.line.drbdsetup, "status"};
        session.add_setup_options(call.words);
        return session.runner.run(call);
    }
    return call_setup(session, target, {session.line.drbdsetup, "status", target.resource->name}, "status");
}

int set_resource_options(Session& session, const Target& target) {
    Words words{session.line.drbdsetup, "resource-options", target.resource->name, "--set-defaults"};
    add_options(words, target.resource->options);
    return call_setup(session, target, std::move(words), "resource-options");
}

int set_disk_options(Session& session, const Target& target) {
    Words words{session.line.drbdsetup, "disk-options", minor_of(*target.volume), "--set-defaults"};
    add_options(words, config::changeable_disk_options(target.volume->disk_options));
    return call_setup(session, target, std::move(words), "disk-options");
}

int set_net_options(Session& session, const Target& target) {
    Resource& resource = *target.resource;
    if (!peer_known(session, resource)) return config::exit_fatal;
    Words words{session.line.drbdsetup, "net-options", own_address(resource), peer_address(resource),
                "--set-defaults"};
    add_options(words, resource.net);
    return call_setup(session, target, std::move(words), "net-options");
}

int detach_minor(Session& session, const Target& target, unsigned minor) {
    return call_setup(session, target, {session.line.drbdsetup, "detach", fmt::to_string(minor)}, "detach");
}

int del_minor(Session& session, const Target& target, unsigned minor) {
    return call_setup(session, target, {session.line.drbdsetup, "del-minor", fmt::to_string(minor)},
                      "del-minor");
}

int disconnect_addresses(Session& session, const Target& target, const std::string& local,
                         const std::string& remote) {
    return call_setup(session, target, {session.line.drbdsetup, "disconnect", local, remote}, "disconnect");
}

// The 8.3 command for what was in the syncer section, which is spread over disk and net options now
// (cli 11.1).
int syncer(Session& session, const Target& target) {
    const int status = set_disk_options(session, target);
    return status != 0 ? status : set_net_options(session, target);
}

// For the init script: promote what become-primary-on names this node for. Up to five attempts, one per
// second, since the peer may be about to answer (cli 15).
int become_primary(Session& session, const Target& target) {
    const std::vector<std::string>& names = target.resource->become_primary_on;
    const bool wanted = std::ranges::any_of(
        names, [&](const std::string& name) { return name == "both" || name == session.node.name; });
    if (!wanted) return 0;
    int status = 0;
    for (int attempt = 0; attempt < 5; ++attempt) {
        if (attempt > 0) std::this_thread::sleep_for(std::chrono::seconds(1));
        status = session.run({session.line.drbdsetup, "primary", minor_of(*target.volume)},
                             TimeLimit::short_time, *target.resource);
        if (status == 0) break;
    }
    return status;
}

}  // namespace duplex::drbdadm
