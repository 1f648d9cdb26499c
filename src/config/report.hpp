// What reading a configuration has to say: messages in the order found, and the exit status it asks for.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace duplex::config {

// Exit statuses of drbdadm (cli 10.4).
inline constexpr int exit_usage = 1;
inline constexpr int exit_scanner = 2;
inline constexpr int exit_invalid = 10;
inline constexpr int exit_fatal = 20;
inline constexpr int exit_empty_number = 100;

struct Report {
    std::vector<std::string> messages;           // complete lines, without the last newline
    std::vector<std::string> terminal_messages;  // for a person only, not for scripts
    int exit_status = 0;                         // 0: the configuration is valid

    void note(std::string message) { messages.push_back(std::move(message)); }
    void invalid(std::string message) {
        note(std::move(message));
        if (exit_status == 0) exit_status = exit_invalid;
    }
    bool valid() const { return exit_status == 0; }
};

}  // namespace duplex::config
