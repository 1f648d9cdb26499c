#include "tools/drbdadm/steps.hpp"

#include <fmt/format.h>

#include "config/address.hpp"
#include "config/compare.hpp"

namespace duplex::drbdadm {
namespace {

using config::OptionGroup;
using config::Resource;
using config::Volume;

class AdjustPlanner {
  public:
    AdjustPlanner(Resource& configured, const Resource* running, const config::Address* peer_address)
        : configured_(configured), running_(running), peer_address_(peer_address) {}

    AdjustPlan run();

  private:
    void add(Stage stage, Action action, Volume* volume = nullptr, unsigned minor = 0) {
        plan_.steps.push_back({stage, action, &configured_, volume, minor, {}, {}});
    }
    bool differs(const config::Comparison& comparison);
    void difference(std::string text);
    void stop_volume(const Volume& running);
    void superfluous_volumes();
    void volume(Volume& wanted);
    void running_volume(Volume& wanted, const Volume& running);
    void connection();

    Resource& configured_;
    const Resource* running_;
    const config::Address* peer_address_;
    AdjustPlan plan_;
};

void AdjustPlanner::difference(std::string text) {
    plan_.remarks.push_back(text);
    plan_.differences.push_back(std::move(text));
}

bool AdjustPlanner::differs(const config::Comparison& comparison) {
    plan_.remarks.insert(plan_.remarks.end(), comparison.equalities.begin(), comparison.equalities.end());
    if (comparison.differs) difference(comparison.difference);
    return comparison.differs;
}

void AdjustPlanner::stop_volume(const Volume& running) {
    const unsigned minor = running.minor.value_or(0);
    if (!running.disk.empty()) add(Stage::prerequisites, Action::detach, nullptr, minor);
    add(Stage::prerequisites, Action::del_minor, nullptr, minor);
}

void AdjustPlanner::superfluous_volumes() {
    if (running_ == nullptr || running_->me == nullptr) return;
    for (const Volume& running : running_->me->volumes) {
        if (config::find_volume(configured_.me->volumes, running.number) == nullptr) stop_volume(running);
    }
}

// Whether one option, absent meaning default, has the same value on both sides.
bool same_option(const Volume& running, const Volume& wanted, std::string_view name) {
    const auto only = [name](const config::OptionList& list) {
        const config::OptionSetting* found = config::find_setting(list, name);
        return found != nullptr ? config::OptionList{*found} : config::OptionList{};
    };
    return !config::compare_options(OptionGroup::disk, only(running.disk_options), only(wanted.disk_options))
                .differs;
}

void AdjustPlanner::running_volume(Volume& wanted, const Volume& running) {
    const bool same_disk =
        running.disk == wanted.disk && running.internal_meta_disk() == wanted.internal_meta_disk() &&
        running.meta_disk == wanted.meta_disk && same_option(running, wanted, "max-bio-bvecs");
    if (running.disk.empty() || !same_disk) {
        if (!running.disk.empty()) add(Stage::prerequisites, Action::detach, nullptr, *wanted.minor);
        add(Stage::disk, Action::apply_al, &wanted);
        return add(Stage::disk, Action::attach, &wanted);
    }
    if (!same_option(running, wanted, "size")) add(Stage::disk, Action::resize, &wanted);
    const config::Comparison options =
        config::compare_options(OptionGroup::disk, config::changeable_disk_options(running.disk_options),
                                config::changeable_disk_options(wanted.disk_options));
    if (differs(options)) add(Stage::disk, Action::disk_options, &wanted);
}

void AdjustPlanner::volume(Volume& wanted) {
    const Volume* running = running_ != nullptr && running_->me != nullptr
                                ? config::find_volume(running_->me->volumes, wanted.number)
                                : nullptr;
    if (running != nullptr && running->minor == wanted.minor) return running_volume(wanted, *running);
    if (running != nullptr) stop_volume(*running);
    add(Stage::disk_prerequisites, Action::new_minor, &wanted);
    add(Stage::disk, Action::apply_al, &wanted);
    add(Stage::disk, Action::attach, &wanted);
}

void AdjustPlanner::connection() {
    const bool connected =
        running_ != nullptr && running_->me != nullptr && running_->peer != nullptr && running_->me->address;
    if (!connected) {
        if (running_ != nullptr)
            differs(config::compare_options(OptionGroup::net, running_->net, configured_.net));
        return add(Stage::net, Action::connect);
    }
    // Without knowing the peer nothing can be said about the connection that is there.
    if (peer_address_ == nullptr) return;
    const config::Address& local = running_->me->address;
    const config::Address& remote = running_->peer->address;
    const bool same_addresses =
        config::same_address(local, configured_.me->address) && config::same_address(remote, *peer_address_);
    if (!same_addresses) {
        const auto pair = [](const config::Address& a, const config::Address& b) {
            return fmt::format("{} -- {}", config::setup_argument(a), config::setup_argument(b));
        };
        difference(fmt::format("Network addresses differ:\n\trunning: {}\n\t config: {}", pair(local, remote),
                               pair(configured_.me->address, *peer_address_)));
        add(Stage::net_prerequisites, Action::disconnect);
        plan_.steps.back().local = config::setup_argument(local);
        plan_.steps.back().remote = config::setup_argument(remote);
    }
    const bool options_differ =
        differs(config::compare_options(OptionGroup::net, running_->net, configured_.net));
    if (!same_addresses) {
        add(Stage::net, Action::connect);
    } else if (options_differ) {
        add(Stage::net, Action::net_options);
    }
}

AdjustPlan AdjustPlanner::run() {
    if (running_ == nullptr) add(Stage::prerequisites, Action::new_resource);
    superfluous_volumes();
    for (Volume& each : configured_.me->volumes) volume(each);
    connection();
    const bool options_differ =
        running_ != nullptr &&
        differs(config::compare_options(OptionGroup::resource, running_->options, configured_.options));
    if (options_differ) add(Stage::resource, Action::resource_options);
    return std::move(plan_);
}

}  // namespace

std::string_view action_name(Action action) {
    switch (action) {
        case Action::new_resource:
            return "new-resource";
        case Action::resource_options:
            return "resource-options";
        case Action::detach:
            return "detach";
        case Action::del_minor:
            return "del-minor";
        case Action::new_minor:
            return "new-minor";
        case Action::apply_al:
            return "apply-al";
        case Action::attach:
            return "attach";
        case Action::resize:
            return "resize";
        case Action::disk_options:
            return "disk-options";
        case Action::disconnect:
            return "disconnect";
        case Action::connect:
            return "connect";
        case Action::net_options:
            return "net-options";
    }
    return "";
}

AdjustPlan plan_adjust(Resource& configured, const Resource* running, const config::Address* peer_address) {
    return AdjustPlanner(configured, running, peer_address).run();
}

std::vector<Step> plan_up(Resource& resource, Volume* only) {
    std::vector<Step> steps;
    // A resource without volumes on this host is left alone.
    if (resource.me->volumes.empty()) return steps;
    steps.push_back({Stage::prerequisites, Action::new_resource, &resource, nullptr, 0, {}, {}});
    for (Volume& volume : resource.me->volumes) {
        if (only != nullptr && only != &volume) continue;
        steps.push_back({Stage::prerequisites, Action::new_minor, &resource, &volume, 0, {}, {}});
        steps.push_back({Stage::disk, Action::apply_al, &resource, &volume, 0, {}, {}});
        steps.push_back({Stage::disk, Action::attach, &resource, &volume, 0, {}, {}});
    }
    steps.push_back({Stage::net, Action::connect, &resource, nullptr, 0, {}, {}});
    return steps;
}

}  // namespace duplex::drbdadm
