#include "config/model.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace duplex::config {

const OptionSetting* find_setting(const OptionList& list, std::string_view name) {
    const auto found = std::ranges::find(list, name, &OptionSetting::name);
    return found == list.end() ? nullptr : &*found;
}

Volume* find_volume(Volumes& volumes, unsigned number) {
    const auto found = std::ranges::find(volumes, number, &Volume::number);
    return found == volumes.end() ? nullptr : &*found;
}

const Volume* find_volume(const Volumes& volumes, unsigned number) {
    const auto found = std::ranges::find(volumes, number, &Volume::number);
    return found == volumes.end() ? nullptr : &*found;
}

std::string Volume::device_name() const {
    return device.empty() ? fmt::format("/dev/drbd{}", minor.value_or(0)) : device;
}

std::string_view unusable_name(std::string_view name) {
    if (name.empty()) return "Resource name is empty.";
    const bool control = std::ranges::any_of(name, [](char c) { return (c >= 0 && c < ' ') || c == 127; });
    return control ? "Resource name is invalid - please don't use control characters." : std::string_view();
}

std::string Host::label() const {
    if (names.empty() && kind == HostKind::floating) return fmt::format("{}:{}", address.ip, address.port);
    return names.empty() ? "UNKNOWN" : fmt::format("{}", fmt::join(names, " "));
}

bool Host::has_name(std::string_view name) const {
    return std::ranges::find(names, name) != names.end();
}

Resource* Config::find_resource(std::string_view name) const {
    for (const std::unique_ptr<Resource>& resource : resources) {
        if (resource->name == name) return resource.get();
    }
    return nullptr;
}

}  // namespace duplex::config
