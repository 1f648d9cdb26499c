#include <chrono>
#include <cstdio>
#include <functional>
#include <map>
#include <string>

#include <fmt/format.h>

#include "control/events_text.hpp"
#include "control/minor_claim.hpp"
#include "tools/drbdsetup/actions.hpp"
#include "tools/drbdsetup/exit_code.hpp"
#include "tools/drbdsetup/reach.hpp"
#include "tools/drbdsetup/watch.hpp"

namespace duplex::drbdsetup {
namespace {

using control::HelperEvent;
using control::SkippedEvents;
using control::StatusEvent;

int64_t now_us() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

// Whoever reads wants each event when it happens.
void print(std::string_view text) {
    if (text.empty()) return;
    fmt::print("{}", text);
    std::fflush(stdout);
}

void print_skipped(const SkippedEvents& skipped) {
    print(fmt::format("- skipped {}\n", skipped.count));
}

class Events2Sink final : public Watch::Sink {
  public:
    explicit Events2Sink(const control::Events2Style& style) : printer_(style) {}

    void event(const std::string& resource, const control::Event& event) override {
        if (const auto* status = std::get_if<StatusEvent>(&event)) {
            print(printer_.print(*status, initial_));
            latest_[resource] = status->status;
        } else if (const auto* helper = std::get_if<HelperEvent>(&event)) {
            print(printer_.print(*helper, latest_[resource]));
        } else {
            print_skipped(std::get<SkippedEvents>(event));
        }
    }
    void gone(const std::string& resource) override {
        print(printer_.destroy(resource, now_us()));
        latest_.erase(resource);
    }
    void end_initial() {
        initial_ = false;
        print(printer_.end_of_initial_dump(now_us()));
    }

  private:
    control::Events2Printer printer_;
    std::map<std::string, engine::ResourceStatus> latest_;
    bool initial_ = true;
};

class EventsSink final : public Watch::Sink {
  public:
    explicit EventsSink(int only_minor) : printer_(only_minor) {}

    void event(const std::string& resource, const control::Event& event) override {
        if (const auto* status = std::get_if<StatusEvent>(&event)) {
            print(printer_.print(status->status));
            latest_[resource] = status->status;
        } else if (const auto* helper = std::get_if<HelperEvent>(&event)) {
            print(printer_.print(*helper, latest_[resource]));
        } else {
            print_skipped(std::get<SkippedEvents>(event));
        }
    }
    // The old format has no line for that.
    void gone(const std::string& resource) override { latest_.erase(resource); }

  private:
    control::EventsPrinter printer_;
    std::map<std::string, engine::ResourceStatus> latest_;
};

}  // namespace

int events2(const control::RunDir& run_dir, const Invocation& invocation) {
    Result<Watch> watch = Watch::open(run_dir, invocation.resource);
    if (!watch) return tell_no_answer(watch.error().text);
    Events2Sink sink({invocation.has_own("timestamps"), invocation.has_own("statistics")});
    watch->take_initial(sink, answer_timeout_ms);
    sink.end_initial();
    if (!invocation.has_own("now")) watch->follow(sink);
    return exit_ok;
}

int events(const control::RunDir& run_dir, const Invocation& invocation) {
    std::string resource = invocation.resource;
    if (invocation.request.minor >= 0) {
        const auto owner =
            control::resource_of_minor(run_dir, static_cast<unsigned>(invocation.request.minor));
        if (!owner) return tell(invocation.object, {engine::error_code::minor_invalid, "unknown minor"});
        resource = *owner;
    }
    Result<Watch> watch = Watch::open(run_dir, resource);
    if (!watch) return tell_no_answer(watch.error().text);
    EventsSink sink(invocation.request.minor);
    watch->take_initial(sink, answer_timeout_ms);
    watch->follow(sink);
    return exit_ok;
}

}  // namespace duplex::drbdsetup
