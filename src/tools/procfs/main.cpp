// duplex-procfs [--ready-fd=N]: serves $DUPLEX_RUN_DIR/proc/drbd. Started by drbdsetup, or as a unit of
// systemd;
// --ready-fd as duplexd has it.
#include <csignal>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <systemd/sd-daemon.h>

#include "control/readiness.hpp"
#include "control/run_dir.hpp"
#include "tools/procfs/proc_file.hpp"

namespace {

using namespace duplex;

constexpr int exit_usage = 20;

}  // namespace

int main(int argc, char** argv) {
    const Result<std::optional<int>> given = control::ready_fd_from(argc == 2 ? argv[1] : "");
    if (!given || (argc > 1 && !*given)) {
        fmt::print(stderr, "USAGE: duplex-procfs [--ready-fd=N]\n");
        return exit_usage;
    }
    int ready_fd = given->value_or(-1);
    std::signal(SIGPIPE, SIG_IGN);
    const Status served = tool::serve_proc_file(control::RunDir::of_node(), [&ready_fd] {
        control::report_ready(std::exchange(ready_fd, -1), "ready");
        sd_notify(0, "READY=1");
    });
    if (served) return 0;
    fmt::print(stderr, "duplex-procfs: {}\n", served.error().text);
    control::report_ready(ready_fd, served.error().text);
    return 1;
}
