// ensure(): a check of our own invariants that stays on in release builds. When one fails, the process
// stops before it can write a lie to a disk or tell one to a peer. Never reachable from bad input: input
// errors are Results.
#pragma once

namespace duplex {

// Where the line about a failed check goes, before the process ends: the log, once there is one; until then
// stderr.
void report_failed_checks_to(void (*report)(const char* line));

[[noreturn]] void ensure_failed(const char* condition, const char* file, int line);

}  // namespace duplex

#define ensure(condition) \
    (__builtin_expect(!!(condition), 1) ? (void)0 : ::duplex::ensure_failed(#condition, __FILE__, __LINE__))
