// One run of drbdadm: its command line, the configuration, and how to reach the lower tools.
#pragma once

#include <string>
#include <vector>

#include "config/model.hpp"
#include "config/report.hpp"
#include "config/roles.hpp"
#include "tools/drbdadm/command_line.hpp"
#include "tools/drbdadm/tool_runner.hpp"

namespace duplex::drbdadm {

// What a command is applied to. volume is nullptr for commands on whole resources.
struct Target {
    config::Resource* resource = nullptr;
    config::Volume* volume = nullptr;
};

class Session {
  public:
    CommandLine line;
    config::Config config;
    config::Node node;
    ToolRunner runner;
    std::vector<Target> targets;  // of Scope::together
    bool names_given = false;
    bool on_terminal = false;  // both stdin and stdout
    bool from_stdin = false;   // the configuration

    bool dry_run() const { return line.dry_run > 0; }

    // Runs a tool for a resource.
    int run(std::vector<std::string> words, TimeLimit limit, const config::Resource& resource) const;

    // Words of a call of drbdmeta for a volume, up to the command: cli 11.2.
    std::vector<std::string> meta_words(const config::Volume& volume, std::string_view command) const;

    // Puts the options for the lower tool from the command line at the end.
    void add_setup_options(std::vector<std::string>& words) const;

    // Looks for the peer if the command needs it, and says why there is none.
    void find_peer(config::Resource& resource);
};

// Prints messages of a report, each a line, to stderr.
void print_messages(const config::Report& report);

// --NAME=VALUE for each option, in order.
void add_options(std::vector<std::string>& words, const config::OptionList& options);

}  // namespace duplex::drbdadm
