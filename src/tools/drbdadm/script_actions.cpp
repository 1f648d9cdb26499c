// Commands that print what scripts want to know (cli 14, 15).
#include <algorithm>
#include <cstdio>
#include <optional>

#include <fmt/format.h>

#include "config/dump.hpp"
#include "config/quote.hpp"
#include "tools/drbdadm/actions.hpp"
#include "tools/drbdadm/session.hpp"
#include "tools/drbdadm/version.hpp"

namespace duplex::drbdadm {
namespace {

using config::Resource;
using config::Volume;

std::string without_dev(std::string_view path) {
    constexpr std::string_view prefix = "/dev/";
    return std::string(path.starts_with(prefix) ? path.substr(prefix.size()) : path);
}

int print_line(std::string_view text) {
    fmt::print("{}\n", text);
    return 0;
}

// The volume below a stacked one; nullptr if there is none.
const Volume* lower_volume(const Resource& resource, const Volume& volume) {
    const Resource* lower = resource.me->lower;
    return lower != nullptr && lower->me != nullptr ? config::find_volume(lower->me->volumes, volume.number)
                                                    : nullptr;
}

void print_stacked_on(const Volume* below) {
    fmt::print("_stacked_on_device={}\n", below != nullptr ? below->device_name() : "");
    fmt::print("_stacked_on_minor={}\n",
               below != nullptr ? fmt::to_string(below->minor.value_or(0)) : std::string());
}

int sh_status_of(Session& session, Resource& resource) {
    fmt::print("_conf_res_name={}\n_conf_file_line={}:{}\n\n", config::shell_escaped(resource.name),
               config::shell_escaped(resource.absolute_file), resource.line);
    const bool stacked = resource.stacked();
    fmt::print("_stacked_on={}\n", stacked ? config::shell_escaped(resource.me->lower_name) : std::string());
    if (!stacked) print_stacked_on(nullptr);
    for (Volume& volume : resource.me->volumes) {
        if (stacked) print_stacked_on(lower_volume(resource, volume));
        fmt::print("_conf_volume={}\n", volume.number);
        std::vector<std::string> words{session.line.drbdsetup, "sh-status",
                                       fmt::to_string(volume.minor.value_or(0))};
        session.add_setup_options(words);
        const int status = session.run(std::move(words), TimeLimit::short_time, resource);
        if (status != 0) {
            fmt::print(stderr, "command sh-status exited with code {}\n", status);
            return status;
        }
    }
    return 0;
}

}  // namespace

int do_nothing(Session& /*session*/, const Target& /*target*/) {
    return 0;
}

int dump(Session& session, const Target& target) {
    if (target.resource != nullptr) {
        fmt::print("{}", config::dump_resource(*target.resource, session.node.name));
        return 0;
    }
    fmt::print("{}{}", config::dump_head(session.config, session.line.verbose > 0),
               config::dump_common(session.config));
    for (const auto& resource : session.config.resources) {
        fmt::print("{}", config::dump_resource(*resource, session.node.name));
    }
    return 0;
}

int dump_xml(Session& session, const Target& target) {
    fmt::print("{}", target.resource != nullptr ? config::dump_xml_resource(*target.resource)
                                                : config::dump_xml(session.config));
    return 0;
}

int sh_resources(Session& session, const Target& /*target*/) {
    std::string text;
    for (const auto& resource : session.config.resources) {
        if (resource->ignored() || resource->stacked() != session.line.stacked) continue;
        if (!text.empty()) text += ' ';
        text += config::quoted_if_needed(resource->name);
    }
    return text.empty() ? 0 : print_line(text);
}

int sh_resource(Session& /*session*/, const Target& target) {
    return print_line(target.resource->name);
}

int sh_mod_parms(Session& session, const Target& /*target*/) {
    std::size_t count = session.config.global.minor_count;
    if (count == 0) {
        for (const auto& resource : session.config.resources) {
            if (!resource->ignored()) count += resource->me->volumes.size();
        }
        count = std::clamp(count + 3, std::size_t{32}, std::size_t{255});
    }
    return print_line(fmt::format("minor_count={}", count));
}

int sh_dev(Session& /*session*/, const Target& target) {
    return print_line(target.volume->device_name());
}

int sh_udev(Session& session, const Target& target) {
    const Volume& volume = *target.volume;
    const bool plain = volume.implicit && !session.config.global.udev_always_use_vnr;
    fmt::print("RESOURCE={}{}\n", target.resource->name,
               plain ? std::string() : fmt::format("/{}", volume.number));
    fmt::print("DEVICE={}\nDISK={}\n", without_dev(volume.device_name()), without_dev(volume.disk));
    return 0;
}

int sh_minor(Session& /*session*/, const Target& target) {
    return print_line(fmt::to_string(target.volume->minor.value_or(0)));
}

int sh_ll_dev(Session& /*session*/, const Target& target) {
    return print_line(target.volume->disk);
}

int sh_md_dev(Session& /*session*/, const Target& target) {
    return print_line(target.volume->meta_device());
}

int sh_md_idx(Session& /*session*/, const Target& target) {
    return print_line(target.volume->meta_index);
}

int sh_ip(Session& /*session*/, const Target& target) {
    return print_line(target.resource->me->address.ip);
}

int sh_lower_resource(Session& session, const Target& target) {
    if (!session.line.stacked) {
        fmt::print(stderr, "sh-lower-resource only available in stacked mode\n");
        return config::exit_usage;
    }
    return print_line(target.resource->me->lower_name);
}

int sh_status(Session& session, const Target& /*target*/) {
    if (!session.dry_run()) {
        fmt::print("_drbd_version={}\n_drbd_api=1\n_config_file={}\n\n\n", compatible_version,
                   config::shell_escaped(session.config.absolute_file));
    }
    for (const auto& resource : session.config.resources) {
        if (resource->ignored()) continue;
        if (const int status = sh_status_of(session, *resource); status != 0) return status;
    }
    return 0;
}

}  // namespace duplex::drbdadm
