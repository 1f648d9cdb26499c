// Prints as JSON what the option table and the command tables hold, for the man pages: what they state is
// then what the programs do.
#include <cstdio>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "config/options.hpp"
#include "control/commands.hpp"
#include "tools/drbdadm/commands.hpp"
#include "tools/drbdsetup/usage.hpp"

namespace duplex::reference {
namespace {

using nlohmann::ordered_json;

const char* type_name(config::OptionType type) {
    switch (type) {
        case config::OptionType::number:
            return "number";
        case config::OptionType::enumeration:
            return "enumeration";
        case config::OptionType::flag:
            return "flag";
        case config::OptionType::text:
        case config::OptionType::address:
            break;
    }
    return "text";
}

std::string default_text(const config::Option& option) {
    if (option.type == config::OptionType::text || option.type == config::OptionType::address) return {};
    return config::format_value(option, config::default_value(option));
}

ordered_json describe(const config::Option& option) {
    ordered_json words = ordered_json::array();
    for (const config::EnumWord& word : option.words) words.push_back(word.word);
    return {{"name", option.name},
            {"type", type_name(option.type)},
            {"min", option.min},
            {"max", option.max},
            {"suffix", config::unit_suffix(option.unit)},
            {"unit", option.show_comment},
            {"default", default_text(option)},
            {"words", words}};
}

ordered_json describe(config::OptionGroup group) {
    ordered_json options = ordered_json::array();
    for (const config::Option* const option : config::options_of(group)) options.push_back(describe(*option));
    return options;
}

ordered_json drbdadm_commands() {
    ordered_json commands = ordered_json::array();
    for (const drbdadm::Command& command : drbdadm::all_commands()) {
        const char* const shown[] = {"everyone", "scripts", "handlers", "experts"};
        ordered_json options = ordered_json::array();
        if (command.options != drbdadm::ToolOptions::any) {
            for (const drbdadm::ToolOption& option : drbdadm::options_of_command(command.options))
                options.push_back(option.name);
        }
        commands.push_back({{"name", command.name},
                            {"for", shown[static_cast<size_t>(command.shown)]},
                            {"options", options}});
    }
    return commands;
}

ordered_json drbdsetup_commands() {
    ordered_json commands = ordered_json::array();
    for (const control::CommandInfo& command : control::commands())
        commands.push_back({{"name", command.name}, {"usage", drbdsetup::command_usage(command)}});
    return commands;
}

}  // namespace
}  // namespace duplex::reference

// NOLINTNEXTLINE(bugprone-exception-escape): a throw ends a step of the build, which is right.
int main() {
    using namespace duplex;
    nlohmann::ordered_json tables;
    tables["options"] = {{"options", reference::describe(config::OptionGroup::resource)},
                         {"net", reference::describe(config::OptionGroup::net)},
                         {"disk", reference::describe(config::OptionGroup::disk)},
                         {"startup", reference::describe(config::OptionGroup::startup)},
                         {"handlers", reference::describe(config::OptionGroup::handlers)},
                         {"command line", reference::describe(config::OptionGroup::command)}};
    tables["drbdadm"] = reference::drbdadm_commands();
    tables["drbdsetup"] = reference::drbdsetup_commands();
    fmt::print("{}\n", tables.dump(1));
    return 0;
}
