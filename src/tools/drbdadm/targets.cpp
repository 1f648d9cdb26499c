#include "tools/drbdadm/targets.hpp"

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>

namespace duplex::drbdadm {
namespace {

using config::Resource;
using config::Volume;

constexpr std::string_view minor_prefix = "minor-";

bool works_on_whole_resources(Scope scope, std::string_view command) {
    return scope == Scope::resource || scope == Scope::resource_handler || scope == Scope::optional ||
           (scope == Scope::together && command != "up");
}

Selection failed(int status, std::string_view message) {
    fmt::print(stderr, "{}\n", message);
    return {{}, status, false};
}

Target find_minor(const Session& session, int64_t minor) {
    for (const auto& resource : session.config.resources) {
        if (resource->ignored()) continue;
        for (Volume& volume : resource->me->volumes) {
            if (volume.minor == minor) return {resource.get(), &volume};
        }
    }
    return {};
}

// RES, RES/VNR or minor-M, whatever the command does with it.
Selection find_named(Session& session, std::string_view name) {
    const bool by_minor = name.starts_with(minor_prefix);
    const std::size_t slash = by_minor ? minor_prefix.size() - 1 : name.find('/');
    Target target;
    if (slash == std::string_view::npos) {
        target.resource = session.config.find_resource(name);
    } else {
        const std::string_view digits = name.substr(slash + 1);
        const Result<int64_t> number = config::parse_number(digits, config::NumberUnit::one);
        if (!number) {
            return failed(digits.empty() ? config::exit_empty_number : config::exit_fatal,
                          number.error().text);
        }
        if (by_minor) {
            target = find_minor(session, *number);
            // A minor says by itself which kind of resource is meant.
            if (target.resource != nullptr && target.resource->stacked()) session.line.stacked = true;
        } else {
            target.resource = session.config.find_resource(name.substr(0, slash));
            if (target.resource != nullptr && !target.resource->ignored()) {
                target.volume =
                    config::find_volume(target.resource->me->volumes, static_cast<unsigned>(*number));
            }
            if (target.volume == nullptr) target.resource = nullptr;
        }
    }
    if (target.resource == nullptr || target.resource->ignored()) {
        return failed(config::exit_usage,
                      fmt::format("'{}' not defined in your config (for this host).", name));
    }
    return {target, 0, false};
}

}  // namespace

Selection select_target(Session& session, std::string_view name) {
    const Command& command = *session.line.command;
    Selection selection = find_named(session, name);
    if (selection.status != 0) return selection;
    Target& target = selection.target;
    const bool stacked = target.resource->stacked();
    const bool any_kind = command.name == "dump" || command.name == "dump-xml";
    if (stacked != session.line.stacked && !any_kind) {
        fmt::print(stderr, "'{}' is a {} resource, and not available in {} mode.\n", target.resource->name,
                   stacked ? "stacked" : "normal", session.line.stacked ? "stacked" : "normal");
        return {{}, config::exit_usage, true};
    }
    if (works_on_whole_resources(command.scope, command.name) && target.volume != nullptr) {
        if (!target.volume->implicit) {
            return failed(config::exit_usage,
                          fmt::format("{} operates on whole resources, but you specified a specific volume!",
                                      command.name));
        }
        target.volume = nullptr;
    }
    const bool one_volume = command.scope == Scope::one_volume || command.scope == Scope::volume_handler;
    if (one_volume && target.volume == nullptr) {
        config::Volumes& volumes = target.resource->me->volumes;
        if (volumes.size() != 1 || !volumes.front().implicit) {
            return failed(config::exit_usage,
                          fmt::format("{0} requires a specific volume id, but none is specified.\n"
                                      "Try '{0} minor-<minor_number>' or '{0} {1}/<vnr>'",
                                      command.name, target.resource->name));
        }
        target.volume = &volumes.front();
    }
    return selection;
}

int nothing_to_do(const Session& session) {
    if (session.config.resources.empty()) {
        fmt::print(stderr, "no resources defined!\n");
        return config::exit_usage;
    }
    const bool something = std::ranges::any_of(session.config.resources, [&](const auto& resource) {
        return !resource->ignored() && resource->stacked() == session.line.stacked;
    });
    if (something) return 0;
    if (session.line.stacked) {
        fmt::print(stderr, "WARN: nothing stacked for this host ({}), nothing to do in stacked mode!\n",
                   session.node.name);
    } else {
        fmt::print(stderr,
                   "WARN: no normal resources defined for this host ({})!?\n"
                   "Misspelled name of the local machine with the 'on' keyword ?\n",
                   session.node.name);
    }
    return config::exit_usage;
}

}  // namespace duplex::drbdadm
