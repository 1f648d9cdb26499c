// drbdsetup: the low-level tool, as DRBD 8.4 has it (cli 19 to 25); instead of the kernel it talks to the
// processes of the node.
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>

#include "control/reply_text.hpp"
#include "tools/drbdsetup/command_line.hpp"
#include "tools/drbdsetup/tool.hpp"
#include "tools/drbdsetup/usage.hpp"

namespace duplex::drbdsetup {

int report(const std::string& object, const engine::Reply& reply) {
    std::fputs(control::message_of(object, reply).c_str(), stderr);
    return control::exit_status_of(reply.code);
}

int report_unknown_minor(const std::string& object) {
    return report(object, engine::Reply{engine::error_code::minor_invalid, "unknown minor"});
}

int report_trouble(const std::string& text) {
    fmt::print(stderr, "{}\n", text);
    return exit_usage;
}

namespace {

int fail(const UsageError& wrong) {
    if (wrong.usage == Usage::general) std::fputs(general_usage().c_str(), stdout);
    if (wrong.usage == Usage::command) std::fputs(command_usage(*wrong.command).c_str(), stdout);
    std::fputs(wrong.notice.c_str(), stdout);
    std::fflush(stdout);
    std::fputs(wrong.errors.c_str(), stderr);
    return wrong.exit_status;
}

// "help" and "xml-help", by their texts about one command.
int help(const std::vector<std::string>& arguments, std::string (*text_about)(const control::CommandInfo&)) {
    if (arguments.size() < 2) return fail({});
    const control::CommandInfo* const command = control::find_command(arguments[1]);
    if (command == nullptr) return fail({Usage::general, nullptr, {}, "\nunknown command\n"});
    std::fputs(text_about(*command).c_str(), stdout);
    return 0;
}

// What new-resource starts must not find files of ours where it looks for standard streams.
void take_standard_descriptors() {
    int fd = 0;
    while (fd >= 0 && fd <= STDERR_FILENO) fd = open("/dev/null", O_RDWR);
    if (fd > STDERR_FILENO) close(fd);
}

int run(const std::vector<std::string>& arguments) {
    if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h") return fail({});
    if (arguments[0] == "help") return help(arguments, command_usage);
    if (arguments[0] == "xml-help") return help(arguments, command_xml);
    const control::RunDir run_dir = control::RunDir::of_node();
    if (arguments[0] == "proc" && arguments.size() == 1) return print_proc(run_dir);
    CommandLine line;
    if (const auto wrong = parse(arguments, line)) return fail(*wrong);
    // Without this the node would look empty to a user who may not look.
    if (access(run_dir.path().c_str(), R_OK | X_OK) != 0 && errno == EACCES) {
        return report_trouble(fmt::format("cannot look into {}: {}", run_dir.path(), std::strerror(EACCES)));
    }
    if (line.command->changes) return run_change(run_dir, line);
    const std::string_view command = line.command->name;
    if (command == "events2") return run_events2(run_dir, line);
    if (command == "events") return run_events(run_dir, line);
    if (command == "wait-connect" || command == "wait-sync") return run_wait(run_dir, line);
    return run_query(run_dir, line);
}

}  // namespace
}  // namespace duplex::drbdsetup

int main(int argc, char** argv) {
    using namespace duplex::drbdsetup;
    // A reader of stdout that goes away is noticed where it matters.
    std::signal(SIGPIPE, SIG_IGN);
    take_standard_descriptors();
    return run(std::vector<std::string>(argv + 1, argv + argc));
}
