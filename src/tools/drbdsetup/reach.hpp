// From what the command line names to the process that has it.
#pragma once

#include <optional>
#include <string_view>
#include <variant>

#include "control/client.hpp"
#include "tools/drbdsetup/command_line.hpp"

namespace duplex::drbdsetup {

// Far above what any answer takes, below drbdadm's shortest time limit (cli 12.2), so that its reason is
// seen.
inline constexpr int answer_timeout_ms = 4000;

// Prints what there is to say about a reply and returns its exit status (cli 20).
int tell(std::string_view object, const engine::Reply& reply);
// Prints that there is no answer.
int tell_no_answer(std::string_view why);

// Why there is nobody to talk to.
struct Unreachable {
    control::Absence absence = control::Absence::none;
    engine::Reply reply;  // the one that DRBD gives for an object that is not there; its info says more

    // There is a process, but it cannot be talked to.
    bool exists() const { return absence == control::Absence::refused; }
    bool died() const { return absence == control::Absence::dead; }
};
int tell(std::string_view object, const Unreachable& unreachable);

using Reached = std::variant<control::Client, Unreachable>;

Reached reach_resource(const control::RunDir& run_dir, std::string_view resource);
// By resource, minor or addresses; the invocation does not mean all.
Reached reach(const control::RunDir& run_dir, const Invocation& invocation);

// The status of the process that has the invocation's minor or resource; nullopt: told why not, with the exit
// status in code.
std::optional<engine::ResourceStatus> status_of(const control::RunDir& run_dir, const Invocation& invocation,
                                                int& code);

}  // namespace duplex::drbdsetup
