#include "tools/drbdmeta/ask.hpp"

#include <cstdio>
#include <iostream>
#include <string>
#include <unistd.h>

#include <fmt/format.h>

namespace duplex::drbdmeta {

bool confirmed(const Options& options, std::string_view text) {
    std::fflush(stdout);
    fmt::print(stderr, "\n{}\n", text);
    if (options.force) {
        fmt::print(stderr, "*** confirmation forced via --force option ***\n");
        return true;
    }
    if (isatty(STDIN_FILENO) == 0) {
        fmt::print(stderr, "stdin not a TTY, not waiting for confirmation\n");
        return false;
    }
    fmt::print(stderr, "[need to type 'yes' to confirm] ");
    std::string answer;
    std::getline(std::cin, answer);
    fmt::print(stderr, "\n");
    return answer == "yes";
}

}  // namespace duplex::drbdmeta
