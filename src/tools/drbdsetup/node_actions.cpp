#include <cstdio>
#include <optional>
#include <sys/ioctl.h>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>

#include "control/node.hpp"
#include "control/oneline_text.hpp"
#include "control/reply_text.hpp"
#include "control/show_text.hpp"
#include "control/status_text.hpp"
#include "control/typed_request.hpp"
#include "tools/drbdsetup/actions.hpp"
#include "tools/drbdsetup/exit_code.hpp"
#include "tools/drbdsetup/reach.hpp"
#include "tools/drbdsetup/usage.hpp"

namespace duplex::drbdsetup {
namespace {

// The resource that is meant, or all of them; the exit status if something could not be asked.
struct Asked {
    std::vector<engine::ResourceStatus> resources;
    int code = exit_ok;
};

Asked ask_all(const control::RunDir& run_dir) {
    control::NodeStatus node = control::ask_all(run_dir, answer_timeout_ms);
    Asked asked{std::move(node.resources), exit_ok};
    for (const control::SilentResource& resource : node.silent) asked.code = tell_no_answer(resource.why);
    return asked;
}

// absent: what a resource that is not there means to the command. That a process has died is told besides.
template <typename Absent>
Asked ask(const control::RunDir& run_dir, const Invocation& invocation, Absent&& absent) {
    if (invocation.means_all()) return ask_all(run_dir);
    Asked asked;
    if (!invocation.resource.empty()) {
        Reached reached = reach(run_dir, invocation);
        const auto* const unreachable = std::get_if<Unreachable>(&reached);
        if (unreachable != nullptr && !unreachable->exists()) {
            if (unreachable->died()) tell_no_answer(unreachable->reply.info);
            asked.code = absent();
            return asked;
        }
    }
    std::optional<engine::ResourceStatus> status = status_of(run_dir, invocation, asked.code);
    if (status) asked.resources.push_back(std::move(*status));
    return asked;
}

void keep_only(engine::ResourceStatus& resource, int minor) {
    std::erase_if(resource.volumes,
                  [minor](const auto& volume) { return volume.minor != static_cast<unsigned>(minor); });
}

unsigned terminal_width() {
    constexpr unsigned otherwise = 80;
    winsize size{};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return otherwise;
    return size.ws_col;
}

// nullopt: no word that --color takes.
std::optional<bool> wants_color(const Invocation& invocation) {
    const auto given = invocation.own_options.find("color");
    const std::string_view word =
        given == invocation.own_options.end() ? "auto" : std::string_view(given->second);
    if (word.empty() || word == "always") return true;
    if (word == "never") return false;
    if (word == "auto") return isatty(STDOUT_FILENO) != 0;
    return std::nullopt;
}

}  // namespace

int show(const control::RunDir& run_dir, const Invocation& invocation) {
    Asked asked = ask(run_dir, invocation,
                      [] { return tell_no_answer("received netlink error reply: No such device"); });
    bool first = true;
    for (engine::ResourceStatus& resource : asked.resources) {
        if (invocation.request.minor >= 0) keep_only(resource, invocation.request.minor);
        fmt::print("{}{}", first ? "" : "\n",
                   control::show_text(resource, invocation.has_own("show-defaults")));
        first = false;
    }
    return asked.code;
}

int status(const control::RunDir& run_dir, const Invocation& invocation) {
    const std::optional<bool> color = wants_color(invocation);
    if (!color) {
        fmt::print("{}", usage_of(*invocation.command));
        fmt::print(stderr, "unknown --color argument\n");
        return exit_usage;
    }
    const Asked asked = ask(run_dir, invocation, [&invocation] {
        fmt::print(stderr, "{}: No such resource\n", invocation.resource);
        return int{exit_no_such_resource};
    });
    const control::StatusStyle style{invocation.has_own("verbose"), invocation.has_own("statistics"), *color,
                                     terminal_width()};
    for (const auto& resource : asked.resources) fmt::print("{}", control::status_text(resource, style));
    return asked.code;
}

int sh_status(const control::RunDir& run_dir, const Invocation& invocation) {
    const int minor = invocation.request.minor;
    const auto unknown_resource = [] { return int{exit_unknown_resource}; };
    if (minor >= 0) {
        // A minor that is not there is an answer too.
        Reached reached = reach(run_dir, invocation);
        const auto* const unreachable = std::get_if<Unreachable>(&reached);
        if (unreachable != nullptr && !unreachable->exists()) {
            fmt::print("{}", control::sh_status_unknown_minor_text(static_cast<unsigned>(minor)));
            return exit_ok;
        }
    }
    const Asked asked = ask(run_dir, invocation, unknown_resource);
    for (const engine::ResourceStatus& resource : asked.resources) {
        if (resource.volumes.empty()) fmt::print("{}", control::sh_status_no_volume_text(resource));
        for (const engine::VolumeStatus& volume : resource.volumes) {
            if (minor >= 0 && volume.minor != static_cast<unsigned>(minor)) continue;
            fmt::print("{}", control::sh_status_text(resource, volume));
        }
    }
    return asked.code;
}

int proc(const control::RunDir& run_dir) {
    fmt::print("{}", control::proc_text_of(run_dir, answer_timeout_ms));
    return exit_ok;
}

}  // namespace duplex::drbdsetup
