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
    EXPECT_FALSE(wrong) << wrong->errors;
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
    EXPECT_EQ(refused({"detach", "0", "--overwrite-data-of-peer"}).usage, Usage::general);
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

// All of these were tried on DRBD's drbdsetup.
TEST(CommandLine, SaysWhatIsWrong) {
    struct Row {
        std::vector<std::string> words;
        Usage usage;
        std::string errors;
        std::string notice;
        int exit_status = 20;
    };
    const std::vector<Row> rows{
        {{}, Usage::general, "", ""},
        {{"foo"}, Usage::general, "", "\ninvalid command\n"},
        {{"primary"}, Usage::command, "Missing first argument\n", ""},
        {{"primary", "all"}, Usage::general, "", "\ncommand does not accept argument 'all'\n"},
        {{"disconnect", "10.0.0.1"}, Usage::command, "Missing connection endpoint argument\n", ""},
        {{"connect", "r0", "10.0.0.1"}, Usage::command, "Missing connection endpoint argument\n", ""},
        {{"new-minor", "r0"}, Usage::command, "Missing argument 'minor'\n", ""},
        {{"attach", "0"}, Usage::command, "Missing argument 'lower_dev'\n", ""},
        {{"primary", "0", "x"}, Usage::none, "Excess arguments: x", "\n"},
        {{"primary", "x"}, Usage::none, "Cannot determine minor device number of device 'x'\n", ""},
        {{"primary", "1048576"},
         Usage::none,
         "Cannot determine minor device number of device '1048576'\n",
         ""},
        {{"new-minor", "r0", "x", "0"},
         Usage::none,
         "Cannot determine minor device number of device 'x'\n",
         ""},
        {{"new-minor", "r0", "0", "x"}, Usage::none, "x is not a valid number\n", ""},
        {{"primary", "0", "--foo"}, Usage::general, "", ""},
        {{"primary", "0", "-o"}, Usage::general, "", ""},
        {{"status", "--json=yes"}, Usage::general, "", ""},
        {{"primary", "--help"}, Usage::command, "", "", 0},
        {{"primary", "0", "--force=maybe"}, Usage::none, "Option --force: invalid argument 'maybe'\n", ""},
        {{"disk-options", "0", "--al-extents=1x"}, Usage::none, "1x is not a valid number\n", ""},
        {{"verify", "0", "--start="}, Usage::none, "missing number argument\n", "", 100},
        {{"wait-connect", "0", "--wfc-timeout=300001"},
         Usage::none,
         "wfc_timeout => 300001 out of range [0..300000]\n",
         ""},
    };
    for (const Row& row : rows) {
        const UsageError wrong = refused(row.words);
        EXPECT_EQ(wrong.errors, row.errors);
        EXPECT_EQ(wrong.notice, row.notice) << row.errors;
        EXPECT_EQ(wrong.usage, row.usage) << row.errors;
        EXPECT_EQ(wrong.exit_status, row.exit_status) << row.errors;
    }
}

}  // namespace
}  // namespace duplex::drbdsetup
