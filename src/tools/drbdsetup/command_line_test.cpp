#include "tools/drbdsetup/command_line.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace duplex::drbdsetup {
namespace {

using testing::ElementsAre;
using testing::Pair;
using testing::UnorderedElementsAre;

CommandLine accepted(std::vector<std::string> words) {
    CommandLine line;
    const auto wrong = parse(std::move(words), line);
    EXPECT_FALSE(wrong) << wrong->message;
    return line;
}

UsageError refused(std::vector<std::string> words) {
    CommandLine line;
    const auto wrong = parse(std::move(words), line);
    EXPECT_TRUE(wrong) << "accepted";
    return wrong.value_or(UsageError{});
}

TEST(CommandLine, TakesTheDeviceFirst) {
    for (const char* device : {"0", "/dev/drbd0"}) {
        const CommandLine line = accepted({device, "show"});
        EXPECT_EQ(line.command->name, "show");
        EXPECT_EQ(line.object(), device);
    }
}

TEST(CommandLine, TakesOptionsAnywhere) {
    const CommandLine line =
        accepted({"connect", "--timeout", "50", "r0", "--protocol=c", "10.0.0.1", "ipv4:10.0.0.2:7789",
                  "--allow-two-primaries", "--dry-run=no", "--timeout=60"});
    EXPECT_THAT(line.words, ElementsAre("r0", "10.0.0.1", "ipv4:10.0.0.2:7789"));
    EXPECT_THAT(line.options,
                UnorderedElementsAre(Pair("timeout", "60"), Pair("protocol", "c"),
                                     Pair("allow-two-primaries", "yes"), Pair("tentative", "no")));
}

TEST(CommandLine, KnowsTheOldNameOfForce) {
    EXPECT_THAT(accepted({"primary", "0", "--overwrite-data-of-peer"}).options,
                UnorderedElementsAre(Pair("force", "yes")));
    EXPECT_EQ(refused({"detach", "0", "--overwrite-data-of-peer"}).usage, Usage::command);
}

// As drbdadm calls it.
TEST(CommandLine, TakesEmptyTexts) {
    EXPECT_THAT(
        accepted({"net-options", "10.0.0.1", "10.0.0.2", "--set-defaults", "--cram-hmac-alg="}).options,
        UnorderedElementsAre(Pair("set-defaults", "yes"), Pair("cram-hmac-alg", "")));
}

TEST(CommandLine, MayMeanAll) {
    EXPECT_TRUE(accepted({"status"}).means_all());
    EXPECT_TRUE(accepted({"status", "all"}).means_all());
    EXPECT_FALSE(accepted({"sh-status", "0"}).means_all());
    EXPECT_EQ(refused({"primary", "all"}).usage, Usage::general);
}

TEST(CommandLine, KeepsItsOwnOptionsApart) {
    const CommandLine line = accepted({"status", "r0", "--verbose", "--color=never"});
    EXPECT_TRUE(line.options.empty());
    EXPECT_THAT(line.own, UnorderedElementsAre(Pair("verbose", ""), Pair("color", "never")));
}

TEST(CommandLine, SaysWhatIsWrong) {
    struct Row {
        std::vector<std::string> words;
        std::string message;
        Usage usage;
    };
    const std::vector<Row> rows{
        {{}, "", Usage::general},
        {{"foo"}, "\ninvalid command\n", Usage::general},
        {{"primary"}, "Missing first argument\n", Usage::command},
        {{"disconnect", "10.0.0.1"}, "Missing connection endpoint argument\n", Usage::command},
        {{"connect", "r0", "10.0.0.1"}, "Missing connection endpoint argument\n", Usage::command},
        {{"new-minor", "r0"}, "Missing argument 'minor'\n", Usage::command},
        {{"attach", "0"}, "Missing argument 'lower_dev'\n", Usage::command},
        {{"primary", "0", "x"}, "Excess arguments: x", Usage::command},
        {{"primary", "x"}, "Cannot determine minor device number of device 'x'\n", Usage::command},
        {{"primary", "1048576"},
         "Cannot determine minor device number of device '1048576'\n",
         Usage::command},
        {{"primary", "0", "--foo"}, "", Usage::command},
        {{"primary", "0", "-o"}, "", Usage::command},
        {{"primary", "0", "--force=maybe"}, "Option --force: invalid argument 'maybe'\n", Usage::none},
        {{"disk-options", "0", "--al-extents=1x"}, "1x is not a valid number\n", Usage::none},
        {{"verify", "0", "--start="}, "missing number argument\n", Usage::none},
        {{"wait-connect", "0", "--wfc-timeout=300001"},
         "wfc-timeout 300001 => 300001 out of range [0..300000].\n",
         Usage::none},
    };
    for (const Row& row : rows) {
        const UsageError wrong = refused(row.words);
        EXPECT_EQ(wrong.message, row.message);
        EXPECT_EQ(wrong.usage, row.usage) << row.message;
    }
}

}  // namespace
}  // namespace duplex::drbdsetup
