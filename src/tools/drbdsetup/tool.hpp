// What the parts of drbdsetup share.
#pragma once

#include <optional>
#include <string>

#include "control/client.hpp"
#include "control/run_dir.hpp"
#include "tools/drbdsetup/command_line.hpp"

namespace duplex::drbdsetup {

inline constexpr int exit_failure = 10;
// Far above what any answer takes. Commands that change something may take their time; these wait without a
// limit.
inline constexpr int answer_timeout_ms = 10'000;

// The commands, by what they are about. Each gives the exit status.
int run_change(const control::RunDir& run_dir, const CommandLine& line);
int run_query(const control::RunDir& run_dir, const CommandLine& line);
int run_events(const control::RunDir& run_dir, const CommandLine& line);
int run_events2(const control::RunDir& run_dir, const CommandLine& line);
int run_wait(const control::RunDir& run_dir, const CommandLine& line);
int print_proc(const control::RunDir& run_dir);

// Says on stderr what the answer to a command means and gives the exit status for it.
int report(const std::string& object, const engine::Reply& reply);
// "unknown minor", as the kernel says it.
int report_unknown_minor(const std::string& object);
// Something is wrong between us and a process.
int report_trouble(const std::string& text);

// The status of the resource that has the minor; nullopt: there is none, or it does not answer, which has
// been said. exit_status is then what to end with.
std::optional<engine::ResourceStatus> status_of_minor(const control::RunDir& run_dir, const CommandLine& line,
                                                      int& exit_status);

}  // namespace duplex::drbdsetup
