// events2 and events (cli 24).
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <unistd.h>

#include <fmt/format.h>

#include "control/events_text.hpp"
#include "control/follower.hpp"
#include "control/minor_claim.hpp"
#include "tools/drbdsetup/output.hpp"
#include "tools/drbdsetup/tool.hpp"

namespace duplex::drbdsetup {
namespace {

using control::Follower;
using control::Happening;
using control::HelperEvent;
using control::RunDir;
using control::SkippedEvents;
using control::StatusEvent;

int64_t now_us() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

// The first status of each resource, in the order of the names, however the processes answer. Others' events
// that come in between wait their turn.
Result<std::vector<StatusEvent>> initial_statuses(Follower& follower, std::vector<std::string> awaited,
                                                  std::vector<Happening>& later) {
    std::vector<StatusEvent> statuses;
    while (!awaited.empty()) {
        Result<Happening> happening = follower.next(answer_timeout_ms);
        if (!happening) return happening.error();
        if (happening->kind == Happening::Kind::reader_gone) return error("nobody reads");
        if (happening->kind == Happening::Kind::timeout) {
            for (const std::string& silent : awaited)
                fmt::print(stderr, "the process of resource {} does not answer\n", silent);
            break;  // if it does later, that is an event like others
        }
        const auto found = std::ranges::find(awaited, happening->resource);
        if (found == awaited.end()) {
            later.push_back(std::move(*happening));
            continue;
        }
        if (happening->event) statuses.push_back(std::get<StatusEvent>(std::move(*happening->event)));
        awaited.erase(found);
    }
    std::ranges::sort(statuses, {}, [](const StatusEvent& event) { return event.status.name; });
    return statuses;
}

void complain(const std::vector<std::string>& complaints) {
    for (const std::string& complaint : complaints) fmt::print(stderr, "{}\n", complaint);
}

// What a printer needs of a resource besides its event: helpers are named with the connection and the volume.
using Known = std::map<std::string, engine::ResourceStatus, std::less<>>;

std::string events2_lines(control::Events2Printer& printer, Known& known, const Happening& happening) {
    if (happening.kind == Happening::Kind::gone) {
        known.erase(happening.resource);
        return printer.destroy(happening.resource, now_us());
    }
    if (const auto* status = std::get_if<StatusEvent>(&*happening.event)) {
        known[happening.resource] = status->status;
        return printer.print(*status, false);
    }
    if (const auto* skipped = std::get_if<SkippedEvents>(&*happening.event)) {
        return fmt::format("- skipped {}\n", skipped->count);
    }
    return printer.print(std::get<HelperEvent>(*happening.event), known[happening.resource]);
}

// The resource that has the line's minor, if the line names one; the name itself otherwise; empty: all.
std::optional<std::string> resource_of(const RunDir& run_dir, const CommandLine& line) {
    if (line.means_all()) return std::string();
    if (line.command->object == control::Object::resource_or_all) return line.object();
    const auto minor = minor_of(line.object());
    return minor ? control::resource_of_minor(run_dir, *minor) : line.object();
}

}  // namespace

int run_events2(const RunDir& run_dir, const CommandLine& line) {
    Output output(STDOUT_FILENO);
    control::Events2Printer printer(
        {.timestamps = line.own.contains("timestamps"), .statistics = line.own.contains("statistics")});
    Follower follower(run_dir, *resource_of(run_dir, line));
    std::vector<std::string> complaints;
    std::vector<Happening> later;
    const auto statuses = initial_statuses(follower, follower.start(complaints), later);
    complain(complaints);
    if (!statuses) return report_trouble(statuses.error().text);
    Known known;
    for (const StatusEvent& event : *statuses) {
        known[event.status.name] = event.status;
        if (!output.put(printer.print(event, true))) return 0;
    }
    if (!output.put(printer.end_of_initial_dump(now_us())) || line.own.contains("now")) return 0;
    for (const Happening& happening : later) {
        if (!output.put(events2_lines(printer, known, happening))) return 0;
    }
    for (;;) {
        const Result<Happening> happening = follower.next(-1);
        if (!happening) return report_trouble(happening.error().text);
        if (happening->kind == Happening::Kind::reader_gone) return 0;
        if (!output.put(events2_lines(printer, known, *happening))) return 0;
    }
}

int run_events(const RunDir& run_dir, const CommandLine& line) {
    Output output(STDOUT_FILENO);
    const std::optional<std::string> resource = resource_of(run_dir, line);
    if (!resource) return report_unknown_minor(line.object());
    const auto minor = line.means_all() ? std::nullopt : minor_of(line.object());
    control::EventsPrinter printer(minor ? static_cast<int>(*minor) : -1);
    Follower follower(run_dir, *resource);
    std::vector<std::string> complaints;
    follower.start(complaints);
    complain(complaints);
    Known known;
    for (;;) {
        const Result<Happening> happening = follower.next(-1);
        if (!happening) return report_trouble(happening.error().text);
        if (happening->kind == Happening::Kind::reader_gone) return 0;
        if (!happening->event) continue;
        std::string text;
        if (const auto* status = std::get_if<StatusEvent>(&*happening->event)) {
            known[happening->resource] = status->status;
            text = printer.print(status->status);
        } else if (const auto* helper = std::get_if<HelperEvent>(&*happening->event)) {
            text = printer.print(*helper, known[happening->resource]);
        }
        if (!output.put(text)) return 0;
    }
}

}  // namespace duplex::drbdsetup
