// drbdsetup's commands (cli 19): the one table that the tool's command line, its usage texts and the
// process's checks are driven by.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "config/options.hpp"

namespace duplex::control {

// What a command's first arguments name.
enum class Object : uint8_t {
    minor,
    resource,
    resource_endpoints,  // RES L P
    endpoints,           // L P
    minor_or_all,        // a minor, a resource, or all
    resource_or_all,
};

struct CommandInfo {
    std::string_view name;
    Object object;
    std::span<const std::string_view> arguments;  // after the object
    // In the order of the usage text. Not in the option table: the plain switches and words of the commands
    // that only the tool itself carries out.
    std::vector<const config::Option*> options;
    std::span<const std::string_view> own_options;
    bool changes = false;  // the state of a device: serialised by the device's lock (cli 30.2)
};

std::span<const CommandInfo> commands();
// nullptr: no such command.
const CommandInfo* find_command(std::string_view name);
// By its name or, for a few, its older name (cli 19); nullptr: the command has no such option.
const config::Option* find_option(const CommandInfo& command, std::string_view name);

}  // namespace duplex::control
