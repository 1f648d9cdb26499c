// drbdsetup: speaks with the processes of this node's resources.
#include <string_view>

#include <fmt/format.h>

#include "control/commands.hpp"

int main(int argument_count, char** arguments) {
    using duplex::control::find_command;
    if (argument_count < 2 || find_command(arguments[1]) == nullptr) {
        if (argument_count >= 2) fmt::print(stderr, "invalid command\n");
        fmt::print(stderr, "commands:\n");
        for (const auto& command : duplex::control::commands()) fmt::print(stderr, "    {}\n", command.name);
        return 20;
    }
    fmt::print(stderr, "{} is not carried out by this version\n", arguments[1]);
    return 20;
}
