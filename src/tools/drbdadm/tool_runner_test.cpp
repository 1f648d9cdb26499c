#include "tools/drbdadm/tool_runner.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace duplex::drbdadm {
namespace {

ToolCall shell(std::string command) {
    ToolCall call;
    call.words = {"/bin/sh", "-c", std::move(command)};
    return call;
}

TEST(ToolRunner, PassesTheStatusOn) {
    const ToolRunner runner;
    EXPECT_EQ(runner.run(shell("exit 0")), 0);
    EXPECT_EQ(runner.run(shell("exit 17")), 17);
}

TEST(ToolRunner, WhatWasKilledHasFailed) {
    EXPECT_EQ(ToolRunner().run(shell("kill -9 $$")), 20);
}

TEST(ToolRunner, AProgramThatIsNotThereHasFailed) {
    ToolCall call;
    call.words = {"/nonexistent/drbdsetup"};
    EXPECT_EQ(ToolRunner().run(call), 20);
}

TEST(ToolRunner, TimeIsLimited) {
    ToolRunner runner;
    ToolRunner::Settings settings;
    settings.limits.cmd_timeout_short_s = 1;
    runner.configure(settings);
    testing::internal::CaptureStderr();
    EXPECT_EQ(runner.run(shell("exec sleep 60")), 20);
    EXPECT_EQ(testing::internal::GetCapturedStderr(),
              "Command '/bin/sh -c exec sleep 60' did not terminate within 1 seconds\n");
}

TEST(ToolRunner, OutputIsCapturedToItsEnd) {
    std::string out;
    std::string err;
    ToolCall call = shell("seq 20000; echo no >&2; exit 11");
    call.stdout_text = &out;
    call.stderr_text = &err;
    EXPECT_EQ(ToolRunner().run(call), 11);
    EXPECT_EQ(out.size(), 108894u);
    EXPECT_EQ(err, "no\n");
}

TEST(ToolRunner, ADryRunShowsWordsAsTheShellWouldTakeThem) {
    ToolRunner runner;
    ToolRunner::Settings settings;
    settings.dry_run = 1;
    settings.shell_variable = "RES";
    runner.configure(settings);
    ToolCall call;
    call.words = {"drbdsetup", "connect", "ipv6:[fe80::4]:7789", "--cram-hmac-alg=", "--shared-secret=a b"};
    call.resource = "my res";
    testing::internal::CaptureStdout();
    EXPECT_EQ(runner.run(call), 0);
    EXPECT_EQ(
        testing::internal::GetCapturedStdout(),
        "RES=my\\ res\ndrbdsetup connect ipv6:\\[fe80::4\\]:7789 --cram-hmac-alg= --shared-secret=a\\ b\n");
}

TEST(ToolRunner, TheChildKnowsItsResource) {
    std::string out;
    ToolCall call = shell("echo $DRBD_RESOURCE $DRBD_MINOR");
    call.resource = "r0";
    call.environment = {{"DRBD_MINOR", "7"}};
    call.stdout_text = &out;
    EXPECT_EQ(ToolRunner().run(call), 0);
    EXPECT_EQ(out, "r0 7\n");
}

}  // namespace
}  // namespace duplex::drbdadm
