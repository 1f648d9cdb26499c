// Any text is either refused with a message, or read; what was read and dumped reads back as the same.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/ensure.hpp"
#include "config/dump.hpp"
#include "config/keywords.hpp"
#include "config/lexer.hpp"
#include "config/memory_loader.hpp"
#include "config/merge.hpp"
#include "config/parser.hpp"
#include "config/quote.hpp"
#include "config/roles.hpp"

namespace {

using namespace duplex::config;

ParseResult read(std::string_view text) {
    MemoryLoader loader;
    const SourceFile source = MemoryLoader::source(text, "fuzz");
    return parse(source, "fuzz", loader);
}

std::string sections_of(const Config& config) {
    std::string text = dump_common(config);
    for (const auto& resource : config.resources) {
        const std::string dumped = dump_resource(*resource, "alpha");
        text += dumped.substr(dumped.find("\nresource") + 1);  // the comments hold line numbers
    }
    return text;
}

// dump does not quote what would be read as a keyword, number or address without quotes.
bool reads_as_string(std::string_view text) {
    const std::string dumped = quoted_if_needed(text);
    Lexer lexer(dumped);
    return lexer.next().kind == TokenKind::string && lexer.next().kind == TokenKind::end;
}

bool reads_as_strings(const std::vector<std::string>& texts) {
    return std::ranges::all_of(texts, reads_as_string);
}

bool values_read_back(const OptionList& list) {
    return std::ranges::all_of(list, [](const OptionSetting& setting) {
        const std::string dumped = quoted_if_needed(setting.value);
        const Token token = Lexer(dumped).next();
        return token.kind == TokenKind::string || token.kind == TokenKind::integer ||
               token.kind == TokenKind::keyword;
    });
}

bool values_read_back(const Sections& sections) {
    for (const OptionList* list : {&sections.net, &sections.disk, &sections.startup, &sections.options,
                                   &sections.handlers, &sections.proxy}) {
        const auto is_keyword = [](const OptionSetting& setting) {
            return setting.value != "yes" && setting.value != "no" && setting.value != "on" &&
                   keyword_number(setting.value).has_value();
        };
        if (!values_read_back(*list) || std::ranges::any_of(*list, is_keyword)) return false;
    }
    return sections.plugins.empty() && reads_as_strings(sections.become_primary_on);
}

// A disk section of an implicit volume conflicts with the disk statement that dump prints beside it
// (cli 9.2).
bool volume_reads_back(const Volume& volume) {
    if (volume.implicit && !volume.disk_options.empty()) return false;
    const auto reads_back = [](const std::string& text) { return text.empty() || reads_as_string(text); };
    return reads_back(volume.disk) && reads_back(volume.meta_disk) && reads_back(volume.device);
}

bool host_reads_back(const Host& host) {
    if (host.kind == HostKind::this_host || host.kind == HostKind::remote_host || host.proxy) return false;
    if (host.kind == HostKind::stacked && !reads_as_string(host.lower_name)) return false;
    return reads_as_strings(host.names) && std::ranges::all_of(host.volumes, volume_reads_back);
}

// Whether dump, which prints things the way DRBD's does, shows the whole of it in a form the parser takes.
bool dumps_fully(const Config& config) {
    if (config.common && !values_read_back(*config.common)) return false;
    return std::ranges::all_of(config.resources, [](const auto& resource) {
        return reads_as_string(resource->name) && values_read_back(*resource) &&
               std::ranges::all_of(resource->hosts, host_reads_back);
    });
}

void check(std::string_view text) {
    ParseResult first = read(text);
    ensure(first.report.valid() || !first.report.messages.empty());
    (void)parse_running(text, "drbdsetup show r0");
    if (!first.report.valid()) return;
    if (dumps_fully(first.config)) {
        const std::string dumped = sections_of(first.config);
        const ParseResult second = read(dumped);
        ensure(second.report.valid());
        ensure(sections_of(second.config) == dumped);
    }
    assign_roles(first.config, {"alpha", {"10.0.0.1"}}, MatchBy::host_section, first.report);
    if (!first.report.valid()) return;
    merge(first.config, ResyncAfter::by_minor, DanglingReferences::drop, first.report);
    check_references(first.config, DanglingReferences::drop, first.report);
    (void)dump_xml(first.config);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
    check({reinterpret_cast<const char*>(data), size});
    return 0;
}
