#include "tools/drbdsetup/usage.hpp"

#include <vector>

#include <fmt/format.h>

namespace duplex::drbdsetup {
namespace {

using control::CommandInfo;
using control::Object;

constexpr size_t columns_max = 80;

std::vector<std::string> object_words(Object object) {
    const std::string local = "[{af}:]{local_addr}[:{port}]";
    const std::string remote = "[{af}:]{remote_addr}[:{port}]";
    switch (object) {
        case Object::minor:
            return {"{minor}"};
        case Object::resource:
            return {"{resource}"};
        case Object::resource_endpoints:
            return {"{resource}", local, remote};
        case Object::endpoints:
            return {local, remote};
        case Object::minor_or_all:
            return {"{resource|minor|all}"};
        case Object::resource_or_all:
            return {"{resource|all}"};
    }
    return {};
}

std::string option_word(const config::Option& option) {
    if (option.group == config::OptionGroup::startup) return fmt::format("[--{}=...]", option.name);
    switch (option.type) {
        case config::OptionType::number:
            return fmt::format("[--{}=({} ... {})]", option.name, option.min, option.max);
        case config::OptionType::flag:
            return option.name == "set-defaults" ? "[--set-defaults]"
                                                 : fmt::format("[--{}={{yes|no}}]", option.name);
        case config::OptionType::text:
            return fmt::format("[--{}=<str>]", option.name);
        case config::OptionType::enumeration:
            break;
    }
    std::string words;
    for (const config::EnumWord& word : option.words) {
        if (!words.empty()) words += '|';
        words += word.word;
    }
    return fmt::format("[--{}={{{}}}]", option.name, words);
}

}  // namespace

std::string general_usage() {
    std::string text =
        "\nUSAGE: drbdsetup command device arguments options\n\n"
        "Device is usually /dev/drbdX or /dev/drbd/X.\n\n"
        "Commands are:\n";
    size_t column = 0;
    for (const CommandInfo& command : control::commands()) {
        text += fmt::format("{}{:<20}", column == 0 ? "    " : "", command.name);
        column = (column + 1) % 3;
        if (column == 0) text += '\n';
    }
    if (column != 0) text += '\n';
    return text + "\nTo get more details about a command issue 'drbdsetup help cmd'.\n\n";
}

std::string command_usage(const CommandInfo& command) {
    std::vector<std::string> words = object_words(command.object);
    for (const std::string_view argument : command.arguments)
        words.push_back(fmt::format("{{{}}}", argument));
    for (const config::Option* const option : command.options) words.push_back(option_word(*option));
    for (const std::string_view own : command.own_options) {
        words.push_back(own == "color" ? "[--color=...]" : fmt::format("[--{}]", own));
    }
    std::string text = "USAGE:\n";
    std::string line = fmt::format(" drbdsetup {}", command.name);
    for (const std::string& word : words) {
        if (line.size() + 1 + word.size() > columns_max) {
            text += line + '\n';
            line = "   ";
        }
        line += ' ' + word;
    }
    return text + line + '\n';
}

}  // namespace duplex::drbdsetup
