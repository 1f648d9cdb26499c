#include "tools/drbdsetup/option_words.hpp"

#include <getopt.h>

namespace duplex::drbdsetup {
namespace {

using config::Option;
using config::OptionType;

struct Known {
    std::string name;        // as typed
    const Option* in_table;  // nullptr: an own option
    int argument;            // getopt's has_arg
};

int argument_of(const Option& option) {
    if (option.name == "set-defaults") return no_argument;
    return option.type == OptionType::flag ? optional_argument : required_argument;
}

std::vector<Known> known_options(const control::CommandInfo& command) {
    std::vector<Known> known;
    for (const Option* const option : command.options)
        known.push_back({std::string(option->name), option, argument_of(*option)});
    for (const std::string_view older : {"overwrite-data-of-peer", "dry-run"}) {
        const Option* const option = control::find_option(command, older);
        if (option != nullptr) known.push_back({std::string(older), option, argument_of(*option)});
    }
    for (const std::string_view own : command.own_options)
        known.push_back({std::string(own), nullptr, own == "color" ? optional_argument : no_argument});
    return known;
}

std::vector<option> getopt_table(const std::vector<Known>& known) {
    std::vector<option> table;
    for (const Known& one : known) table.push_back({one.name.c_str(), one.argument, nullptr, 0});
    table.push_back({});
    return table;
}

Status take(const Known& known, const char* value, SplitWords& split) {
    if (known.in_table == nullptr) {
        split.own_options[known.name] = value != nullptr ? value : "";
        return Ok{};
    }
    const std::string text = value != nullptr ? value : "yes";
    if (Result<config::Value> parsed = config::parse_value(*known.in_table, text); !parsed)
        return parsed.error();
    split.options[std::string(known.in_table->name)] = text;
    return Ok{};
}

}  // namespace

Result<SplitWords> split_words(const control::CommandInfo& command, std::vector<std::string> words) {
    const std::vector<Known> known = known_options(command);
    const std::vector<option> table = getopt_table(known);
    std::vector<char*> arguments;  // getopt moves them about; the first names the speaker of its messages
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    SplitWords split;
    optind = 0;  // start anew
    const int count = static_cast<int>(words.size());
    for (;;) {
        int index = -1;
        const int found = getopt_long(count, arguments.data(), "", table.data(), &index);
        if (found == -1) break;
        if (found != 0) {
            split.unrecognized = true;
            return split;
        }
        if (Status taken = take(known[static_cast<size_t>(index)], optarg, split); !taken)
            return taken.error();
    }
    for (int i = optind; i < count; ++i) split.arguments.emplace_back(arguments[static_cast<size_t>(i)]);
    return split;
}

}  // namespace duplex::drbdsetup
