#include "config/roles.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "config/address.hpp"

namespace duplex::config {
namespace {

bool is_mine(const Host& host, const Node& node, MatchBy match) {
    if (match == MatchBy::proxy) {
        return host.proxy && std::ranges::find(host.proxy->names, node.name) != host.proxy->names.end();
    }
    switch (host.kind) {
        case HostKind::this_host:
            return true;
        case HostKind::remote_host:
            return false;
        case HostKind::on:
            return host.has_name(node.name);
        case HostKind::stacked:
            return host.lower != nullptr && host.lower->me != nullptr;
        case HostKind::floating:
            break;
    }
    if (host.address.ip == node.name) return true;
    return std::ranges::any_of(node.addresses,
                               [&](const std::string& ip) { return same_ip(ip, host.address.ip); });
}

std::string section_text(const Host& host) {
    switch (host.kind) {
        case HostKind::stacked:
            return fmt::format("stacked-on-top-of {} {{ ... }}", host.lower_name);
        case HostKind::this_host:
            return "on _this_host { ... }";
        case HostKind::floating:
            return fmt::format("on {}:{} {{ ... }}", host.address.ip, host.address.port);
        default:
            return fmt::format("on {} {{ ... }}", fmt::join(host.names, " "));
    }
}

void assign_role(Resource& resource, const Node& node, MatchBy match, Report& report) {
    for (Host& host : resource.hosts) {
        if (!is_mine(host, node, match)) continue;
        if (resource.me != nullptr) {
            report.invalid(
                fmt::format("{}:{}: in resource {}, {} ... {}:\n"
                            "\tThere are multiple host sections for this node.",
                            resource.absolute_file, resource.line, resource.name, section_text(*resource.me),
                            section_text(host)));
            return;
        }
        resource.me = &host;
    }
}

bool is_stacked_resource(const Resource& resource) {
    return std::ranges::any_of(resource.hosts,
                               [](const Host& host) { return host.kind == HostKind::stacked; });
}

// The lower device of a stacked volume is the device of the lower resource's volume on this node.
void set_lower_devices(Host& host) {
    const Resource& lower = *host.lower;
    if (lower.hosts.empty()) return;
    const Host& below = lower.me != nullptr ? *lower.me : lower.hosts.front();
    for (Volume& volume : host.volumes) {
        if (const Volume* lower_volume = find_volume(below.volumes, volume.number)) {
            volume.disk = lower_volume->device_name();
        }
    }
}

bool is_called(const Host& host, std::string_view name) {
    return host.has_name(name) || (host.kind == HostKind::floating && same_ip(host.address.ip, name));
}

}  // namespace

void assign_roles(Config& config, const Node& node, MatchBy match, Report& report) {
    // Stacked sections look at the roles of what they stand on.
    for (const bool stacked : {false, true}) {
        for (const std::unique_ptr<Resource>& resource : config.resources) {
            if (is_stacked_resource(*resource) != stacked) continue;
            assign_role(*resource, node, match, report);
            for (Host& host : resource->hosts) {
                if (host.lower != nullptr) set_lower_devices(host);
            }
        }
    }
}

void assign_running_roles(Resource& resource) {
    for (Host& host : resource.hosts) {
        if (host.kind == HostKind::this_host) resource.me = &host;
        if (host.kind == HostKind::remote_host) resource.peer = &host;
    }
}

void choose_peer(Resource& resource, const PeerChoice& choice, Report& report) {
    if (resource.me == nullptr || resource.peer_examined) return;
    resource.peer_examined = true;
    const std::string start =
        fmt::format("{}:{}: in resource {}", resource.absolute_file, resource.line, resource.name);
    if (resource.hosts.size() == 2) {
        resource.peer = resource.me == &resource.hosts[0] ? &resource.hosts[1] : &resource.hosts[0];
        if (choice.mention_ignored && !choice.name.empty()) {
            report.note(fmt::format("{}:\n\tIgnoring --peer '{}': there are only two host sections.", start,
                                    choice.name));
        }
        return;
    }
    if (choice.name.empty() || resource.hosts.size() < 2) {
        if (!choice.explain) return;
        report.note(resource.hosts.size() < 2
                        ? fmt::format("{}:\n\tMissing section 'on <PEER> {{ ... }}'.", start)
                        : fmt::format("{}:\n\tThere are multiple host sections for the peer node.\n"
                                      "\tUse the --peer option to select which peer section to use.",
                                      start));
        return;
    }
    const auto found =
        std::ranges::find_if(resource.hosts, [&](const Host& host) { return is_called(host, choice.name); });
    if (found == resource.hosts.end()) {
        report.note(fmt::format("{}:\n\tNo host ('on' or 'floating') section matches --peer '{}'", start,
                                choice.name));
    } else if (&*found == resource.me) {
        report.note(
            fmt::format("{}\n\tInvoked with --peer '{}', but that matches myself!", start, choice.name));
    } else {
        resource.peer = &*found;
    }
}

}  // namespace duplex::config
