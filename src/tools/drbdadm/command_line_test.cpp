#include "tools/drbdadm/command_line.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace duplex::drbdadm {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

CommandLineResult parse(std::vector<std::string> words) {
    words.insert(words.begin(), "/sbin/drbdadm");
    return parse_command_line(words);
}

std::string problem_of(std::vector<std::string> words) {
    return parse(std::move(words)).problem.value_or("none");
}

TEST(CommandLine, OptionsStandAnywhereAndCanBeAbbreviated) {
    const CommandLineResult result = parse({"up", "-dd", "--verb", "r0", "-cfile", "--pe", "bravo"});
    ASSERT_FALSE(result.problem.has_value()) << *result.problem;
    EXPECT_EQ(result.line.command->name, "up");
    EXPECT_EQ(result.line.dry_run, 2);
    EXPECT_EQ(result.line.verbose, 1);
    EXPECT_EQ(result.line.config_file, "file");
    EXPECT_EQ(result.line.peer, "bravo");
    EXPECT_THAT(result.line.names, ElementsAre("r0"));
}

TEST(CommandLine, EverythingBetweenTheDashesAndTheCommandIsForTheLowerTool) {
    const CommandLineResult result = parse({"--", "--overwrite-data-of-peer", "primary", "r0", "--force"});
    ASSERT_FALSE(result.problem.has_value());
    EXPECT_EQ(result.line.command->name, "primary");
    EXPECT_THAT(result.line.setup_options, ElementsAre("--overwrite-data-of-peer"));
    EXPECT_THAT(result.line.names, ElementsAre("r0", "--force"));
}

TEST(CommandLine, TheCommandsOwnOptionsNeedNoDashes) {
    EXPECT_THAT(parse({"--force", "primary", "r0"}).line.setup_options, ElementsAre("--force"));
    EXPECT_THAT(parse({"attach", "--size", "1G", "r0"}).line.setup_options, ElementsAre("--size=1G"));
    EXPECT_THAT(parse({"attach", "--on-io=detach", "r0"}).line.setup_options,
                ElementsAre("--on-io-error=detach"));
    EXPECT_THAT(parse({"primary", "-W--force", "r0"}).line.setup_options, ElementsAre("--force"));
}

TEST(CommandLine, Mistakes) {
    EXPECT_EQ(problem_of({"down", "--force", "r0"}),
              "drbdadm: unrecognized option '--force'\ntry 'drbdadm help down'");
    EXPECT_EQ(problem_of({"verify", "--start=0", "r0"}),
              "drbdadm: unrecognized option '--start=0'\ntry 'drbdadm help'");
    EXPECT_EQ(problem_of({"foo", "r0"}), "drbdadm: Unknown command 'foo'");
    EXPECT_EQ(problem_of({"--", "--x", "foo"}), "drbdadm: Unknown command '--x'");
    EXPECT_EQ(problem_of({"-c"}), "drbdadm: option requires an argument -- 'c'\ntry 'drbdadm help'");
    EXPECT_EQ(problem_of({"-x"}), "drbdadm: invalid option -- 'x'\ntry 'drbdadm help'");
    EXPECT_EQ(problem_of({"--config"}),
              "drbdadm: option '--config' is ambiguous; possibilities: '--config-file' '--config-to-test'\n"
              "try 'drbdadm help'");
}

TEST(CommandLine, HelpIsAboutTheFirstCommandNamed) {
    const auto help_about = [](const std::vector<std::string>& words) -> std::string_view {
        const CommandLineResult result = parse(words);
        EXPECT_TRUE(result.line.help && !result.problem);
        return result.line.help_about != nullptr ? result.line.help_about->name : "";
    };
    EXPECT_EQ(help_about({"help", "connect", "primary"}), "connect");
    EXPECT_EQ(help_about({"help", "frob", "connect"}), "connect");
    EXPECT_EQ(help_about({"connect", "--help"}), "connect");
    EXPECT_EQ(help_about({"-h", "connect", "r0"}), "connect");
    EXPECT_EQ(help_about({"help"}), "");
}

TEST(CommandLine, NothingIsLookedAtBehindVersion) {
    const CommandLineResult result = parse({"--version", "r0", "--frob"});
    EXPECT_TRUE(result.line.version);
    EXPECT_FALSE(result.problem);
}

TEST(CommandLine, OldNamesAreMapped) {
    const CommandLineResult result = parse({"state", "r0"});
    EXPECT_EQ(result.line.command->name, "role");
    EXPECT_THAT(result.line.notes, ElementsAre("'drbdadm state' is deprecated, use 'drbdadm role' instead."));
    EXPECT_THAT(parse({"role", "r0"}).line.notes, IsEmpty());
}

}  // namespace
}  // namespace duplex::drbdadm
