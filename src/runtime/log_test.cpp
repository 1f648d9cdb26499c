#include "runtime/log.hpp"

#include <cstdlib>
#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/ensure.hpp"

namespace duplex::runtime {
namespace {

// As under systemd: stderr is the journal, and what goes through the log has its priority in front.
void open_journal_on_stderr() {
    struct stat status {};
    fstat(STDERR_FILENO, &status);
    setenv("JOURNAL_STREAM", fmt::format("{}:{}", status.st_dev, status.st_ino).c_str(), 1);
    open_log("test");
}

TEST(LogDeathTest, ShowsTheCheckThatFailed) {
    const auto fail = [] {
        open_journal_on_stderr();
        const int answer = 6 * 9;
        ensure(answer == 42);
    };
    EXPECT_DEATH(fail(), "<1>.*log_test\\.cpp:[0-9]+: invariant does not hold: answer == 42");
}

}  // namespace
}  // namespace duplex::runtime
