#include "tools/drbdsetup/start.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace duplex::drbdsetup {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// A shell script in duplexd's place.
class StartProgram : public testing::Test {
  protected:
    void SetUp() override {
        directory_ = fs::path(testing::TempDir()) / "start_program";
        fs::remove_all(directory_);
        fs::create_directories(directory_);
        setenv("DUPLEX_LOG_DIR", (directory_ / "log").c_str(), 1);
    }
    void TearDown() override {
        unsetenv("DUPLEX_LOG_DIR");
        fs::remove_all(directory_);
    }

    Status start(const std::string& script) {
        const fs::path program = directory_ / "duplexd";
        std::ofstream(program) << "#!/bin/sh\n" << script;
        fs::permissions(program, fs::perms::owner_all);
        return start_program(program.string(), {"r0"}, "r0");
    }
    std::string log() const {
        std::ostringstream text;
        text << std::ifstream(directory_ / "log" / "r0.log").rdbuf();
        return text.str();
    }

    fs::path directory_;
};

TEST_F(StartProgram, WaitsUntilItIsReady) {
    const Status started = start("echo \"$*\" >&2; echo out; printf ready >&3");
    ASSERT_TRUE(started) << started.error().text;
    EXPECT_EQ(log(), "r0 --ready-fd=3\nout\n");
}

TEST_F(StartProgram, GivesItNothingElse) {
    const int ours = dup(STDIN_FILENO);  // not close-on-exec
    ASSERT_LT(ours, 10);
    // From 10 on shells keep their own. No pipe, whose ends the shell would have open for a moment.
    const Status started = start("ls -I '??*' /proc/$$/fd >&2; pwd >&2; printf ready >&3");
    close(ours);
    ASSERT_TRUE(started) << started.error().text;
    EXPECT_EQ(log(), "0\n1\n2\n3\n/\n");
}

TEST_F(StartProgram, TellsWhatWasInTheWay) {
    const Status started = start("printf 'no memory' >&3; exit 1");
    ASSERT_FALSE(started);
    EXPECT_THAT(started.error().text, HasSubstr("r0 did not start: no memory (its log is "));
}

TEST_F(StartProgram, TellsOfASilentEnd) {
    Status started = start("exit 7");
    ASSERT_FALSE(started);
    EXPECT_THAT(started.error().text, HasSubstr("it ended with status 7"));
    started = start("kill -9 $$");
    ASSERT_FALSE(started);
    EXPECT_THAT(started.error().text, HasSubstr("signal 9 ended it"));
}

TEST_F(StartProgram, TellsOfAMissingProgram) {
    const Status started = start_program((directory_ / "none").string(), {"r0"}, "r0");
    ASSERT_FALSE(started);
    EXPECT_THAT(started.error().text, HasSubstr("none: No such file or directory"));
}

TEST_F(StartProgram, NamesALogThatCannotBe) {
    setenv("DUPLEX_LOG_DIR", "/proc/none", 1);
    const Status started = start("printf ready >&3");
    ASSERT_FALSE(started);
    EXPECT_THAT(started.error().text, HasSubstr("cannot open the log /proc/none/r0.log"));
}

// Expected texts: systemd-escape --template=duplexd@.service NAME.
TEST(ResourceUnit, IsSpelledAsSystemdDoes) {
    EXPECT_EQ(resource_unit("r0"), "duplexd@r0.service");
    EXPECT_EQ(resource_unit("vm-100-disk_1"), "duplexd@vm\\x2d100\\x2ddisk_1.service");
    EXPECT_EQ(resource_unit(".a.b"), "duplexd@\\x2ea.b.service");
    EXPECT_EQ(resource_unit("a/b%+"), "duplexd@a-b\\x25\\x2b.service");
}

}  // namespace
}  // namespace duplex::drbdsetup
