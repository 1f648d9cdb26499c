#include <fmt/format.h>
#include <fmt/ranges.h>

#include "config/dump.hpp"

namespace duplex::config {
namespace {

std::string escaped(std::string_view text) {
    std::string result;
    for (char c : text) {
        switch (c) {
            case '<':
                result += "&lt;";
                break;
            case '>':
                result += "&gt;";
                break;
            case '&':
                result += "&amp;";
                break;
            case '"':
                result += "&quot;";
                break;
            case '\'':
                result += "&apos;";
                break;
            default:
                result += c;
        }
    }
    return result;
}

class XmlWriter {
  public:
    void line(std::string_view text) { out_ += fmt::format("{:{}}{}\n", "", 4 * depth_, text); }
    void open(std::string_view element) {
        line(fmt::format("<{}>", element));
        ++depth_;
    }
    void close(std::string_view name) {
        --depth_;
        line(fmt::format("</{}>", name));
    }

    void option(std::string_view name, std::string_view value) {
        line(fmt::format("<option name=\"{}\" value=\"{}\"/>", escaped(name), escaped(value)));
    }
    void bare_option(std::string_view name) { line(fmt::format("<option name=\"{}\"/>", escaped(name))); }
    void options(const OptionList& list) {
        for (const OptionSetting& setting : list) option(setting.name, setting.value);
    }
    void section(std::string_view name, const OptionList& list) {
        if (list.empty()) return;
        open(fmt::format("section name=\"{}\"", name));
        options(list);
        close("section");
    }
    void proxy_section(std::string_view name, const OptionList& list,
                       const std::vector<std::string>& plugins) {
        if (list.empty() && plugins.empty()) return;
        open(fmt::format("section name=\"{}\"", name));
        options(list);
        if (!plugins.empty()) {
            open("section name=\"plugin\"");
            for (const std::string& plugin : plugins) bare_option(plugin);
            close("section");
        }
        close("section");
    }
    void address(std::string_view element, const Address& address) {
        line(fmt::format("<{0} family=\"{1}\" port=\"{2}\">{3}</{0}>", element, address.family, address.port,
                         escaped(address.ip)));
    }

    void volume(const Volume& volume);
    void host(const Host& host);
    void startup(const Sections& sections);
    void sections(const Sections& sections);
    void resource(const Resource& resource);
    void global(const Global& global);

    std::string take() { return std::move(out_); }

  private:
    std::string out_;
    int depth_ = 0;
};

void XmlWriter::volume(const Volume& volume) {
    open(fmt::format("volume vnr=\"{}\"", volume.number));
    section("disk", volume.disk_options);
    line(fmt::format("<device minor=\"{}\">{}</device>", volume.minor.value_or(0), escaped(volume.device)));
    line(fmt::format("<disk>{}</disk>", escaped(volume.disk)));
    if (volume.internal_meta_disk() || volume.meta_index == "flexible") {
        line(fmt::format("<meta-disk>{}</meta-disk>", escaped(volume.meta_disk)));
    } else {
        line(fmt::format("<meta-disk index=\"{}\">{}</meta-disk>", volume.meta_index,
                         escaped(volume.meta_disk)));
    }
    close("volume");
}

void XmlWriter::host(const Host& host) {
    if (host.kind == HostKind::floating) {
        open("host floating=\"1\"");
    } else {
        open(fmt::format("host name=\"{}\"", escaped(fmt::format("{}", fmt::join(host.names, " ")))));
    }
    section("options", host.options);
    for (const Volume& each : host.volumes) volume(each);
    address("address", host.address);
    if (host.proxy) {
        open(fmt::format("proxy hostname=\"{}\"",
                         escaped(fmt::format("{}", fmt::join(host.proxy->names, " ")))));
        address("inside", host.proxy->inside);
        address("outside", host.proxy->outside);
        proxy_section("options", host.proxy->options, host.proxy->plugins);
        close("proxy");
    }
    close("host");
}

void XmlWriter::startup(const Sections& sections) {
    if (sections.startup.empty() && !sections.stacked_timeouts && sections.become_primary_on.empty()) return;
    open("section name=\"startup\"");
    options(sections.startup);
    if (sections.stacked_timeouts) bare_option("stacked-timeouts");
    if (!sections.become_primary_on.empty()) {
        option("become-primary-on", fmt::format("{}", fmt::join(sections.become_primary_on, " ")));
    }
    close("section");
}

void XmlWriter::sections(const Sections& sections) {
    section("options", sections.options);
    section("net", sections.net);
    section("disk", sections.disk);
    startup(sections);
    proxy_section("proxy", sections.proxy, sections.plugins);
    section("handlers", sections.handlers);
}

void XmlWriter::resource(const Resource& resource) {
    open(fmt::format("resource name=\"{}\" conf-file-line=\"{}:{}\"", escaped(resource.name),
                     escaped(resource.absolute_file), resource.line));
    for (const Host& each : resource.hosts) host(each);
    sections(resource);
    close("resource");
}

void XmlWriter::global(const Global& global) {
    if (!global.disable_ip_verification && global.minor_count == 0 && global.dialog_refresh_s == 1) return;
    open("global");
    if (global.disable_ip_verification) line("<disable-ip-verification/>");
    if (global.minor_count != 0) line(fmt::format("<minor-count count=\"{}\"/>", global.minor_count));
    if (global.dialog_refresh_s != 1)
        line(fmt::format("<dialog-refresh refresh=\"{}\"/>", global.dialog_refresh_s));
    close("global");
}

}  // namespace

std::string dump_xml(const Config& config) {
    XmlWriter out;
    out.open(fmt::format("config file=\"{}\"", escaped(config.absolute_file)));
    out.global(config.global);
    if (config.common) {
        out.open("common");
        out.sections(*config.common);
        out.close("common");
    }
    for (const std::unique_ptr<Resource>& resource : config.resources) out.resource(*resource);
    out.close("config");
    return out.take();
}

std::string dump_xml_resource(const Resource& resource) {
    XmlWriter out;
    out.resource(resource);
    return out.take();
}

}  // namespace duplex::config
