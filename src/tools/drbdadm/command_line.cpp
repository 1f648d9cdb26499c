#include "tools/drbdadm/command_line.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "tools/drbdadm/version.hpp"

namespace duplex::drbdadm {
namespace {

struct GeneralOption {
    char letter;
    std::string_view name;
    bool takes_value;
};

constexpr std::array general_options{
    GeneralOption{'S', "stacked", false},       GeneralOption{'d', "dry-run", false},
    GeneralOption{'v', "verbose", false},       GeneralOption{'c', "config-file", true},
    GeneralOption{'t', "config-to-test", true}, GeneralOption{'s', "drbdsetup", true},
    GeneralOption{'m', "drbdmeta", true},       GeneralOption{'p', "drbd-proxy-ctl", true},
    GeneralOption{'n', "sh-varname", true},     GeneralOption{'P', "peer", true},
    GeneralOption{'V', "version", false},       GeneralOption{'W', "setup-option", true},
    GeneralOption{'h', "help", false},
};

constexpr std::array<std::pair<std::string_view, std::string_view>, 2> deprecated_names{
    {{"state", "role"}, {"outdate-peer", "fence-peer"}}};

// An option meant for the lower tool, until it is known which command it belongs to.
struct Pending {
    std::string name;
    std::string text;      // as the lower tool gets it
    std::string as_given;  // as messages show it
};

class Scanner {
  public:
    explicit Scanner(const std::vector<std::string>& arguments) : arguments_(arguments) {
        const std::string& path = arguments.front();
        result_.line.program = path.substr(path.rfind('/') + 1);
    }

    CommandLineResult run();

  private:
    void word(const std::string& text, bool after_dashes);
    void long_option(const std::string& text);
    void short_options(const std::string& text);
    void apply(char letter, const std::string& value);
    bool next_value(std::string& value);
    void problem(std::string text);
    void usage_problem(std::string_view text, std::string_view help_about = {});
    void assign_pending();
    std::vector<std::string_view> matches(std::string_view name) const;

