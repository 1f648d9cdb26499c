#include "config/dump.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "config/address.hpp"
#include "config/quote.hpp"

namespace duplex::config {
namespace {

class Writer {
  public:
    void line(std::string_view text) { out_ += fmt::format("{:{}}{}\n", "", 4 * depth_, text); }
    void open(std::string_view text) {
        line(fmt::format("{} {{", text));
        ++depth_;
    }
    void close() {
        --depth_;
        line("}");
    }

    void option(std::string_view name, std::string_view value) {
        const int width = 24 - 4 * depth_;
        line(fmt::format("{:<{}} {:>3};", name, width, quoted_if_needed(value)));
    }
    void options(const OptionList& list) {
        for (const OptionSetting& setting : list) option(setting.name, setting.value);
    }
    void section(std::string_view name, const OptionList& list) {
        if (list.empty()) return;
        open(name);
        options(list);
        close();
    }
    // A statement of a host or volume body; width is that of the name.
    void statement(std::string_view name, int width, std::string_view value) {
        line(fmt::format("{:<{}} {};", name, width, value));
    }

    void volume_statements(const Volume& volume, bool stacked);
    void volume(const Volume& volume, bool stacked);
    void host(const Host& host);
    void host_body(const Host& host);
    void proxy_host(const ProxyHost& proxy);
    void proxy_section(std::string_view name, const OptionList& list,
                       const std::vector<std::string>& plugins);
    void startup(const Sections& sections);
    void sections(const Sections& sections);

    std::string take() { return std::move(out_); }

  private:
    std::string out_;
    int depth_ = 0;
};

std::string quoted_names(const std::vector<std::string>& names) {
    std::string result;
    for (const std::string& name : names) {
        if (!result.empty()) result += ' ';
        result += quoted_if_needed(name);
    }
    return result;
}

void Writer::volume_statements(const Volume& volume, bool stacked) {
    constexpr int full_width = 16;
    const int width = volume.implicit ? full_width : 12;
    section("disk", volume.disk_options);
    const std::string minor = fmt::format("minor {}", volume.minor.value_or(0));
    statement("device", width,
              volume.device.empty() ? minor : fmt::format("{} {}", quoted_if_needed(volume.device), minor));
    if (stacked) return;
    statement("disk", width, quoted_if_needed(volume.disk));
    if (volume.internal_meta_disk()) {
        statement("meta-disk", width, "internal");
    } else if (volume.meta_index == "flexible") {
        statement("meta-disk", full_width, quoted_if_needed(volume.meta_disk));
    } else {
        statement("meta-disk", full_width,
                  fmt::format("{} [{}]", quoted_if_needed(volume.meta_disk), volume.meta_index));
    }
}

void Writer::volume(const Volume& volume, bool stacked) {
    if (volume.implicit) return volume_statements(volume, stacked);
    open(fmt::format("volume {}", volume.number));
    volume_statements(volume, stacked);
    close();
}

void Writer::proxy_section(std::string_view name, const OptionList& list,
                           const std::vector<std::string>& plugins) {
    if (list.empty() && plugins.empty()) return;
    open(name);
    options(list);
    if (!plugins.empty()) {
        open("plugin");
        for (const std::string& plugin : plugins) line(plugin + ";");
        close();
    }
    close();
}

void Writer::proxy_host(const ProxyHost& proxy) {
    open(fmt::format("proxy on {}", quoted_names(proxy.names)));
    statement("inside", 16, config_text(proxy.inside));
    statement("outside", 16, config_text(proxy.outside));
    proxy_section("options", proxy.options, proxy.plugins);
    close();
}

void Writer::host_body(const Host& host) {
    const bool stacked = host.kind == HostKind::stacked;
    if (stacked) {
        std::string names;
        for (const std::string& name : host.names) names += name + " ";
        line("# on " + names);
    }
    section("options", host.options);
    for (const Volume& each : host.volumes) volume(each, stacked);
    if (host.kind != HostKind::floating) statement("address", 16, config_text(host.address));
    if (host.alternate_address) {
        statement("alternate-link-address", 16, config_text(host.alternate_address));
    }
    if (host.proxy) proxy_host(*host.proxy);
}

void Writer::host(const Host& host) {
    switch (host.kind) {
        case HostKind::stacked:
            open("stacked-on-top-of " + quoted_if_needed(host.lower_name));
            break;
        case HostKind::floating:
            open("floating " + config_text(host.address));
            break;
        default:
            open("on " + quoted_names(host.names));
    }
    host_body(host);
    close();
}

void Writer::startup(const Sections& sections) {
    if (sections.startup.empty() && !sections.stacked_timeouts && sections.become_primary_on.empty()) return;
    open("startup");
    options(sections.startup);
    if (sections.stacked_timeouts) line("stacked-timeouts;");
    if (!sections.become_primary_on.empty()) {
        line(fmt::format("become-primary-on {};", quoted_names(sections.become_primary_on)));
    }
    close();
}

void Writer::sections(const Sections& sections) {
    section("options", sections.options);
    section("net", sections.net);
    section("disk", sections.disk);
    startup(sections);
    proxy_section("proxy", sections.proxy, sections.plugins);
    section("handlers", sections.handlers);
}

}  // namespace

std::string dump_head(const Config& config, bool always) {
    const Global& global = config.global;
    std::string text = fmt::format("# {}\n", config.absolute_file);
    const bool something = global.disable_ip_verification || global.minor_count != 0 ||
                           global.dialog_refresh_s != 1 || global.usage_count != UsageCount::ask;
    if (!something && !always) return text;

    Writer out;
    out.open("global");
    if (global.disable_ip_verification) out.line("disable-ip-verification;");
    if (global.minor_count != 0) out.line(fmt::format("minor-count {};", global.minor_count));
    if (global.dialog_refresh_s != 1) out.line(fmt::format("dialog-refresh {};", global.dialog_refresh_s));
    if (global.usage_count != UsageCount::ask) {
        out.line(fmt::format("usage-count {};", global.usage_count == UsageCount::yes ? "yes" : "no"));
    }
    // Compared with the documented defaults, which are not the built-in ones: cli 4.1.
    if (global.cmd_timeout_short_s != 5)
        out.line(fmt::format("cmd-timeout-short {};", global.cmd_timeout_short_s));
    if (global.cmd_timeout_medium_s != 121) {
        out.line(fmt::format("cmd-timeout-medium {};", global.cmd_timeout_medium_s));
    }
    if (global.cmd_timeout_long_s != 600)
        out.line(fmt::format("cmd-timeout-long {};", global.cmd_timeout_long_s));
    out.close();
    return text + out.take() + "\n";
}

std::string dump_common(const Config& config) {
    if (!config.common) return {};
    Writer out;
    out.open("common");
    out.sections(*config.common);
    out.close();
    return out.take() + "\n";
}

std::string dump_resource(const Resource& resource, std::string_view node_name) {
    const std::string name = quoted_if_needed(resource.name);
    Writer out;
    out.line(fmt::format("# resource {} on {}: {}ignored, {}stacked", name, node_name,
                         resource.ignored() ? "" : "not ", resource.stacked() ? "" : "not "));
    out.line(fmt::format("# defined at {}:{}", resource.absolute_file, resource.line));
    out.open("resource " + name);
    for (const Host& host : resource.hosts) out.host(host);
    out.sections(resource);
    out.close();
    return out.take() + "\n";
}

}  // namespace duplex::config
