#include "base/ensure.hpp"

#include <cstdio>
#include <cstdlib>

namespace duplex {
namespace {

void to_stderr(const char* line) {
    std::fprintf(stderr, "%s\n", line);
}

void (*report_failed_check)(const char* line) = to_stderr;

}  // namespace

void report_failed_checks_to(void (*report)(const char* line)) {
    report_failed_check = report;
}

void ensure_failed(const char* condition, const char* file, int line) {
    char text[512];
    std::snprintf(text, sizeof text, "%s:%d: invariant does not hold: %s", file, line, condition);
    report_failed_check(text);
    std::abort();
}

}  // namespace duplex