    const std::vector<std::string>& arguments_;
    std::size_t position_ = 1;
    CommandLineResult result_;
    std::vector<Pending> pending_;
    std::string unknown_word_;
    bool help_word_ = false;
};

const GeneralOption* find_general(std::string_view name) {
    const auto* found = std::ranges::find(general_options, name, &GeneralOption::name);
    return found == general_options.end() ? nullptr : found;
}

bool value_is_optional(std::string_view name) {
    for (const ToolOption& option : options_of_command(ToolOptions::any)) {
        if (option.name == name) return option.value_optional;
    }
    return false;
}

void Scanner::problem(std::string text) {
    if (!result_.problem) result_.problem = std::move(text);
}

void Scanner::usage_problem(std::string_view text, std::string_view help_about) {
    const std::string_view& program = result_.line.program;
    problem(fmt::format("{}: {}\ntry '{} help{}{}'", program, text, program, help_about.empty() ? "" : " ",
                        help_about));
}

bool Scanner::next_value(std::string& value) {
    if (position_ >= arguments_.size()) return false;
    value = arguments_[position_++];
    return true;
}

// All option names that text abbreviates; just the one that equals it.
std::vector<std::string_view> Scanner::matches(std::string_view name) const {
    std::vector<std::string_view> found;
    for (const GeneralOption& option : general_options) {
        if (option.name == name) return {option.name};
        if (option.name.starts_with(name)) found.push_back(option.name);
    }
    for (const ToolOption& option : options_of_command(ToolOptions::any)) {
        if (option.name == name) return {option.name};
        if (option.name.starts_with(name)) found.push_back(option.name);
    }
    return found;
}

void Scanner::apply(char letter, const std::string& value) {
    CommandLine& line = result_.line;
    switch (letter) {
        case 'S':
            line.stacked = true;
            break;
        case 'd':
            ++line.dry_run;
            break;
        case 'v':
            ++line.verbose;
            break;
        case 'c':
            line.config_file = value;
            break;
        case 't':
            line.config_to_test = value;
            break;
        case 's':
            line.drbdsetup = value;
            break;
        case 'm':
            line.drbdmeta = value;
            break;
        case 'p':
            line.drbd_proxy_ctl = value;
            break;
        case 'P':
            line.peer = value;
            break;
        case 'V':
            line.version = true;
            break;
        case 'W':
            line.setup_options.push_back(value);
            break;
        case 'h':
            line.help = true;
            break;
        case 'n': {
            const bool plain = std::ranges::all_of(value, [](char c) {
                return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
            });
            if (plain) {
                line.shell_variable = value;
            } else {
                line.notes.push_back(fmt::format(
                    "ignored --sh-varname={}: contains suspect characters, allowed set is [a-zA-Z0-9_]",
                    value));
            }
            break;
        }
        default:
            break;
    }
}

void Scanner::short_options(const std::string& text) {
    for (std::size_t i = 1; i < text.size(); ++i) {
        const auto* option = std::ranges::find(general_options, text[i], &GeneralOption::letter);
        if (option == general_options.end()) {
            return usage_problem(fmt::format("invalid option -- '{}'", text[i]));
        }
        std::string value;
        if (option->takes_value) {
            value = text.substr(i + 1);
            if (value.empty() && !next_value(value)) {
                return usage_problem(fmt::format("option requires an argument -- '{}'", text[i]));
            }
            return apply(option->letter, value);
        }
        apply(option->letter, value);
    }
}

void Scanner::long_option(const std::string& text) {
    const std::size_t equals = text.find('=');
    const std::string name = text.substr(2, equals == std::string::npos ? equals : equals - 2);
    std::string value = equals == std::string::npos ? std::string() : text.substr(equals + 1);

    std::vector<std::string_view> found = matches(name);
    std::ranges::sort(found);
    const auto [rest, end] = std::ranges::unique(found);
    found.erase(rest, end);
    if (found.empty()) return usage_problem(fmt::format("unrecognized option '{}'", text));
    if (found.size() > 1) {
        std::string possibilities;
        for (std::string_view each : found) possibilities += fmt::format(" '--{}'", each);
        return usage_problem(
            fmt::format("option '--{}' is ambiguous; possibilities:{}", name, possibilities));
    }
    const std::string full(found.front());
    const GeneralOption* general = find_general(full);
    const bool flag = general != nullptr ? !general->takes_value : value_is_optional(full);
    if (general != nullptr && flag && equals != std::string::npos) {
        return usage_problem(fmt::format("option '--{}' doesn't allow an argument", full));
    }
    if (!flag && equals == std::string::npos && !next_value(value)) {
        return usage_problem(fmt::format("option '--{}' requires an argument", full));
    }
    if (general != nullptr) return apply(general->letter, value);
    const bool bare = flag && equals == std::string::npos;
    pending_.push_back({full, bare ? "--" + full : fmt::format("--{}={}", full, value), text});
}

void Scanner::word(const std::string& text, bool after_dashes) {
    CommandLine& line = result_.line;
    if (help_word_) {
        if (line.help_about == nullptr) line.help_about = find_command(text);
        return;
    }
    if (line.command != nullptr) {
        line.names.push_back(text);
        return;
    }
    if (text == "help") {
        help_word_ = line.help = true;
        return;
    }
    std::string_view name = text;
    for (const auto& [old_name, new_name] : deprecated_names) {
        if (text != old_name) continue;
        line.notes.push_back(fmt::format("'{} {}' is deprecated, use '{} {}' instead.", line.program,
                                         old_name, line.program, new_name));
        name = new_name;
    }
    line.command = find_command(name);
    if (line.command != nullptr) return;
    if (unknown_word_.empty()) unknown_word_ = text;
    if (after_dashes) {
        line.setup_options.push_back(text);
    } else {
        problem(fmt::format("{}: Unknown command '{}'", line.program, text));
    }
}

// Options given without "--" have to be the command's own.
void Scanner::assign_pending() {
    CommandLine& line = result_.line;
    if (line.command == nullptr) return;
    const std::vector<ToolOption> own = options_of_command(line.command->options);
    for (const Pending& option : pending_) {
        if (std::ranges::find(own, option.name, &ToolOption::name) == own.end()) {
            return usage_problem(fmt::format("unrecognized option '{}'", option.as_given),
                                 line.command->name);
        }
        line.setup_options.push_back(option.text);
    }
}

CommandLineResult Scanner::run() {
    bool after_dashes = false;
    // What follows --version is not looked at.
    while (position_ < arguments_.size() && !result_.problem && !result_.line.version) {
        const std::string& argument = arguments_[position_++];
        if (after_dashes || argument.size() < 2 || argument[0] != '-') {
            word(argument, after_dashes);
        } else if (argument == "--") {
            after_dashes = true;
        } else if (argument[1] == '-') {
            long_option(argument);
        } else {
            short_options(argument);
        }
    }
    if (result_.line.version) return std::move(result_);
    assign_pending();
    if (result_.line.help && result_.line.help_about == nullptr)
        result_.line.help_about = result_.line.command;
    if (result_.line.command == nullptr && !unknown_word_.empty()) {
        problem(fmt::format("{}: Unknown command '{}'", result_.line.program, unknown_word_));
    }
    return std::move(result_);
}

std::string in_two_columns(Shown shown) {
    std::string text;
    int column = 0;
    for (const Command& command : all_commands()) {
        if (command.shown != shown) continue;
        text += fmt::format("{}{:<35}", column == 0 ? " " : "", command.name);
        column = (column + 1) % 2;
        if (column == 0) text += "\n";
    }
    if (column == 1) text += "\n";
    return text;
}

}  // namespace

CommandLineResult parse_command_line(const std::vector<std::string>& arguments) {
    return Scanner(arguments).run();
}

std::string usage_text(std::string_view program, const Command* about, std::string_view problem) {
    std::string text =
        about != nullptr
            ? fmt::format("\nUSAGE: {} {} [OPTION...] {{all|RESOURCE...}}\n\n", program, about->name)
            : fmt::format("\nUSAGE: {} COMMAND [OPTION...] {{all|RESOURCE...}}\n\n", program);
    text += "GENERAL OPTIONS:\n";
    for (const GeneralOption& option : general_options) {
        text += option.takes_value ? fmt::format("  --{}=..., -{} ...\n", option.name, option.letter)
                                   : fmt::format("  --{}, -{}\n", option.name, option.letter);
    }
    if (about == nullptr) {
        text += "\nCOMMANDS:\n" + in_two_columns(Shown::yes);
    } else if (about->options != ToolOptions::none && about->options != ToolOptions::any) {
        text += fmt::format("\nOPTIONS FOR {}:\n", about->name);
        for (const ToolOption& option : options_of_command(about->options)) {
            text += fmt::format("  --{}{}\n", option.name, option.value_optional ? "[=...]" : "=...");
        }
    }
    text += fmt::format("\nVersion: {} (api:1)\n{}\n", compatible_version, build_tag);
    if (!problem.empty()) text += fmt::format("\n{}\n", problem);
    return text;
}

std::string hidden_commands_text() {
    return "\nThese additional commands might be useful for writing\nnifty shell scripts around "
           "drbdadm:\n\n" +
           in_two_columns(Shown::for_scripts) +
           "\nThese commands are used by the kernel part of DRBD to\ninvoke user mode helper programs:\n\n" +
           in_two_columns(Shown::for_kernel) +
           "\nThese commands ought to be used by experts and developers:\n\n" +
           in_two_columns(Shown::for_experts) + "\n";
}

}  // namespace duplex::drbdadm
