// Any text is either refused with a message, or read; what was read and dumped reads back as the same.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/ensure.hpp"
#include "config/dump.hpp"
#include "config/memory_loader.hpp"
#include "config/merge.hpp"
#include "config/parser.hpp"
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

// Whether dump shows the whole of it in a form the parser takes: proxy plugins are words of any kind, and a
// disk section of an implicit volume conflicts with the disk statement beside it (cli 9.2).
bool dumps_fully(const Config& config) {
    if (config.common && !config.common->plugins.empty()) return false;
    for (const auto& resource : config.resources) {
        if (!resource->plugins.empty()) return false;
        for (const Host& host : resource->hosts) {
            if (host.proxy && !host.proxy->plugins.empty()) return false;
            if (host.kind == HostKind::this_host || host.kind == HostKind::remote_host) return false;
            for (const Volume& volume : host.volumes) {
                if (volume.implicit && !volume.disk_options.empty()) return false;
            }
        }
    }
    return true;
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
