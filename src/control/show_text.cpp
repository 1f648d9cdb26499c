#include "control/show_text.hpp"

#include <fmt/format.h>

#include "config/quote.hpp"

namespace duplex::control {
namespace {

std::string indent(unsigned level) {
    return std::string(size_t{4} * level, ' ');
}

template <typename Options>
std::string option_lines(const Options& options, unsigned level, bool with_defaults) {
    std::string text;
    for (const config::Field<Options>& field : config::fields_of<Options>()) {
        const config::Value value = field.get(options);
        const bool is_default = value == config::default_value(field.option);
        if (is_default && !with_defaults) continue;
        text += fmt::format("{}{:<16}\t{};", indent(level), field.option.name,
                            config::format_value(field.option, value));
        const std::string_view unit = field.option.show_comment;
        if (!unit.empty() || is_default) text += " # ";
        text += unit;
        if (is_default) text += unit.empty() ? "default" : ", default";
        text += '\n';
    }
    return text;
}

template <typename Options>
std::string section(std::string_view name, const Options& options, unsigned level, bool with_defaults) {
    return fmt::format("{}{} {{\n{}{}}}\n", indent(level), name,
                       option_lines(options, level + 1, with_defaults), indent(level));
}

std::string statement(unsigned level, std::string_view name, std::string_view value) {
    return fmt::format("{}{}\t\t\t{};\n", indent(level), name, value);
}

std::string meta_disk_text(const engine::DiskStatus& disk) {
    if (disk.meta_index == -1) return "internal";
    const std::string path = config::quoted(disk.meta_path);
    return disk.meta_index < 0 ? path : fmt::format("{} [ {} ]", path, disk.meta_index);
}

std::string volume_text(const engine::VolumeStatus& volume, bool with_defaults) {
    std::string text = fmt::format("{}volume {} {{\n", indent(2), volume.volume);
    text += statement(3, "device", fmt::format("minor {}", volume.minor));
    if (volume.disk) {
        text += statement(3, "disk", config::quoted(volume.disk->data_path));
        text += statement(3, "meta-disk", meta_disk_text(*volume.disk));
        text += section("disk", volume.disk->options, 3, with_defaults);
    }
    return text + indent(2) + "}\n";
}

}  // namespace

std::string address_text(const engine::Endpoint& endpoint) {
    return endpoint.family == "ipv6"
               ? fmt::format("ipv6 [{}]:{}", endpoint.address, endpoint.port)
               : fmt::format("{} {}:{}", endpoint.family, endpoint.address, endpoint.port);
}

std::string show_text(const engine::ResourceStatus& resource, bool with_defaults) {
    const engine::ConnectionStatus& connection = resource.connection;
    std::string text = fmt::format("resource {} {{\n", config::quoted_if_needed(resource.name));
    text += section("options", resource.options, 1, with_defaults);
    if (connection.configured) {
        text += section("net", connection.options, 1, with_defaults);
        text += fmt::format("{}_remote_host {{\n{}{}}}\n", indent(1),
                            statement(2, "address", address_text(connection.peer)), indent(1));
    }
    text += indent(1) + "_this_host {\n";
    if (connection.configured) text += statement(2, "address", address_text(connection.local));
    for (const engine::VolumeStatus& volume : resource.volumes) text += volume_text(volume, with_defaults);
    return text + indent(1) + "}\n}\n";
}

}  // namespace duplex::control
