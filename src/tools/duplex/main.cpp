// duplex: what DRBD's tools never had.
#include <charconv>
#include <csignal>
#include <cstdio>
#include <string>
#include <string_view>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>
#include <systemd/sd-daemon.h>

#include "control/node.hpp"
#include "control/run_dir.hpp"
#include "control/status_text.hpp"
#include "tools/duplex/proc_file.hpp"
#include "tools/duplex/top.hpp"

namespace duplex::tool {
namespace {

constexpr int exit_usage = 20;

int usage() {
    fmt::print(stderr,
               "USAGE: duplex COMMAND\n\n"
               "  status    the state of all resources of this node\n"
               "  top       the same with speeds, live on the whole terminal; q ends it\n"
               "  version   the version of Duplex and of the DRBD it stands in for\n");
    return exit_usage;
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

void report(int ready_fd, std::string_view text) {
    if (ready_fd < 0) return;
    // Whoever waits may have gone; then nobody needs to know.
    [[maybe_unused]] const ssize_t written = write(ready_fd, text.data(), text.size());
    close(ready_fd);
}

// Started by drbdsetup, or as a unit of systemd; --ready-fd=N as duplexd has it.
int proc_file(const std::vector<std::string>& arguments) {
    constexpr std::string_view ready = "--ready-fd=";
    int ready_fd = -1;
    if (arguments.size() == 2 && arguments[1].starts_with(ready)) {
        const std::string digits = arguments[1].substr(ready.size());
        std::from_chars(digits.data(), digits.data() + digits.size(), ready_fd);
    } else if (arguments.size() > 1) {
        return usage();
    }
    const control::RunDir run_dir = control::RunDir::of_node();
    const Status served = serve_proc_file(run_dir, [&ready_fd] {
        report(std::exchange(ready_fd, -1), "ready");
        sd_notify(0, "READY=1");
    });
    if (served) return 0;
    fmt::print(stderr, "duplex procfs: {}\n", served.error().text);
    report(ready_fd, served.error().text);
    return 1;
}

int run(const std::vector<std::string>& arguments) {
    if (arguments.empty()) return usage();
    const std::string& command = arguments[0];
    if (command == "procfs") return proc_file(arguments);
    if (arguments.size() > 1) return usage();
    if (command == "status") return status();
    if (command == "top") return run_top();
    if (command == "version") return version();
    return usage();
}

}  // namespace
}  // namespace duplex::tool

int main(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);
    return duplex::tool::run(std::vector<std::string>(argv + 1, argv + argc));
}
