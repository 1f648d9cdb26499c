// up and adjust: the steps of all resources, stage after stage (cli 13).
#include <algorithm>
#include <array>
#include <cstdio>
#include <set>

#include <fmt/format.h>

#include "config/parser.hpp"
#include "tools/drbdadm/actions.hpp"
#include "tools/drbdadm/session.hpp"
#include "tools/drbdadm/setup_calls.hpp"
#include "tools/drbdadm/steps.hpp"

namespace duplex::drbdadm {
namespace {

constexpr std::array all_stages{Stage::prerequisites, Stage::resource,          Stage::disk_prerequisites,
                                Stage::disk,          Stage::net_prerequisites, Stage::net};

std::string_view stage_name(Stage stage) {
    switch (stage) {
        case Stage::prerequisites:
            return "create res";
        case Stage::resource:
            return "adjust res";
        case Stage::disk_prerequisites:
            return "prepare disk";
        case Stage::disk:
            return "adjust disk";
        case Stage::net_prerequisites:
            return "prepare net";
        case Stage::net:
            return "adjust net";
    }
    return "";
}

// What a resource needs before anything else can be done for it.
bool creates_objects(Stage stage) {
    return stage == Stage::prerequisites || stage == Stage::disk_prerequisites;
}

class StageRunner {
  public:
    StageRunner(Session& session, std::vector<Step> steps, bool progress)
        : session_(session), steps_(std::move(steps)), progress_(progress) {}

    int run();

  private:
    bool run_stage(Stage stage);
    bool run_step(const Step& step);
    void print(std::string_view text) const {
        if (progress_) fmt::print("{}", text);
    }

    Session& session_;
    std::vector<Step> steps_;
    bool progress_;
    std::set<const config::Resource*> given_up_;
    bool hangs_ = false;                        // a tool's time was over
    const config::Volume* unusable_ = nullptr;  // whose activity log could not be applied last
};

int execute(Session& session, const Step& step) {
    const Target target{step.resource, step.volume};
    switch (step.action) {
        case Action::new_resource:
            return new_resource(session, target);
        case Action::resource_options:
            return set_resource_options(session, target);
        case Action::detach:
            return detach_minor(session, target, step.minor);
        case Action::del_minor:
            return del_minor(session, target, step.minor);
        case Action::new_minor:
            return new_minor(session, target);
        case Action::apply_al:
            return apply_activity_log(session, target);
        case Action::attach:
            return attach_disk(session, target);
        case Action::resize:
            return resize(session, target);
        case Action::disk_options:
            return set_disk_options(session, target);
        case Action::disconnect:
            return disconnect_addresses(session, target, step.local, step.remote);
        case Action::connect:
            return connect(session, target);
        case Action::net_options:
            return set_net_options(session, target);
    }
    return config::exit_fatal;
}

bool StageRunner::run_step(const Step& step) {
    const std::string_view name = action_name(step.action);
    if (step.volume != nullptr && step.volume == unusable_) return false;
    if (given_up_.contains(step.resource)) {
        if (!progress_) {
            fmt::print(stderr, "{}: {} {}: skipped due to earlier error\n", session_.line.program, name,
                       step.resource->name);
        }
        return false;
    }
    const int status = execute(session_, step);
    if (status == 0) return true;
    // What hangs once would hang again and again. A progress display goes on whatever happens
    // (cli 12.2, 13.3).
    if (session_.runner.timed_out() && !progress_) hangs_ = true;
    print(fmt::format(":failed({}:{})", name, status));
    if (step.action == Action::apply_al) unusable_ = step.volume;
    if (creates_objects(step.stage)) given_up_.insert(step.resource);
    return false;
}

bool StageRunner::run_stage(Stage stage) {
    bool ok = true;
    const config::Resource* shown = nullptr;
    for (const Step& step : steps_) {
        if (step.stage != stage || hangs_) continue;
        if (shown == nullptr) print(fmt::format("\n{:>15}:", stage_name(stage)));
        if (shown != step.resource) {
            const bool skipped = given_up_.contains(step.resource);
            print(skipped ? fmt::format(" [skipped:{}]", step.resource->name) : " " + step.resource->name);
        }
        shown = step.resource;
        ok = run_step(step) && ok;
    }
    return ok;
}

int StageRunner::run() {
    bool ok = true;
    print("[");
    for (Stage stage : all_stages) {
        ok = run_stage(stage) && ok;
        // With progress shown every stage runs: the init script wants whatever can be had.
        if (!ok && !progress_) break;
    }
    print("\n]\n");
    if (hangs_) return config::exit_fatal;
    return ok ? 0 : 1;
}

// Adds what adjust has to do for a resource; the status if that cannot be found out.
int add_adjust_steps(Session& session, config::Resource& resource, std::vector<Step>& steps) {
    session.find_peer(resource);
    std::string text;
    std::string errors;
    ToolCall show;
    show.words = {session.line.drbdsetup, "show", resource.name};
    show.resource = resource.name;
    show.always = true;
    show.stdout_text = &text;
    show.stderr_text = &errors;
    const int status = session.runner.run(show);
    // A resource that is not there has to be made. Of one that does not say how it is nothing may be thought.
    const bool unknown = status != 0 && errors.find("No such device") == std::string::npos;
    if (session.runner.timed_out() || (unknown && !errors.empty())) {
        fmt::print(stderr, "{}adjust {}: cannot find out its state, so nothing is changed\n", errors,
                   resource.name);
        return config::exit_fatal;
    }

    config::ParseResult parsed = config::parse_running(text, fmt::format("drbdsetup show {}", resource.name));
    print_messages(parsed.report);
    if (!parsed.report.valid()) return parsed.report.exit_status;
    config::Resource* running =
        parsed.config.resources.empty() ? nullptr : parsed.config.resources.front().get();
    if (running != nullptr) config::assign_running_roles(*running);

    const config::Address* peer_address = resource.me->proxy         ? &resource.me->proxy->inside
                                          : resource.peer != nullptr ? &resource.peer->address
                                                                     : nullptr;
    AdjustPlan plan = plan_adjust(resource, running, peer_address);
    const std::vector<std::string>& told = session.line.verbose > 3 ? plan.remarks : plan.differences;
    if (session.line.verbose > 2) {
        for (const std::string& remark : told) fmt::print(stderr, "{}\n", remark);
    }
    steps.insert(steps.end(), plan.steps.begin(), plan.steps.end());
    return 0;
}

int run_adjust(Session& session, bool progress) {
    std::vector<Step> steps;
    for (const Target& target : session.targets) {
        if (const int status = add_adjust_steps(session, *target.resource, steps); status != 0) return status;
    }
    return StageRunner(session, std::move(steps), progress).run();
}

}  // namespace

int up(Session& session, const Target& /*target*/) {
    std::vector<Step> steps;
    for (const Target& target : session.targets) {
        session.find_peer(*target.resource);
        const std::vector<Step> more = plan_up(*target.resource, target.volume);
        steps.insert(steps.end(), more.begin(), more.end());
    }
    return StageRunner(session, std::move(steps), false).run();
}

int adjust(Session& session, const Target& /*target*/) {
    return run_adjust(session, false);
}

int adjust_with_progress(Session& session, const Target& /*target*/) {
    const bool progress = !session.dry_run() && session.line.verbose == 0;
    session.runner.drop_stderr_of_tools(progress);
    return run_adjust(session, progress);
}

}  // namespace duplex::drbdadm
