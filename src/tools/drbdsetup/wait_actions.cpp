#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <optional>
#include <poll.h>
#include <unistd.h>

#include <fmt/format.h>

#include "control/typed_request.hpp"
#include "tools/drbdsetup/actions.hpp"
#include "tools/drbdsetup/exit_code.hpp"
#include "tools/drbdsetup/reach.hpp"
#include "tools/drbdsetup/wait_time.hpp"

namespace duplex::drbdsetup {
namespace {

using wire::ConnState;
using Clock = std::chrono::steady_clock;

enum class Goal : uint8_t { connected, in_sync };

struct Wait {
    Goal goal;
    config::StartupOptions options;
    int minor = -1;
    bool told_stand_alone = false;
    std::optional<Clock::time_point> deadline;
    bool has_status = false;
};

config::StartupOptions options_of(const Invocation& invocation) {
    config::StartupOptions options;
    for (const auto& [name, text] : invocation.request.options) {
        // Read once already with the command line.
        if (Status set = config::set_option(options, name, text); !set)
            fmt::print(stderr, "{}\n", set.error().text);
    }
    return options;
}

bool is_reached(Goal goal, ConnState state) {
    return goal == Goal::connected ? state >= ConnState::connected : state == ConnState::connected;
}

void tell_stand_alone(Wait& wait, const engine::ResourceStatus& resource,
                      const engine::VolumeStatus& volume) {
    if (wait.goal != Goal::connected || wait.told_stand_alone) return;
    fmt::print(stderr,
               "\ndrbd{} ({}[{}]) is StandAlone, but I'm configured to wait anways (--wait-after-sb)\n",
               volume.minor, resource.name, volume.volume);
    wait.told_stand_alone = true;
}

// The exit status once the waiting is over.
std::optional<int> look_at(Wait& wait, const engine::ResourceStatus& resource) {
    const engine::VolumeStatus* const volume = control::volume_of(resource, wait.minor);
    if (volume == nullptr) return tell_no_answer(fmt::format("minor {} is gone", wait.minor));
    if (!wait.has_status) {
        const uint32_t seconds = wait_seconds(wait.options, *volume);
        // From the start, whatever happens meanwhile (cli 25, a deviation).
        if (seconds > 0) wait.deadline = Clock::now() + std::chrono::seconds(seconds);
        wait.has_status = true;
    }
    if (is_reached(wait.goal, volume->state.conn)) return exit_ok;
    if (volume->state.conn >= ConnState::unconnected) return std::nullopt;
    if (!wait.options.wait_after_sb) return exit_ok;
    tell_stand_alone(wait, resource, *volume);
    return std::nullopt;
}

// Until there is something to read; the exit status if that will not be.
std::optional<int> sleep(const Wait& wait, const control::Client& client) {
    int timeout_ms = -1;
    if (wait.deadline) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(*wait.deadline - Clock::now()).count();
        if (left <= 0) return exit_timeout;
        timeout_ms = static_cast<int>(left);
    }
    std::array<pollfd, 2> waiting{{{client.fd(), POLLIN, 0}, {STDOUT_FILENO, 0, 0}}};
    const int ready = poll(waiting.data(), waiting.size(), timeout_ms);
    if (ready < 0 && errno != EINTR) return tell_no_answer(fmt::format("poll: {}", std::strerror(errno)));
    // Whoever asked is gone.
    if (ready > 0 && (waiting[1].revents & POLLERR) != 0) return exit_usage;
    return std::nullopt;
}

int run(Wait wait, control::Client& client) {
    if (Status subscribed = client.subscribe(); !subscribed) return tell_no_answer(subscribed.error().text);
    for (;;) {
        const bool ended = client.read_some() == control::Client::Progress::failed;
        while (client.has_event()) {
            const Result<std::optional<control::Event>> event = client.next_event();
            if (!event) return tell_no_answer(event.error().text);
            const auto* const status = std::get_if<control::StatusEvent>(&**event);
            if (status == nullptr) continue;
            if (const std::optional<int> code = look_at(wait, status->status)) return *code;
        }
        if (ended) return tell_no_answer(fmt::format("minor {} is gone", wait.minor));
        if (const std::optional<int> code = sleep(wait, client)) return *code;
    }
}

int wait_for(Goal goal, const control::RunDir& run_dir, const Invocation& invocation) {
    std::string notes;
    Wait wait{goal, plausible(options_of(invocation), notes), invocation.request.minor, false, {}, false};
    fmt::print(stderr, "{}", notes);
    Reached reached = reach(run_dir, invocation);
    if (const auto* unreachable = std::get_if<Unreachable>(&reached)) {
        if (unreachable->exists()) return tell(invocation.object, *unreachable);
        return tell_no_answer("error determining which timeout to use: minor not available");
    }
    return run(wait, std::get<control::Client>(reached));
}

}  // namespace

int wait_connect(const control::RunDir& run_dir, const Invocation& invocation) {
    return wait_for(Goal::connected, run_dir, invocation);
}

int wait_sync(const control::RunDir& run_dir, const Invocation& invocation) {
    return wait_for(Goal::in_sync, run_dir, invocation);
}

}  // namespace duplex::drbdsetup
