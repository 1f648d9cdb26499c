// The options on drbdsetup's command line: long ones only, anywhere between the arguments (cli 19).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "control/commands.hpp"

namespace duplex::drbdsetup {

struct SplitWords {
    std::vector<std::string> arguments;
    std::map<std::string, std::string, std::less<>> options;      // by their names in the option table
    std::map<std::string, std::string, std::less<>> own_options;  // CommandInfo::own_options
    bool unrecognized = false;  // there was an option that the command does not have: getopt has said so
};

// words: the command, then everything that follows it. If an option is repeated, the last one counts. Error:
// a value that its option does not take.
Result<SplitWords> split_words(const control::CommandInfo& command, std::vector<std::string> words);

}  // namespace duplex::drbdsetup
