// duplex-procfs [--ready-fd=N]: serves $DUPLEX_RUN_DIR/proc/drbd. Started by drbdsetup, or as a unit of
// systemd;
// --ready-fd as duplexd has it.
#include <charconv>
#include <csignal>
#include <string>
#include <string_view>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>
#include <systemd/sd-daemon.h>

#include "control/run_dir.hpp"
#include "tools/procfs/proc_file.hpp"

namespace {

using namespace duplex;

constexpr int exit_usage = 20;

void report(int ready_fd, std::string_view text) {
    if (ready_fd < 0) return;
    // Whoever waits may have gone; then nobody needs to know.
    [[maybe_unused]] const ssize_t written = write(ready_fd, text.data(), text.size());
    close(ready_fd);
}

}  // namespace

int main(int argc, char** argv) {
    constexpr std::string_view ready = "--ready-fd=";
    int ready_fd = -1;
    const std::string_view word = argc == 2 ? argv[1] : "";
    if (word.starts_with(ready)) {
        std::from_chars(word.data() + ready.size(), word.data() + word.size(), ready_fd);
    } else if (argc > 1) {
        fmt::print(stderr, "USAGE: duplex-procfs [--ready-fd=N]\n");
        return exit_usage;
    }
    std::signal(SIGPIPE, SIG_IGN);
    const Status served = tool::serve_proc_file(control::RunDir::of_node(), [&ready_fd] {
        report(std::exchange(ready_fd, -1), "ready");
        sd_notify(0, "READY=1");
    });
    if (served) return 0;
    fmt::print(stderr, "duplex-procfs: {}\n", served.error().text);
    report(ready_fd, served.error().text);
    return 1;
}
