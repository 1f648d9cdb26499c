// Running another program and reading what it says.
#pragma once

#include <initializer_list>
#include <string>

namespace duplex::drbdmeta {

struct Answer {
    int exit_code = -1;  // -1: it could not be run, or did not end by itself
    std::string text;    // its stdout
};

// words[0] is a path, or a name to look up in $PATH. Its stderr is ours.
Answer run_program(std::initializer_list<std::string> words);

}  // namespace duplex::drbdmeta
