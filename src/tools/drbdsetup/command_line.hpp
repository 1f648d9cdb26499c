// drbdsetup's command line (cli 19): COMMAND OBJECT ARGS OPTIONS, or in the old order MINOR COMMAND ...
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/commands.hpp"
#include "tools/drbdsetup/minor.hpp"

namespace duplex::drbdsetup {

inline constexpr int exit_usage = 20;  // and for whatever keeps us from talking to a process

struct CommandLine {
    const control::CommandInfo* command = nullptr;
    std::vector<std::string> words;                           // object and arguments, as typed
    std::map<std::string, std::string, std::less<>> options;  // of the option table, by their own names
    std::map<std::string, std::string, std::less<>>
        own;  // those that only this tool knows; may be empty texts

    // The object as typed; empty if left out.
    std::string object() const { return words.empty() ? std::string() : words[0]; }
    // "all", or nothing where that means the same.
    bool means_all() const { return words.empty() || words[0] == "all"; }
};

// Which usage text goes with a wrong command line.
enum class Usage : uint8_t { none, general, command };

// Why nothing is done with the command line; or that it only asked for help (exit status 0).
struct UsageError {
    Usage usage = Usage::general;
    const control::CommandInfo* command = nullptr;
    std::string errors;  // for stderr, as it is; may be empty
    std::string notice;  // for stdout, behind the usage text
    int exit_status = exit_usage;
};

// What getopt_long() finds wrong it has said on stderr itself.
std::optional<UsageError> parse(std::vector<std::string> arguments, CommandLine& line);

}  // namespace duplex::drbdsetup
