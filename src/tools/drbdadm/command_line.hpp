// The command line of drbdadm: general options, the command, options for the lower tools, resource names
// (cli 10). Options may stand anywhere and be abbreviated; after "--" nothing is one.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/drbdadm/commands.hpp"

namespace duplex::drbdadm {

struct CommandLine {
    std::string program;  // basename of argv[0], for messages
    bool stacked = false;
    int dry_run = 0;  // how often -d was given
    int verbose = 0;
    std::optional<std::string> config_file;
    std::optional<std::string> config_to_test;
    std::string drbdsetup = "drbdsetup";
    std::string drbdmeta = "drbdmeta";
    std::string drbd_proxy_ctl = "drbd-proxy-ctl";
    std::string shell_variable;
    std::string peer;
    bool help = false;
    bool version = false;
    const Command* command = nullptr;
    const Command* help_about = nullptr;  // "help COMMAND"
    std::vector<std::string> setup_options;
    std::vector<std::string> names;
    std::vector<std::string> notes;  // to be reported, not errors
};

struct CommandLineResult {
    CommandLine line;
    std::optional<std::string> problem;  // usage error, complete text
};

CommandLineResult parse_command_line(const std::vector<std::string>& arguments);

// The usage text; about nullptr for the general one. problem is printed below, if there is one.
std::string usage_text(std::string_view program, const Command* about, std::string_view problem);

// What hidden-commands prints.
std::string hidden_commands_text();

}  // namespace duplex::drbdadm
