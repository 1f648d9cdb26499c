// drbdmeta: the meta data of a DRBD device, at rest (meta data 15).
#include <algorithm>
#include <array>
#include <new>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "control/device_lock.hpp"
#include "tools/drbdmeta/commands.hpp"
#include "tools/drbdmeta/device.hpp"
#include "tools/drbdmeta/exit_code.hpp"
#include "tools/drbdmeta/guard.hpp"
#include "tools/drbdmeta/options.hpp"

namespace duplex::drbdmeta {
namespace {

struct Command {
    std::string_view name;
    int (*run)(const Options&, Device&);
    bool modifies;
    size_t arguments_min;
    size_t arguments_max;
    bool takes_node_id;  // of DRBD 9; with one peer there is only 0
};

constexpr std::array commands = {
    Command{"get-gi", get_gi, false, 0, 0, true},
    Command{"show-gi", show_gi, false, 0, 0, true},
    Command{"dump-md", dump_md, false, 0, 0, false},
    Command{"restore-md", restore_md, true, 0, 1, false},
    Command{"apply-al", apply_al, true, 0, 0, false},
    Command{"wipe-md", wipe_md, true, 0, 0, false},
    Command{"outdate", outdate, true, 0, 0, false},
    Command{"invalidate", invalidate, true, 0, 0, false},
    Command{"dstate", dstate, false, 0, 0, false},
    Command{"check-resize", check_resize, true, 0, 0, false},
    Command{"create-md", create_md, true, 0, 0, false},
    Command{"set-gi", set_gi, true, 1, 1, true},
    Command{"read-dev-uuid", read_dev_uuid, false, 0, 0, false},
    Command{"write-dev-uuid", write_dev_uuid, true, 1, 1, false},
};

int check_node_id(const Options& options, bool taken) {
    if (options.node_id.value_or(0) == 0) return exit_ok;
    if (!taken)
        return fail(exit_io, error("The {} command does not accept the --node-id option", options.command));
    fmt::print(stderr, "Not v09, implicitly set --node-id = 0\n");
    return exit_ok;
}

int run_on_device(const Options& options, const Command& command) {
    bool attached = false;
    std::optional<control::DeviceLock> lock;
    if (options.minor) {
        Result<control::DeviceLock> taken = control::DeviceLock::take(static_cast<unsigned>(*options.minor));
        if (!taken) return fail(exit_usage, taken.error());
        lock.emplace(std::move(*taken));
        Result<bool> answer = is_attached(*options.minor);
        if (!answer) return fail(exit_usage, answer.error());
        attached = *answer;
    }
    if (attached && command.modifies)
        return fail(exit_usage, error("Device '{}' is configured!", options.drbd_device));
    int code = exit_ok;
    const auto device = Device::open(options, code);
    if (!device) return code;
    if (options.arguments.size() < command.arguments_min)
        return fail(exit_io, error("Required Argument missing"));
    if (options.arguments.size() > command.arguments_max)
        fmt::print(stderr, "Ignoring additional arguments\n");
    code = command.run(options, *device);
    if (attached) {
        std::fflush(stdout);
        fmt::print(stderr, "# Output might be stale, since minor {} is attached\n", *options.minor);
    }
    return code;
}

int run(int argc, char** argv) {
    int code = exit_ok;
    const std::optional<Options> options = parse_command_line(argc, argv, code);
    if (!options) return code;
    if (options->command == "verify-dump") return verify_dump(*options);
    const auto* command = std::ranges::find(commands, std::string_view(options->command), &Command::name);
    if (command == commands.end()) return fail(exit_usage, error("Unknown command '{}'.", options->command));
    if (code = check_node_id(*options, command->takes_node_id); code != exit_ok) return code;
    code = run_on_device(*options, *command);
    // Output that did not reach its reader (a full disk under a dump) is a failure too.
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
        return fail(exit_io, error("writing to stdout failed"));
    return code;
}

}  // namespace
}  // namespace duplex::drbdmeta

int main(int argc, char** argv) {
    try {
        return duplex::drbdmeta::run(argc, argv);
    } catch (const std::bad_alloc&) {
        return duplex::drbdmeta::fail(duplex::drbdmeta::exit_not_implemented, duplex::error("out of memory"));
    }
}
