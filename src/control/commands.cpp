#include "control/commands.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>

#include "base/ensure.hpp"

namespace duplex::control {
namespace {

using config::Option;
using config::OptionGroup;
using Options = std::vector<const Option*>;

constexpr std::array<std::string_view, 3> attach_arguments{"lower_dev", "meta_data_dev", "meta_data_index"};
constexpr std::array<std::string_view, 2> new_minor_arguments{"minor", "volume"};
constexpr std::array<std::string_view, 1> show_options{"show-defaults"};
constexpr std::array<std::string_view, 4> status_options{"verbose", "statistics", "color", "json"};
constexpr std::array<std::string_view, 3> events2_options{"timestamps", "statistics", "now"};

Options named(OptionGroup group, std::initializer_list<std::string_view> names) {
    Options options;
    for (const std::string_view name : names) {
        const Option* const option = config::find_option(group, name);
        ensure(option != nullptr);
        options.push_back(option);
    }
    return options;
}

Options whole(OptionGroup group) {
    const auto options = config::options_of(group);
    return {options.begin(), options.end()};
}

Options while_attached() {
    Options options = whole(OptionGroup::disk);
    std::erase_if(options, [](const Option* option) { return option->attach_only; });
    return options;
}

Options operator+(Options first, const Options& second) {
    first.insert(first.end(), second.begin(), second.end());
    return first;
}

Options command_options(std::initializer_list<std::string_view> names) {
    return named(OptionGroup::command, names);
}

// In the order of the usage text's list.
std::vector<CommandInfo> make_commands() {
    const Options set_defaults = command_options({"set-defaults"});
    const Options force = command_options({"force"});
    const Options startup = whole(OptionGroup::startup);
    std::vector<CommandInfo> list;
    const auto add = [&list](std::string_view name, Object object, Options options,
                             bool changes) -> CommandInfo& {
        return list.emplace_back(CommandInfo{name, object, {}, std::move(options), {}, changes});
    };
    const auto change = [&add](std::string_view name, Object object, Options options = {}) -> CommandInfo& {
        return add(name, object, std::move(options), true);
    };
    const auto look = [&add](std::string_view name, Object object, Options options = {}) -> CommandInfo& {
        return add(name, object, std::move(options), false);
    };

    change("primary", Object::minor, force);
    change("secondary", Object::minor);
    change("attach", Object::minor, whole(OptionGroup::disk)).arguments = attach_arguments;
    change("disk-options", Object::minor, set_defaults + while_attached());
    change("detach", Object::minor, force);
    change("connect", Object::resource_endpoints,
           command_options({"tentative", "discard-my-data", "alternate-address", "alternate-peer-address"}) +
               whole(OptionGroup::net));
    change("net-options", Object::endpoints, set_defaults + whole(OptionGroup::net));
    change("disconnect", Object::endpoints, force);
    change("resize", Object::minor,
           named(OptionGroup::disk, {"size"}) +
               command_options({"assume-peer-has-space", "assume-clean", "al-stripes", "al-stripe-size-kB"}));
    change("resource-options", Object::resource, set_defaults + whole(OptionGroup::resource));
    change("new-current-uuid", Object::minor, command_options({"clear-bitmap"}));
    for (const std::string_view name : {"invalidate", "invalidate-remote", "pause-sync", "resume-sync",
                                        "suspend-io", "resume-io", "outdate"}) {
        change(name, Object::minor);
    }
    change("verify", Object::minor, command_options({"start", "stop"}));
    change("down", Object::resource);
    look("state", Object::minor);
    look("role", Object::minor);
    look("sh-status", Object::minor_or_all);
    for (const std::string_view name : {"cstate", "dstate", "show-gi", "get-gi"}) look(name, Object::minor);
    look("show", Object::minor_or_all).own_options = show_options;
    look("status", Object::resource_or_all).own_options = status_options;
    look("check-resize", Object::minor);
    look("events", Object::minor_or_all);
    look("events2", Object::resource_or_all).own_options = events2_options;
    look("wait-connect", Object::minor, startup);
    look("wait-sync", Object::minor, startup);
    change("new-resource", Object::resource, whole(OptionGroup::resource));
    change("new-minor", Object::resource).arguments = new_minor_arguments;
    change("del-minor", Object::minor);
    change("del-resource", Object::resource);
    return list;
}

}  // namespace

std::span<const CommandInfo> commands() {
    static const std::vector<CommandInfo> list = make_commands();
    return list;
}

const CommandInfo* find_command(std::string_view name) {
    const auto list = commands();
    const auto found = std::ranges::find(list, name, &CommandInfo::name);
    return found == list.end() ? nullptr : &*found;
}

const Option* find_option(const CommandInfo& command, std::string_view name) {
    if (name == "overwrite-data-of-peer" && command.name == "primary") name = "force";
    if (name == "dry-run" && command.name == "connect") name = "tentative";
    const auto found = std::ranges::find(command.options, name, &Option::name);
    return found == command.options.end() ? nullptr : *found;
}

}  // namespace duplex::control
