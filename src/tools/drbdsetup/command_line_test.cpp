#include "tools/drbdsetup/command_line.hpp"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/drbdsetup/usage.hpp"

namespace duplex::drbdsetup {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using testing::UnorderedElementsAre;

Invocation accepted(std::vector<std::string> words) {
    auto parsed = parse_command_line(std::move(words));
    if (const auto* wrong = std::get_if<UsageError>(&parsed)) {
        ADD_FAILURE() << wrong->message << wrong->usage;
        return {};
    }
    return std::get<Invocation>(std::move(parsed));
}

UsageError refused(std::vector<std::string> words) {
    auto parsed = parse_command_line(std::move(words));
    if (std::holds_alternative<Invocation>(parsed)) {
        ADD_FAILURE() << "accepted";
        return {};
    }
    return std::get<UsageError>(std::move(parsed));
}

TEST(CommandLine, TakesAMinorInAllItsForms) {
    for (const char* device : {"5", "/dev/drbd5"}) {
        const Invocation invocation = accepted({"primary", device});
        EXPECT_EQ(invocation.object, device);
        EXPECT_EQ(invocation.request.command, "primary");
        EXPECT_EQ(invocation.request.minor, 5);
        EXPECT_TRUE(invocation.resource.empty());
    }
}

TEST(CommandLine, TakesTheDeviceFirst) {
    const Invocation invocation = accepted({"0", "show"});
    EXPECT_EQ(invocation.request.command, "show");
    EXPECT_EQ(invocation.request.minor, 0);
}

TEST(CommandLine, TakesOptionsAnywhere) {
    const Invocation invocation =
        accepted({"connect", "--timeout", "50", "r0", "--protocol=c", "10.0.0.1", "ipv4:10.0.0.2:7789",
                  "--allow-two-primaries", "--dry-run=no", "--timeout=60"});
    EXPECT_EQ(invocation.resource, "r0");
    EXPECT_THAT(invocation.request.arguments, ElementsAre("ipv4:10.0.0.1:7788", "ipv4:10.0.0.2:7789"));
    EXPECT_THAT(invocation.request.options,
                UnorderedElementsAre(Pair("timeout", "60"), Pair("protocol", "c"),
                                     Pair("allow-two-primaries", "yes"), Pair("tentative", "no")));
}

TEST(CommandLine, KnowsTheOldNameOfForce) {
    EXPECT_THAT(accepted({"primary", "0", "--overwrite-data-of-peer"}).request.options,
                UnorderedElementsAre(Pair("force", "yes")));
    EXPECT_THAT(refused({"detach", "0", "--overwrite-data-of-peer"}).usage,
                HasSubstr("drbdsetup detach {minor}"));
}

TEST(CommandLine, MakesAddressesComparable) {
    const Invocation invocation = accepted({"disconnect", "ipv6:[FE80:0::4]:7789", "ipv6:fe80::5:7788"});
    EXPECT_THAT(invocation.request.arguments, ElementsAre("ipv6:[fe80::4]:7789", "ipv6:[fe80::5]:7788"));
    EXPECT_EQ(invocation.object, "ipv6:[FE80:0::4]:7789");
}

TEST(CommandLine, NamesTheHostThatIsNotThere) {
    EXPECT_EQ(refused({"disconnect", "host.invalid", "10.0.0.2"}).message,
              "can not resolve the hostname: gethostbyname(host.invalid): Unknown host\n");
}

TEST(CommandLine, SplitsNewMinor) {
    const Invocation invocation = accepted({"new-minor", "r0", "3", "1"});
    EXPECT_EQ(invocation.resource, "r0");
    EXPECT_EQ(invocation.request.minor, 3);
    EXPECT_THAT(invocation.request.arguments, ElementsAre("1"));
}

TEST(CommandLine, MakesDevicesAbsolute) {
    const std::string directory = testing::TempDir();
    std::ofstream(directory + "/disk") << "x";
    const auto before = std::filesystem::current_path();
    std::filesystem::current_path(directory);
    const Invocation invocation = accepted({"attach", "0", "disk", "./disk", "internal", "--size=1G"});
    std::filesystem::current_path(before);
    const std::string path = std::filesystem::path(directory).lexically_normal() / "disk";
    EXPECT_THAT(invocation.request.arguments, ElementsAre(path, path, "internal"));
    EXPECT_THAT(invocation.request.options, UnorderedElementsAre(Pair("size", "1G")));
}

TEST(CommandLine, RefusesWhatIsNoDisk) {
    EXPECT_EQ(refused({"attach", "0", "/nonexistent", "/nonexistent", "internal"}).message,
              "Can not open device '/nonexistent': No such file or directory\n");
    EXPECT_EQ(refused({"attach", "0", "/tmp", "/tmp", "internal"}).message, "/tmp is not a block device!\n");
}

TEST(CommandLine, MayMeanAll) {
    for (const auto& words : std::vector<std::vector<std::string>>{{"status"}, {"status", "all"}}) {
        const Invocation invocation = accepted(words);
        EXPECT_TRUE(invocation.means_all());
        EXPECT_EQ(invocation.object, "all");
    }
    EXPECT_FALSE(accepted({"sh-status", "0"}).means_all());
    EXPECT_FALSE(accepted({"status", "0"}).means_all());
    EXPECT_EQ(accepted({"status", "0"}).resource, "0");
    EXPECT_EQ(refused({"primary", "all"}).usage, general_usage());
}

TEST(CommandLine, KeepsItsOwnOptionsApart) {
    const Invocation invocation = accepted({"status", "r0", "--verbose", "--color=never"});
    EXPECT_TRUE(invocation.request.options.empty());
    EXPECT_THAT(invocation.own_options, UnorderedElementsAre(Pair("verbose", ""), Pair("color", "never")));
}

struct Refusal {
    std::vector<std::string> words;
    std::string message;
    bool with_usage;
};

TEST(CommandLine, SaysWhatIsWrong) {
    const std::vector<Refusal> refusals{
        {{}, "", true},
        {{"foo"}, "", true},
        {{"primary"}, "Missing first argument\n", true},
        {{"disconnect", "10.0.0.1"}, "Missing connection endpoint argument\n", true},
        {{"connect", "r0", "10.0.0.1"}, "Missing connection endpoint argument\n", true},
        {{"new-minor", "r0"}, "Missing argument 'minor'\n", true},
        {{"attach", "0"}, "Missing argument 'lower_dev'\n", true},
        {{"primary", "0", "x"}, "Excess arguments: x", true},
        {{"primary", "x"}, "Cannot determine minor device number of device 'x'\n", true},
        {{"primary", "1048576"}, "Cannot determine minor device number of device '1048576'\n", true},
        {{"primary", "0", "--foo"}, "", true},
        {{"primary", "0", "-o"}, "", true},
        {{"primary", "0", "--force=maybe"}, "Option --force: invalid argument 'maybe'\n", false},
        {{"disk-options", "0", "--al-extents=1x"}, "1x is not a valid number\n", false},
        {{"verify", "0", "--start="}, "missing number argument\n", false},
        {{"wait-connect", "0", "--wfc-timeout=300001"},
         "wfc-timeout 300001 => 300001 out of range [0..300000].\n",
         false},
    };
    for (const Refusal& expected : refusals) {
        const UsageError wrong = refused(expected.words);
        EXPECT_EQ(wrong.message, expected.message);
        EXPECT_EQ(!wrong.usage.empty(), expected.with_usage) << expected.message;
    }
}

}  // namespace
}  // namespace duplex::drbdsetup
