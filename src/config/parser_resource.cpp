// Resources and what stands in them: sections, host sections, stacked sections, volumes.
#include <algorithm>
#include <iterator>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "config/parser_state.hpp"

namespace duplex::config {
namespace {

constexpr std::string_view resource_words =
    "protocol | on | disk | net | syncer | startup | handlers | ignore-on | stacked-on-top-of";

struct SectionWord {
    std::string_view word;
    std::string_view kind;  // what a second one conflicts with (cli 9.2)
    std::string_view key;
    OptionGroup group;
};

constexpr SectionWord section_words[] = {
    {"net", "net section", "net", OptionGroup::net},
    {"syncer", "syncer section", "syncer", OptionGroup::disk},
    {"startup", "startup section", "startup", OptionGroup::startup},
    {"handlers", "handlers section", "handlers", OptionGroup::handlers},
    {"proxy", "proxy section", "proxy", OptionGroup::proxy},
    {"options", "resource options section", "res_options", OptionGroup::resource},
};

void sort_volumes(Volumes& volumes) {
    std::ranges::sort(volumes, {}, &Volume::number);
}

}  // namespace

void Parser::parse_common(int line) {
    expect('{');
    claim("resource section", "common", line);
    Sections sections;
    Resource ignored;  // statements about devices are read and mean nothing here
    ignored.name = "common";
    parse_resource_body(sections, ignored, true);
    if (!config_.common) config_.common = std::move(sections);
}

void Parser::parse_resource() {
    const Token name = expect_string();
    if (failed_) return;
    if (const std::string_view problem = unusable_name(name.text); !problem.empty()) {
        return fail(std::string(problem), exit_usage);
    }
    claim("resource section", name.text, name.line);
    auto resource = std::make_unique<Resource>();
    resource->name = name.text;
    resource->absolute_file = absolute_file_;
    resource->file = file_;
    expect('{');
    resource->line = last_line_;
    parse_resource_body(*resource, *resource, false);
    check_volumes_match(*resource);
    if (!failed_) config_.resources.push_back(std::move(resource));
}

// A section every body may have; false if the word opens none.
bool Parser::parse_section(const Token& word, Sections& sections, const std::string& label) {
    const SectionWord* entry = std::ranges::find(section_words, word.text, &SectionWord::word);
    if (entry == std::end(section_words)) return false;
    claim(entry->kind, fmt::format("{}:{}", label, entry->key), word.line);
    section_start_ = word.line;
    expect('{');
    if (entry->word == "syncer") {
        parse_syncer(sections);
    } else if (entry->group == OptionGroup::startup) {
        parse_startup(sections);
    } else if (entry->group == OptionGroup::proxy) {
        parse_proxy_options(sections.proxy, sections.plugins);
    } else {
        parse_options(entry->group, list_of(sections, entry->group));
    }
    return true;
}

// The end of the file closes an unfinished body (cli 3).
void Parser::parse_resource_body(Sections& sections, Resource& resource, bool common) {
    const Body body{resource.name, &resource.volumes, nullptr};
    for (Token token = next(); !token.is('}') && token.kind != TokenKind::end; token = next()) {
        if (token.kind != TokenKind::keyword) {
            return fail_expected(resource_words, token, Form::numbered);
        }
        if (token.text == "protocol") {
            claim("protocol statement", resource.name + ": protocol", token.line);
            const Option* protocol = find_option(OptionGroup::net, "protocol");
            Token value = next();
            if (value.kind != TokenKind::string) return fail_not_string("TK_STRING", value);
            put_back(std::move(value));
            sections.net.push_back({"protocol", parse_option_value(protocol)});
        } else if (token.text == "on") {
            parse_on(resource, token.line);
        } else if (token.text == "floating") {
            parse_floating(resource, token.line);
        } else if (token.text == "stacked-on-top-of") {
            parse_stacked(resource, token.line);
        } else if (token.text == "_this_host" || token.text == "_remote_host") {
            const bool mine = token.text == "_this_host";
            parse_running_host(resource, mine ? HostKind::this_host : HostKind::remote_host, token.line);
        } else if (token.text == "ignore-on") {
            expect_string();
            report_.note(fmt::format("{}:{}: in resource {}, WARN: The 'ignore-on' keyword is deprecated.",
                                     file_, token.line, resource.name));
            expect(';');
        } else if (token.text == "disk") {
            if (Token word = next(); word.is('{')) {
                claim("disk section", resource.name + ":disk", token.line);
                section_start_ = token.line;
                parse_options(OptionGroup::disk, sections.disk);
            } else {
                put_back(std::move(word));
                parse_implicit_volume(token, body);
            }
        } else if (token.text == "volume") {
            parse_volume(body);
        } else if (!parse_section(token, sections, resource.name) && !parse_implicit_volume(token, body)) {
            return fail_expected(resource_words, token, Form::numbered);
        }
        if (common && !resource.hosts.empty()) {
            return fail(fmt::format("{}:{}: in the common section, there are no host sections allowed.",
                                    file_, section_start_));
        }
    }
    sort_volumes(resource.volumes);
}

void Parser::parse_on(Resource& resource, int line) {
    Host host;
    host.line = section_start_ = line;
    host.names = parse_names('{', "TK_STRING | '{'");
    for (const std::string& name : host.names) {
        claim("host section", fmt::format("{}: on {}", resource.name, name), line);
    }
    parse_host_body(resource, host);
    finish_host(resource, host);
}

void Parser::parse_floating(Resource& resource, int line) {
    Host host;
    host.kind = HostKind::floating;
    host.line = section_start_ = line;
    Token start = next();
    put_back(start);
    start.line = line;
    host.address = parse_address(start);
    claim_address(host.address, host);
    if (Token token = next(); token.is('{')) {
        parse_host_body(resource, host);
    } else if (!token.is(';')) {
        fail_expected("{ | ;", token, Form::numbered);
    }
    finish_host(resource, host);
}

void Parser::parse_running_host(Resource& resource, HostKind kind, int line) {
    Host host;
    host.kind = kind;
    host.line = line;
    expect('{');
    parse_host_body(resource, host);
    sort_volumes(host.volumes);
    resource.hosts.push_back(std::move(host));
}

void Parser::parse_host_body(Resource& resource, Host& host) {
    const Body body{resource.name + ":" + host.label(), &host.volumes, &host};
    for (Token token = next(); !token.is('}') && !failed_; token = next()) {
        if (token.kind != TokenKind::keyword) {
            return fail_expected("disk | device | address | meta-disk | flexible-meta-disk", token,
                                 Form::plain);
        }
        if (token.text == "address") {
            if (host.kind == HostKind::floating) {
                return fail(
                    fmt::format("{}:{}: address statement not allowed for floating {{}} host sections", file_,
                                token.line));
            }
            claim("address statement", body.label + ":address", token.line);
            host.address = parse_address(token);
            claim_address(host.address, host);
            expect(';');
        } else if (token.text == "alternate-link-address") {
            host.alternate_address = parse_address(token);
            expect(';');
        } else if (token.text == "volume") {
            parse_volume(body);
        } else if (token.text == "options") {
            section_start_ = token.line;
            expect('{');
            parse_options(OptionGroup::resource, host.options);
        } else if (token.text == "proxy") {
            parse_proxy_host(host);
        } else if (!parse_implicit_volume(token, body)) {
            return fail_expected("disk | device | address | meta-disk | flexible-meta-disk", token,
                                 Form::plain);
        }
    }
}

void Parser::parse_stacked(Resource& resource, int line) {
    Host host;
    host.kind = HostKind::stacked;
    host.line = section_start_ = line;
    const Token lower = expect_string();
    host.lower_name = lower.text;
    claim("stacked-on-top-of", "stacked:" + lower.text, line);
    expect('{');
    parse_stacked_body(host, resource.name + ":" + lower.text);
    finish_host(resource, host);
}

void Parser::parse_stacked_body(Host& host, const std::string& label) {
    const Body body{label, &host.volumes, &host};
    for (Token token = next(); !token.is('}') && !failed_; token = next()) {
        if (token.is_keyword("device")) {
            parse_implicit_volume(token, body);
        } else if (token.is_keyword("address")) {
            claim("address statement", label + ":address", token.line);
            host.address = parse_address(token);
            claim_address(host.address, host);
            expect(';');
        } else if (token.is_keyword("alternate-link-address")) {
            host.alternate_address = parse_address(token);
            expect(';');
        } else if (token.is_keyword("proxy")) {
            parse_proxy_host(host);
        } else if (token.is_keyword("volume")) {
            parse_volume(body);
        } else {
            fail_expected("device | address | proxy", token, Form::plain);
        }
    }
}

void Parser::parse_proxy_host(Host& host) {
    const int line = last_line_;
    ProxyHost proxy;
    expect_keyword("on");
    proxy.names = parse_names('{', "TK_STRING | '{'");
    for (Token token = next(); !token.is('}') && !failed_; token = next()) {
        if (token.is_keyword("inside")) {
            proxy.inside = parse_address(token);
            expect(';');
        } else if (token.is_keyword("outside")) {
            proxy.outside = parse_address(token);
            expect(';');
        } else if (token.is_keyword("options")) {
            expect('{');
            parse_proxy_options(proxy.options, proxy.plugins);
        } else {
            fail_expected("inside | outside", token, Form::plain);
        }
    }
    for (const auto& [address, word] :
         {std::pair(&proxy.inside, "inside"), std::pair(&proxy.outside, "outside")}) {
        if (*address) continue;
        invalid_at(line, fmt::format("in section: on {} {{ proxy on {} {{ ... }} }}: '{}' keyword missing.",
                                     host.label(), fmt::join(proxy.names, " "), word));
    }
    host.proxy = std::move(proxy);
}

void Parser::finish_host(Resource& resource, Host& host) {
    if (failed_) return;
    sort_volumes(host.volumes);
    inherit_volumes(resource, host);
    check_host_complete(resource, host);
    const bool mixed = std::ranges::any_of(host.volumes, &Volume::implicit) &&
                       !std::ranges::all_of(host.volumes, &Volume::implicit);
    if (mixed) {
        invalid_at(last_line_, fmt::format("in resource {}: you must not mix implicit and explicit volumes",
                                           resource.name));
    }
    resource.hosts.push_back(std::move(host));
}

// Each of the host's volumes takes what it lacks from the resource's volume of the same number (cli 4.7).
void Parser::inherit_volumes(const Resource& resource, Host& host) {
    const bool stacked = host.kind == HostKind::stacked;
    for (const Volume& general : resource.volumes) {
        Volume* own = find_volume(host.volumes, general.number);
        if (own == nullptr) {
            own = &host.volumes.emplace_back();
            own->number = general.number;
            own->implicit = general.implicit;
        }
        if (!own->minor && general.minor) {
            own->minor = general.minor;
            own->device = general.device;
            claim_device(*own, host, last_line_);
        }
        if (own->disk.empty() && !stacked) {
            own->disk = general.disk;
            for (const std::string& name : host.names) {
                if (!own->disk.empty()) claim("disk", fmt::format("disk:{}:{}", name, own->disk), last_line_);
            }
        }
        if (own->meta_disk.empty() && !stacked) {
            own->meta_disk = general.meta_disk;
            own->meta_index = general.meta_index;
        }
    }
    sort_volumes(host.volumes);
    for (const Volume& volume : host.volumes) {
        if (volume.meta_disk.empty() || volume.internal_meta_disk()) continue;
        for (const std::string& name : host.names) {
            claim("meta-disk", fmt::format("{}:{}[{}]", name, volume.meta_disk, volume.meta_index),
                  last_line_);
        }
    }
}

void Parser::check_host_complete(const Resource& resource, const Host& host) {
    const auto missing = [&](std::string_view word) {
        invalid_at(section_start_, fmt::format("in resource {}, on {} {{ ... }}: '{}' keyword missing.",
                                               resource.name, host.label(), word));
    };
    if (!host.address) missing("address");
    for (const Volume& volume : host.volumes) {
        if (!volume.minor) missing("device");
        if (host.kind == HostKind::stacked) continue;
        if (volume.disk.empty()) missing("disk");
        if (volume.meta_disk.empty()) missing("meta-disk");
        if (volume.meta_index.empty()) missing("meta-index");
    }
}

void Parser::check_volumes_match(const Resource& resource) {
    if (failed_ || running_ || resource.hosts.size() < 2) return;
    const Host& first = resource.hosts.front();
    const std::string start = fmt::format("in resource {}, on {}", resource.name, first.label());
    for (std::size_t i = 1; i < resource.hosts.size(); ++i) {
        const Host& other = resource.hosts[i];
        for (const Volume& volume : first.volumes) {
            const Volume* counterpart = find_volume(other.volumes, volume.number);
            if (counterpart == nullptr) {
                invalid_at(last_line_, fmt::format("{} {{ ... }}: volume {} not defined on {}", start,
                                                   volume.number, other.label()));
            } else if (counterpart->implicit != volume.implicit) {
                invalid_at(last_line_,
                           fmt::format("{} resp. {}: volume {} must not be implicit on one but not the other",
                                       start, other.label(), volume.number));
            }
        }
        for (const Volume& volume : other.volumes) {
            if (find_volume(first.volumes, volume.number) != nullptr) continue;
            invalid_at(last_line_, fmt::format("{} {{ ... }}: volume {} missing (present on {})", start,
                                               volume.number, other.label()));
        }
    }
}

// Now that every resource is known: what a stacked section stands for (cli 4.8).
void Parser::resolve_stacked() {
    for (const std::unique_ptr<Resource>& resource : config_.resources) {
        for (Host& host : resource->hosts) {
            if (host.kind != HostKind::stacked) continue;
            host.lower = config_.find_resource(host.lower_name);
            if (host.lower == nullptr) {
                return fail(fmt::format("{}:{}: in resource {}, referenced resource '{}' not defined.",
                                        resource->absolute_file, resource->line, resource->name,
                                        host.lower_name));
            }
            for (const Host& lower_host : host.lower->hosts) {
                host.names.insert(host.names.end(), lower_host.names.begin(), lower_host.names.end());
            }
            fill_from_lower(*resource, host);
        }
    }
}

void Parser::fill_from_lower(const Resource& resource, Host& host) {
    if (!host.lower->hosts.empty()) {
        for (const Volume& below : host.lower->hosts.front().volumes) {
            if (find_volume(host.volumes, below.number) != nullptr) continue;
            report_.terminal_messages.push_back(
                fmt::format("{}:{}: in resource {}, on {} {{ ... }}: volume {} missing (present on {})",
                            file_, last_line_, resource.name, host.label(), below.number, host.lower_name));
        }
    }
    for (Volume& volume : host.volumes) {
        volume.meta_disk = volume.meta_index = "internal";
        claim_device(volume, host, last_line_);
    }
}

}  // namespace duplex::config
