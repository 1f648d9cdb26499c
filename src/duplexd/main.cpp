// duplexd RESOURCE [--ready-fd=N]: the process of one resource. drbdsetup new-resource starts it, or systemd.
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <systemd/sd-daemon.h>

#include "control/readiness.hpp"
#include "duplexd/process.hpp"
#include "duplexd/self.hpp"
#include "exports/fuse/loop_helper.hpp"
#include "runtime/log.hpp"

namespace {

using namespace duplex;

constexpr int exit_usage = 20;

struct Arguments {
    std::string resource;
    int ready_fd = -1;  // written to and closed once tools can connect, or with the reason why they cannot
};

Result<Arguments> parse(int argc, char** argv) {
    Arguments arguments;
    for (int i = 1; i < argc; ++i) {
        const std::string_view word = argv[i];
        const Result<std::optional<int>> ready_fd = control::ready_fd_from(word);
        if (!ready_fd) return ready_fd.error();
        if (*ready_fd) {
            arguments.ready_fd = **ready_fd;
        } else if (word.starts_with('-')) {
            return error("unrecognized option '{}'", word);
        } else if (!arguments.resource.empty()) {
            return error("excess argument '{}'", word);
        } else {
            arguments.resource = word;
        }
    }
    if (arguments.resource.empty()) return error("no resource given");
    return arguments;
}

Result<std::unique_ptr<duplexd::Process>> start(const std::string& resource) {
    Result<duplexd::Settings> settings = duplexd::load_settings();
    if (!settings) return settings.error();
    return duplexd::Process::start(resource, *settings, control::RunDir::of_node());
}

}  // namespace

int main(int argc, char** argv) {
    if (exports::fuse::is_loop_helper(argc, argv)) return exports::fuse::loop_helper_main(argc, argv);
    const Result<Arguments> arguments = parse(argc, argv);
    if (!arguments) {
        fmt::print(stderr, "duplexd: {}\nUSAGE: duplexd RESOURCE [--ready-fd=N]\n", arguments.error().text);
        return exit_usage;
    }
    runtime::open_log("duplexd");
    duplexd::protect_self();
    Result<std::unique_ptr<duplexd::Process>> process = start(arguments->resource);
    if (!process) {
        runtime::log_format(engine::LogLevel::error, "drbd {}: {}", arguments->resource,
                            process.error().text);
        control::report_ready(arguments->ready_fd, process.error().text);
        return 1;
    }
    control::report_ready(arguments->ready_fd, "ready");
    sd_notify(0, "READY=1");
    (*process)->run();
    sd_notify(0, "STOPPING=1");
    return 0;
}
