#include "tools/drbdsetup/command_line.hpp"

#include <algorithm>
#include <getopt.h>
#include <utility>

#include <fmt/format.h>

namespace duplex::drbdsetup {
namespace {

using control::CommandInfo;
using control::Object;

constexpr std::string_view help_option = "help";

bool takes_all(const CommandInfo& command) {
    return command.object == Object::minor_or_all || command.object == Object::resource_or_all;
}

// The commands that wait have words of their own for a time out of range (cli 25).
std::string wrong_timeout(const config::Option& option, std::string_view text) {
    if (option.group != config::OptionGroup::startup || option.type != config::OptionType::number) return {};
    const Result<int64_t> number = config::parse_number(text, option.unit);
    if (!number || (*number >= option.min && *number <= option.max)) return {};
    std::string name(option.name);
    std::ranges::replace(name, '-', '_');
    return fmt::format("{} => {} out of range [{}..{}]\n", name, *number, option.min, option.max);
}

// A value that is no plain text can be judged here already; the process reads it with the same table.
std::optional<UsageError> add_option(const config::Option& option, const char* value, CommandLine& line) {
    const std::string text = value != nullptr ? value : "yes";
    if (const std::string wrong = wrong_timeout(option, text); !wrong.empty()) {
        return UsageError{Usage::none, line.command, wrong, {}};
    }
    if (const Result<config::Value> parsed = config::parse_value(option, text); !parsed) {
        constexpr int exit_no_number = 100;  // cli 5.1
        const bool no_number = option.type == config::OptionType::number && text.empty();
        return UsageError{Usage::none,
                          line.command,
                          parsed.error().text + "\n",
                          {},
                          no_number ? exit_no_number : exit_usage};
    }
    line.options[std::string(option.name)] = text;
    return std::nullopt;
}

struct OptionTable {
    std::vector<std::string> names;
    std::vector<option> entries;
};

OptionTable option_table(const CommandInfo& command) {
    OptionTable table;
    for (const config::Option* known : command.options) table.names.emplace_back(known->name);
    for (const std::string_view own : command.own_options) table.names.emplace_back(own);
    if (command.name == "primary") table.names.emplace_back("overwrite-data-of-peer");
    if (command.name == "connect") table.names.emplace_back("dry-run");
    table.names.emplace_back(help_option);
    for (const std::string& name : table.names) {
        const config::Option* const known = control::find_option(command, name);
        const bool needs_value = known != nullptr && known->type != config::OptionType::flag;
        // DRBD's own flags take a word without looking at it; what it does not have need not.
        const int argument = needs_value      ? required_argument
                             : name == "json" ? no_argument
                                              : optional_argument;
        table.entries.push_back({name.c_str(), argument, nullptr, 0});
    }
    table.entries.push_back({nullptr, 0, nullptr, 0});
    return table;
}

std::optional<UsageError> parse_options(std::vector<std::string>& arguments, CommandLine& line) {
    const OptionTable table = option_table(*line.command);
    std::vector<char*> pointers;
    std::string program(line.command->name);  // getopt's messages begin with it
    pointers.push_back(program.data());
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    optind = 0;  // begin anew
    for (;;) {
        int index = -1;
        const int found = getopt_long(static_cast<int>(pointers.size() - 1), pointers.data(), "",
                                      table.entries.data(), &index);
        if (found == -1) break;
        if (found != 0) return UsageError{};
        const std::string& name = table.names[static_cast<size_t>(index)];
        if (name == help_option) return UsageError{Usage::command, line.command, {}, {}, 0};
        if (const config::Option* const known = control::find_option(*line.command, name)) {
            if (auto wrong = add_option(*known, optarg, line)) return wrong;
        } else {
            line.own[name] = optarg != nullptr ? optarg : "";
        }
    }
    for (size_t i = static_cast<size_t>(optind); i + 1 < pointers.size(); ++i)
        line.words.emplace_back(pointers[i]);
    return std::nullopt;
}

std::optional<UsageError> check_words(const CommandLine& line) {
    const CommandInfo& command = *line.command;
    const auto missing = [&command](const std::string& what) {
        return UsageError{Usage::command, &command, "Missing " + what + "\n", {}};
    };
    if (line.words.empty()) {
        if (takes_all(command)) return std::nullopt;
        return missing("first argument");
    }
    if (line.words[0] == "all" && !takes_all(command)) {
        return UsageError{Usage::general, &command, {}, "\ncommand does not accept argument 'all'\n"};
    }
    size_t count = 1;
    if (command.object == Object::resource_endpoints) count = 3;
    if (command.object == Object::endpoints) count = 2;
    if (line.words.size() < count) return missing("connection endpoint argument");
    for (const std::string_view argument : command.arguments) {
        if (line.words.size() <= count) return missing(fmt::format("argument '{}'", argument));
        ++count;
    }
    if (line.words.size() > count) {
        return UsageError{Usage::none, &command, "Excess arguments: " + line.words[count], "\n"};
    }
    const auto no_minor = [&command](const std::string& word) {
        return UsageError{Usage::none,
                          &command,
                          fmt::format("Cannot determine minor device number of device '{}'\n", word),
                          {}};
    };
    if (command.object == Object::minor && !minor_of(line.words[0])) return no_minor(line.words[0]);
    if (command.name == "new-minor") {
        // A number that is too large is the process's affair.
        const auto is_number = [](const std::string& word) {
            return config::parse_number(word, config::NumberUnit::one).ok();
        };
        if (!minor_of(line.words[1]) && !is_number(line.words[1])) return no_minor(line.words[1]);
        if (!is_number(line.words[2]))
            return UsageError{Usage::none, &command, line.words[2] + " is not a valid number\n", {}};
    }
    return std::nullopt;
}

}  // namespace

std::optional<UsageError> parse(std::vector<std::string> arguments, CommandLine& line) {
    if (arguments.empty()) return UsageError{};
    line.command = control::find_command(arguments[0]);
    if (line.command == nullptr && arguments.size() > 1 && minor_of(arguments[0])) {
        line.command = control::find_command(arguments[1]);
        std::swap(arguments[0], arguments[1]);
    }
    if (line.command == nullptr) return UsageError{Usage::general, nullptr, {}, "\ninvalid command\n"};
    arguments.erase(arguments.begin());
    if (auto wrong = parse_options(arguments, line)) return wrong;
    return check_words(line);
}

}  // namespace duplex::drbdsetup
