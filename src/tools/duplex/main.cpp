// duplex: what DRBD's tools never had.
#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "control/node.hpp"
#include "control/run_dir.hpp"
#include "control/status_text.hpp"
#include "tools/duplex/top.hpp"

namespace duplex::tool {
namespace {

constexpr int exit_usage = 20;

constexpr std::string_view usage_text =
    "USAGE: duplex COMMAND\n\n"
    "  status    the state of all resources of this node\n"
    "  top       the same with speeds, live on the whole terminal; q ends it\n"
    "  version   the version of Duplex and of the DRBD it stands in for\n";

int usage_error(std::string_view problem) {
    fmt::print(stderr, "{}\n{}\n", usage_text, problem);
    return exit_usage;
}

int help() {
    fmt::print("{}", usage_text);
    return 0;
}

int version() {
    fmt::print("Duplex " DUPLEX_VERSION "\nDRBD 8.4.11 (api:1/proto:86-101)\n");
    return 0;
}

int status() {
    constexpr int timeout_ms = 10'000;
    const control::NodeStatus node = control::ask_all(control::RunDir::of_node(), timeout_ms);
    for (const control::SilentResource& silent : node.silent) fmt::print(stderr, "{}\n", silent.why);
    for (const auto& resource : node.resources) fmt::print("{}", control::status_text(resource, {}));
    return node.silent.empty() ? 0 : exit_usage;
}

struct Command {
    std::string_view name;
    int (*run)();
};

constexpr std::array commands{
    Command{"status", status},
    Command{"top", run_top},
    Command{"version", version},
    Command{"--version", version},
};

int run(const std::vector<std::string>& arguments) {
    if (arguments.empty()) return usage_error("No command specified");
    const std::string& command = arguments[0];
    if (command == "help" || command == "--help" || command == "-h") return help();
    const auto* const found = std::ranges::find(commands, command, &Command::name);
    if (found == commands.end()) return usage_error(fmt::format("Unknown command '{}'", command));
    if (arguments.size() > 1) {
        return usage_error(fmt::format("{} takes no arguments, but there is '{}'", command, arguments[1]));
    }
    return found->run();
}

}  // namespace
}  // namespace duplex::tool

int main(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);
    return duplex::tool::run(std::vector<std::string>(argv + 1, argv + argc));
}
