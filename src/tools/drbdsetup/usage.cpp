#include "tools/drbdsetup/usage.hpp"

#include <vector>

#include <fmt/format.h>

namespace duplex::drbdsetup {
namespace {

using control::CommandInfo;
using control::Object;

constexpr size_t columns_max = 80;

constexpr std::string_view local_endpoint = "[{af}:]{local_addr}[:{port}]";

std::vector<std::string> object_words(Object object) {
    const std::string local(local_endpoint);
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
        case config::OptionType::address:
            return fmt::format("[--{}={}]", option.name, local_endpoint);
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

std::string xml_object(Object object) {
    const auto arguments = [](std::initializer_list<std::string_view> names, std::string_view indent) {
        std::string text;
        for (const std::string_view name : names)
            text += fmt::format("{}<argument>{}</argument>\n", indent, name);
        return text;
    };
    const auto one_of = [&arguments](std::initializer_list<std::string_view> names) {
        return "\t<group>\n" + arguments(names, "\t\t") + "\t</group>\n";
    };
    switch (object) {
        case Object::minor:
            return arguments({"minor"}, "\t");
        case Object::resource:
            return arguments({"resource"}, "\t");
        case Object::resource_endpoints:
            return arguments({"resource", "local_addr", "remote_addr"}, "\t");
        case Object::endpoints:
            return arguments({"local_addr", "remote_addr"}, "\t");
        case Object::minor_or_all:
            return one_of({"resource", "minor", "all"});
        case Object::resource_or_all:
            return one_of({"resource", "all"});
    }
    return {};
}

std::string xml_number(const config::Option& option) {
    std::string text = fmt::format("\t\t<min>{}</min>\n\t\t<max>{}</max>\n\t\t<default>{}</default>\n",
                                   option.min, option.max, option.default_number);
    const std::string_view unit = config::unit_suffix(option.unit);
    text += fmt::format("\t\t<unit_prefix>{}</unit_prefix>\n", unit.empty() ? "1" : unit);
    if (!option.show_comment.empty()) text += fmt::format("\t\t<unit>{}</unit>\n", option.show_comment);
    return text;
}

std::string xml_option(const config::Option& option) {
    const auto element = [&option](std::string_view type, std::string_view content = {}) {
        return fmt::format("\t<option name=\"{}\" type=\"{}\">\n{}\t</option>\n", option.name, type, content);
    };
    if (option.group == config::OptionGroup::startup) return element("string");
    std::string content;
    switch (option.type) {
        case config::OptionType::number:
            return element("numeric", xml_number(option));
        case config::OptionType::flag:
            if (option.name == "set-defaults") return element("flag");
            return element("boolean",
                           fmt::format("\t\t<default>{}</default>\n",
                                       config::format_value(option, config::default_value(option))));
        case config::OptionType::text:
            return element("string");
        case config::OptionType::address:
            return element("address");
        case config::OptionType::enumeration:
            break;
    }
    for (const config::EnumWord& word : option.words)
        content += fmt::format("\t\t<handler>{}</handler>\n", word.word);
    return element("handler", content);
}

}  // namespace

std::string command_xml(const CommandInfo& command) {
    std::string text = fmt::format("<command name=\"{}\">\n", command.name) + xml_object(command.object);
    for (const std::string_view argument : command.arguments)
        text += fmt::format("\t<argument>{}</argument>\n", argument);
    for (const config::Option* const option : command.options) text += xml_option(*option);
    for (const std::string_view own : command.own_options) {
        text += fmt::format("\t<option name=\"{}\" type=\"{}\">\n\t</option>\n", own,
                            own == "color" ? "string" : "flag");
    }
    return text + "</command>\n";
}

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
