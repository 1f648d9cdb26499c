#include "config/merge.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "config/roles.hpp"

namespace duplex::config {
namespace {

// What own lacks by name is put in front, one after the other, which reverses the order.
void inherit(OptionList& own, const OptionList& general) {
    for (const OptionSetting& setting : general) {
        if (find_setting(own, setting.name) == nullptr) own.insert(own.begin(), setting);
    }
}

void inherit_plugins(std::vector<std::string>& own, const std::vector<std::string>& general) {
    if (own.empty()) own.assign(general.rbegin(), general.rend());
}

void inherit_common(Resource& resource, const Sections& common) {
    inherit(resource.net, common.net);
    inherit(resource.disk, common.disk);
    inherit(resource.startup, common.startup);
    inherit(resource.options, common.options);
    inherit(resource.handlers, common.handlers);
    inherit(resource.proxy, common.proxy);
    inherit_plugins(resource.plugins, common.plugins);
    if (resource.become_primary_on.empty()) resource.become_primary_on = common.become_primary_on;
    resource.stacked_timeouts |= common.stacked_timeouts;
}

std::string place(const Resource& resource) {
    return fmt::format("{}:{}: in resource {}:", resource.absolute_file, resource.line, resource.name);
}

// The volume that resync-after names: RES, or RES/VNR.
struct Reference {
    const Volume* volume = nullptr;
    const Resource* resource = nullptr;
    bool ambiguous = false;
};

Reference find_reference(const Config& config, std::string_view text) {
    Reference reference;
    const std::size_t slash = text.rfind('/');
    reference.resource = config.find_resource(text);
    std::optional<unsigned> number;
    if (reference.resource == nullptr && slash != std::string_view::npos) {
        const std::string_view digits = text.substr(slash + 1);
        unsigned value = 0;
        const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
        if (problem == std::errc() && end == digits.data() + digits.size()) number = value;
        if (number) reference.resource = config.find_resource(text.substr(0, slash));
    }
    if (reference.resource == nullptr || reference.resource->me == nullptr) return reference;
    const Volumes& volumes = reference.resource->me->volumes;
    if (number) {
        reference.volume = find_volume(volumes, *number);
    } else if (volumes.size() == 1) {
        reference.volume = &volumes.front();
    } else {
        reference.ambiguous = volumes.size() > 1;
    }
    return reference;
}

// Looks at the resync-after options of one list; those that lead nowhere are removed.
void check_resync_after(const Config& config, const Resource& resource, OptionList& list, ResyncAfter as,
                        DanglingReferences dangling, Report& report) {
    const auto leads_nowhere = [&](OptionSetting& setting) {
        if (setting.name != "resync-after") return false;
        const Reference reference = find_reference(config, setting.value);
        if (reference.ambiguous) {
            report.invalid(fmt::format(
                "{}\n\tresync-after contains '{}', which is ambiguous, since it contains {} volumes",
                place(resource), setting.value, reference.resource->me->volumes.size()));
            return false;
        }
        if (reference.volume == nullptr) {
            std::string message = fmt::format(
                "{}\n\tresource '{}' mentioned in 'resync-after' option is not known{}.", place(resource),
                setting.value, reference.resource != nullptr ? " on this host" : "");
            if (dangling == DanglingReferences::refuse) {
                report.invalid(std::move(message));
            } else {
                report.note(std::move(message));
            }
            return true;
        }
        if (as == ResyncAfter::by_minor) setting.value = fmt::to_string(reference.volume->minor.value_or(0));
        return false;
    };
    std::erase_if(list, leads_nowhere);
}

void translate_discard_node(Resource& resource) {
    constexpr std::string_view prefix = "discard-node-";
    for (OptionSetting& setting : resource.net) {
        if (setting.name != "after-sb-0pri" || !setting.value.starts_with(prefix) || resource.me == nullptr)
            continue;
        const bool own = resource.me->has_name(std::string_view(setting.value).substr(prefix.size()));
        setting.value = own ? "discard-local" : "discard-remote";
    }
}

void merge_host(const Config& config, Resource& resource, Host& host, ResyncAfter resync_after,
                DanglingReferences dangling, Report& report) {
    for (Volume& volume : host.volumes) {
        inherit(volume.disk_options, resource.disk);
        if (const Volume* general = find_volume(resource.volumes, volume.number)) {
            inherit(volume.disk_options, general->disk_options);
        }
        if (!resource.ignored() && resync_after == ResyncAfter::by_minor) {
            check_resync_after(config, resource, volume.disk_options, resync_after, dangling, report);
            if (!report.valid()) return;
        }
        volume.device = volume.device_name();
    }
    if (host.proxy) {
        inherit(host.proxy->options, resource.proxy);
        inherit_plugins(host.proxy->plugins, resource.plugins);
    }
}

void check_become_primary_on(const Resource& resource, const Sections* common, Report& report) {
    const Sections& from = resource.become_primary_on.empty() && common != nullptr
                               ? *common
                               : static_cast<const Sections&>(resource);
    for (const std::string& name : from.become_primary_on) {
        if (name == "both") {
            const bool allowed =
                find_setting(resource.net, "allow-two-primaries") != nullptr ||
                (common != nullptr && find_setting(common->net, "allow-two-primaries") != nullptr);
            if (allowed) continue;
            report.invalid(
                fmt::format("{}\nbecome-primary-on is set to both, but allow-two-primaries is not set.",
                            place(resource)));
        } else if (resource.hosts.size() == 2 && std::ranges::none_of(resource.hosts, [&](const Host& host) {
                       return host.has_name(name);
                   })) {
            report.invalid(fmt::format(
                "{}\n\tbecome-primary-on contains '{}', which is not named with the 'on' sections.",
                place(resource), name));
        }
    }
}

void check_proxies(const Resource& resource, Report& report) {
    const auto with_proxy =
        std::ranges::count_if(resource.hosts, [](const Host& host) { return host.proxy.has_value(); });
    if (resource.hosts.size() != 2 || with_proxy != 1) return;
    report.invalid(fmt::format("{}\n\tEither both 'on' sections must contain a proxy subsection, or none.",
                               place(resource)));
}

}  // namespace

void merge(Config& config, ResyncAfter resync_after, DanglingReferences dangling, Report& report) {
    for (const std::unique_ptr<Resource>& resource : config.resources) {
        if (config.common) inherit_common(*resource, *config.common);
        translate_discard_node(*resource);
        for (Host& host : resource->hosts) {
            merge_host(config, *resource, host, resync_after, dangling, report);
            if (!report.valid()) return;
        }
    }
}

void check_references(Config& config, DanglingReferences dangling, Report& report) {
    const Sections* common = config.common ? &*config.common : nullptr;
    for (const std::unique_ptr<Resource>& resource : config.resources) {
        if (resource->ignored()) continue;
        check_resync_after(config, *resource, resource->disk, ResyncAfter::by_name, dangling, report);
        check_become_primary_on(*resource, common, report);
        check_proxies(*resource, report);
    }
}

}  // namespace duplex::config
