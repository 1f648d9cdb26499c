// The commands of drbdadm, one table (cli 11.1).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "config/options.hpp"

namespace duplex::drbdadm {

class Session;
struct Target;
struct Command;

enum class Shown : uint8_t { yes, for_scripts, for_kernel, for_experts };

// What a command is called for.
enum class Scope : uint8_t {
    none,              // takes no names
    everything,        // handles all there is itself; takes no names
    optional,          // names may be left out: everything
    together,          // all named resources at once, in stages
    resource,          // once per resource
    resource_handler,  // as resource, called by the kernel part
    volume,            // once per volume
    one_volume,        // exactly one
    volume_handler,    // as one_volume, called by the kernel part
};

// Options of the lower tool that may be given without "--" (cli 10.2).
enum class ToolOptions : uint8_t {
    none,
    attach,
    disk,
    connect,
    net,
    resource,
    force,
    clear_bitmap,
    status,
    any
};

struct Command {
    std::string_view name;
    Shown shown;
    Scope scope;
    ToolOptions options;
    bool needs_peer;
    bool checks_address;
    // Status of one call. For Scope::everything and ::together the target is empty or the list is used.
    int (*run)(Session&, const Target&);
};

std::span<const Command> all_commands();
const Command* find_command(std::string_view name);

// An option of a lower tool as drbdadm's command line knows it.
struct ToolOption {
    std::string_view name;
    bool value_optional;  // a flag
};

// In the order the help shows them.
std::vector<ToolOption> options_of_command(ToolOptions options);

}  // namespace duplex::drbdadm
