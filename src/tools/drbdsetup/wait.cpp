// wait-connect and wait-sync (cli 25).
#include <algorithm>
#include <chrono>
#include <cstdio>

#include <fmt/format.h>

#include "control/follower.hpp"
#include "control/minor_claim.hpp"
#include "control/typed_request.hpp"
#include "tools/drbdsetup/tool.hpp"
#include "tools/drbdsetup/wait_time.hpp"

namespace duplex::drbdsetup {
namespace {

using control::Follower;
using control::Happening;
using control::RunDir;
using control::StatusEvent;

bool is_over(const engine::ResourceStatus& resource, const engine::VolumeStatus& volume, bool for_sync,
             bool wait_after_split_brain) {
    const wire::ConnState state = volume.state.conn;
    if (state < wire::ConnState::unconnected) {
        if (wait_after_split_brain && !for_sync) {
            fmt::print(
                stderr,
                "\ndrbd{} ({}[{}]) is StandAlone, but I'm configured to wait anways (--wait-after-sb)\n",
                volume.minor, resource.name, volume.volume);
        }
        return !wait_after_split_brain;
    }
    return for_sync ? state == wire::ConnState::connected : state >= wire::ConnState::connected;
}

int minor_not_available() {
    return report_trouble("error determining which timeout to use: minor not available");
}

}  // namespace

int run_wait(const RunDir& run_dir, const CommandLine& line) {
    using Clock = std::chrono::steady_clock;
    constexpr int exit_timeout = 5;
    config::StartupOptions options;
    for (const auto& [name, text] : line.options) {
        if (Status set = config::set_option(options, name, text); !set)
            return report_trouble(set.error().text);
    }
    std::string notes;
    options = plausible(options, notes);
    fmt::print(stderr, "{}", notes);
    const bool for_sync = line.command->name == "wait-sync";
    const auto minor = static_cast<int>(*minor_of(line.object()));
    const std::optional<std::string> name = control::resource_of_minor(run_dir, *minor_of(line.object()));
    if (!name) return minor_not_available();
    Follower follower(run_dir, *name);
    std::vector<std::string> complaints;
    if (follower.start(complaints).empty()) {
        for (const std::string& complaint : complaints) fmt::print(stderr, "{}\n", complaint);
        return minor_not_available();
    }
    const auto begin = Clock::now();
    std::optional<uint32_t> limit_s;  // chosen by the first status
    for (;;) {
        int wait_ms = limit_s ? -1 : answer_timeout_ms;
        if (limit_s && *limit_s > 0) {
            const auto passed =
                std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin).count();
            wait_ms = static_cast<int>(std::max<int64_t>(0, int64_t{*limit_s} * 1000 - passed));
        }
        const Result<Happening> happening = follower.next(wait_ms);
        if (!happening) return report_trouble(happening.error().text);
        switch (happening->kind) {
            case Happening::Kind::timeout:
                if (limit_s) return exit_timeout;
                return report_trouble(fmt::format("the process of resource {} does not answer", *name));
            case Happening::Kind::reader_gone:
                return 0;
            case Happening::Kind::gone:
                return minor_not_available();
            case Happening::Kind::event:
                break;
        }
        const auto* const status = std::get_if<StatusEvent>(&*happening->event);
        if (status == nullptr) continue;
        const engine::VolumeStatus* const volume = control::volume_of(status->status, minor);
        if (volume == nullptr) return minor_not_available();
        if (!limit_s) limit_s = wait_seconds(options, *volume);
        if (is_over(status->status, *volume, for_sync, options.wait_after_sb)) return 0;
    }
}

}  // namespace duplex::drbdsetup
