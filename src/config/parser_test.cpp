#include "config/parser.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/compare.hpp"
#include "config/dump.hpp"
#include "config/memory_loader.hpp"
#include "config/merge.hpp"
#include "config/roles.hpp"

namespace duplex::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Files = std::map<std::string, std::string>;

// The file of the how-to, in 8.3 spelling.
constexpr std::string_view newcomer = R"(global { usage-count no; }
common { syncer { rate 30M; } }
resource r0 {
        protocol C;
        startup { wfc-timeout 15; degr-wfc-timeout 60; become-primary-on both; }
        net { cram-hmac-alg sha1; shared-secret "my-secret"; allow-two-primaries;
              after-sb-0pri discard-zero-changes; after-sb-1pri discard-secondary; after-sb-2pri disconnect; }
        on proxmox-105 { device /dev/drbd0; disk /dev/sdb1; address 10.0.7.105:7788; meta-disk internal; }
        on proxmox-106 { device /dev/drbd0; disk /dev/sdb1; address 10.0.7.106:7788; meta-disk internal; }
}
)";

constexpr std::string_view hosts =
    "device /dev/drbd0; disk /dev/sdb1; meta-disk internal;"
    "on alpha { address 10.0.0.1:7788; } on bravo { address 10.0.0.2:7788; }";

ParseResult parse_text(std::string_view text, Files files = {}) {
    MemoryLoader loader(std::move(files));
    const SourceFile source = MemoryLoader::source(text, "drbd.conf");
    return parse(source, "drbd.conf", loader);
}

ParseResult valid(std::string_view text) {
    ParseResult result = parse_text(text);
    EXPECT_TRUE(result.report.valid()) << testing::PrintToString(result.report.messages);
    return result;
}

std::vector<std::string> as_text(const OptionList& list) {
    std::vector<std::string> text;
    for (const OptionSetting& setting : list) text.push_back(setting.name + "=" + setting.value);
    return text;
}

Config merged_on(std::string_view node, std::string_view text) {
    ParseResult result = valid(text);
    assign_roles(result.config, {std::string(node), {}}, MatchBy::host_section, result.report);
    merge(result.config, ResyncAfter::by_minor, DanglingReferences::drop, result.report);
    check_references(result.config, DanglingReferences::drop, result.report);
    EXPECT_TRUE(result.report.valid()) << testing::PrintToString(result.report.messages);
    return std::move(result.config);
}

TEST(Parser, TheHowToFileReadsAs84) {
    const Config config = merged_on("proxmox-106", newcomer);
    const Resource& r0 = *config.resources.at(0);
    ASSERT_NE(r0.me, nullptr);
    EXPECT_EQ(r0.me->names, std::vector<std::string>{"proxmox-106"});
    const Volume& volume = r0.me->volumes.at(0);
    EXPECT_EQ(volume.minor, 0u);
    EXPECT_TRUE(volume.internal_meta_disk());
    EXPECT_THAT(as_text(volume.disk_options), ElementsAre("resync-rate=30M"));
    EXPECT_THAT(as_text(r0.net), ElementsAre("protocol=C", "cram-hmac-alg=sha1", "shared-secret=my-secret",
                                             "allow-two-primaries=yes", "after-sb-0pri=discard-zero-changes",
                                             "after-sb-1pri=discard-secondary", "after-sb-2pri=disconnect"));
    // Every option can be set by name on the typed settings.
    NetOptions net;
    for (const OptionSetting& setting : r0.net) {
        EXPECT_TRUE(set_option(net, setting.name, setting.value).ok()) << setting.name;
    }
    EXPECT_TRUE(net.allow_two_primaries);
    EXPECT_EQ(net.after_sb_0pri, AfterSplitBrain::discard_zero_changes);
}

TEST(Parser, OldSpellingsAreTranslated) {
    const ParseResult result = valid(
        "resource r0 { disk { no-disk-flushes; use-bmbv; rate 3M; } net { no-tcp-cork; }"
        "syncer { use-rle; cpu-mask 3; al-extents 7; } handlers { outdate-peer /x; }" +
        std::string(hosts) + "}");
    const Resource& r0 = *result.config.resources.at(0);
    EXPECT_THAT(as_text(r0.disk), ElementsAre("disk-flushes=no", "resync-rate=3M", "al-extents=7"));
    EXPECT_THAT(as_text(r0.net), ElementsAre("tcp-cork=no", "use-rle=yes"));
    EXPECT_THAT(as_text(r0.options), ElementsAre("cpu-mask=3"));
    EXPECT_THAT(as_text(r0.handlers), ElementsAre("fence-peer=/x"));
}

TEST(Parser, ErrorsNameFileAndLine) {
    const ParseResult result = parse_text("resource r0 {\n  protocol C\n  on alpha { }\n}\n");
    EXPECT_EQ(result.report.exit_status, exit_invalid);
    EXPECT_THAT(result.report.messages,
                ElementsAre("drbd.conf:3: Parse error: ';' expected,\n\tbut got 'on' (TK 260)"));
}

TEST(Parser, SemanticErrorsAreCollected) {
    const ParseResult result = parse_text("resource r0 {\n net { timeout 0;\n ping-int 999; } }\n");
    EXPECT_THAT(result.report.messages,
                ElementsAre("drbd.conf:2: timeout 0 => 0 out of range [1..600].",
                            "drbd.conf:3: ping-int 999 => 999 out of range [1..120]."));
}

// Leading zeros are none of the number: what dump prints of such a device is read again.
TEST(Parser, ADeviceIsNamedByItsNumber) {
    const auto messages = [](std::string_view device) {
        return parse_text("resource r0 {\n on alpha {\n device " + std::string(device) + ";\n} }\n")
            .report.messages;
    };
    EXPECT_EQ(messages("/dev/drbd09 minor 9"), messages("/dev/drbd9 minor 9"));
    EXPECT_THAT(messages("/dev/drbd09 minor 8").front(), HasSubstr("explicit minor number must match"));
}

TEST(Parser, AFatalErrorIsTheLastMessage) {
    const ParseResult result = parse_text("resource r0 {\n bogus { on alpha { net { \n");
    EXPECT_EQ(result.report.messages.size(), 1u);
}

TEST(Parser, IncludedFilesAreReadOnceAndNamed) {
    const Files files{{"a.res", "include \"a.res\";\nresource a { }\n"},
                      {"b.res", "resource b {\n bogus; }\n"}};
    ParseResult result = parse_text("include \"a.res\"; include \"*\"; include \"a.res\";", files);
    ASSERT_EQ(result.config.resources.size(), 1u);
    EXPECT_EQ(result.config.resources[0]->absolute_file, "/etc/a.res");
    ASSERT_EQ(result.report.messages.size(), 1u);
    EXPECT_THAT(result.report.messages[0], HasSubstr("b.res:2: Parse error"));
}

TEST(Parser, AMissingIncludeIsAnErrorAndParsingGoesOn) {
    const ParseResult result = parse_text("include \"nowhere\";\nresource a { }\nfoo");
    EXPECT_EQ(result.report.messages.size(), 2u);
    EXPECT_EQ(result.report.messages[0], "drbd.conf:1: Failed to open include file 'nowhere'.");
}

TEST(Merge, WhatCommonHasIsPutInFront) {
    const Config config =
        merged_on("alpha",
                  "common { net { protocol A; timeout 50; ping-int 5; } disk { al-extents 300; } }"
                  "resource r0 { net { timeout 70; verify-alg md5; } disk { resync-rate 1M; }" +
                      std::string(hosts) + "}");
    const Resource& r0 = *config.resources.at(0);
    EXPECT_THAT(as_text(r0.net), ElementsAre("ping-int=5", "protocol=A", "timeout=70", "verify-alg=md5"));
    EXPECT_THAT(as_text(r0.me->volumes[0].disk_options), ElementsAre("resync-rate=1M", "al-extents=300"));
}

TEST(Merge, ADanglingResyncAfterIsDroppedOffTerminalsOnly) {
    const std::string text = "resource r0 { disk { resync-after gone; }" + std::string(hosts) + "}";
    for (const auto dangling : {DanglingReferences::drop, DanglingReferences::refuse}) {
        ParseResult result = valid(text);
        assign_roles(result.config, {"alpha", {}}, MatchBy::host_section, result.report);
        check_references(result.config, dangling, result.report);
        EXPECT_EQ(result.report.valid(), dangling == DanglingReferences::drop);
        EXPECT_EQ(result.report.messages.size(), 1u);
        EXPECT_TRUE(result.config.resources[0]->disk.empty());
    }
}

TEST(Merge, BothPrimaryNeedsTwoPrimaries) {
    const std::string both = "resource r0 { startup { become-primary-on both; }" + std::string(hosts) + "}";
    ParseResult result = valid(both);
    assign_roles(result.config, {"alpha", {}}, MatchBy::host_section, result.report);
    check_references(result.config, DanglingReferences::drop, result.report);
    EXPECT_FALSE(result.report.valid());
    merged_on("alpha", "common { net { allow-two-primaries; } }" + both);
}

TEST(Roles, FloatingSectionsAreFoundByAddressWhateverItsSpelling) {
    ParseResult result = valid(
        "resource r0 { device minor 0; disk /dev/a; meta-disk internal;"
        "floating ipv6 [fe80:0:0:0:0:0:0:1]:7788; floating ipv6 [fe80::2]:7788; }");
    assign_roles(result.config, {"somewhere", {"fe80::1"}}, MatchBy::host_section, result.report);
    Resource& r0 = *result.config.resources.at(0);
    ASSERT_EQ(r0.me, &r0.hosts[0]);
    choose_peer(r0, {}, result.report);
    EXPECT_EQ(r0.peer, &r0.hosts[1]);
}

TEST(Roles, ThreeHostsNeedAChoice) {
    ParseResult result = valid(
        "resource r0 { device minor 0; disk /dev/a; meta-disk internal;"
        "on a { address 10.0.0.1:1; } on b { address 10.0.0.2:1; } on c { address 10.0.0.3:1; } }");
    assign_roles(result.config, {"a", {}}, MatchBy::host_section, result.report);
    Resource& r0 = *result.config.resources.at(0);
    choose_peer(r0, {"c", true, false}, result.report);
    EXPECT_EQ(r0.peer, &r0.hosts[2]);
}

TEST(Dump, IsAConfigurationWithTheSameMeaning) {
    const ParseResult first = valid(newcomer);
    std::string text = dump_head(first.config, false) + dump_common(first.config);
    for (const auto& resource : first.config.resources) text += dump_resource(*resource, "alpha");
    const ParseResult second = valid(text);
    ASSERT_EQ(second.config.resources.size(), 1u);
    EXPECT_EQ(as_text(second.config.resources[0]->net), as_text(first.config.resources[0]->net));
    EXPECT_EQ(dump_common(second.config), dump_common(first.config));
}

TEST(Running, ShowTextReadsBack) {
    const ParseResult result = parse_running(
        "resource r0 {\n    options {\n    }\n    net {\n        shared-secret   \t\"a\\\"b\";\n"
        "        discard-my-data;\n    }\n    _remote_host {\n        address\t\t\tipv4 10.0.0.2:7788;\n    "
        "}\n"
        "    _this_host {\n        address\t\t\tipv4 10.0.0.1:7788;\n        volume 0 {\n            "
        "device\t\t\tminor 0;\n"
        "            disk\t\t\t\"/dev/sdb1\";\n            meta-disk\t\t\tinternal;\n            disk {\n"
        "                resync-rate     \t10240k; # bytes/second\n            }\n        }\n    }\n}\n",
        "drbdsetup show r0");
    ASSERT_TRUE(result.report.valid()) << testing::PrintToString(result.report.messages);
    Resource& r0 = *result.config.resources.at(0);
    assign_running_roles(r0);
    ASSERT_NE(r0.me, nullptr);
    ASSERT_NE(r0.peer, nullptr);
    EXPECT_EQ(r0.net[0].value, "a\"b");
    EXPECT_THAT(as_text(r0.me->volumes[0].disk_options), ElementsAre("resync-rate=10240k"));
    EXPECT_TRUE(parse_running("# nothing\n", "show").config.resources.empty());
}

TEST(Compare, ByMeaning) {
    const auto differ = [](const OptionList& running, const OptionList& configured) {
        return compare_options(OptionGroup::disk, running, configured).differs;
    };
    EXPECT_FALSE(differ({{"resync-rate", "10240k"}}, {{"resync-rate", "10M"}}));
    EXPECT_FALSE(differ({{"al-extents", "1237"}}, {}));
    EXPECT_FALSE(differ({}, {{"on-io-error", "detach"}}));
    EXPECT_FALSE(differ({{"al-extents", "67"}}, {{"al-extents", "7"}}));
    EXPECT_TRUE(differ({{"resync-rate", "10241k"}}, {{"resync-rate", "10M"}}));
    EXPECT_TRUE(differ({{"al-extents", "300"}}, {}));
    EXPECT_TRUE(differ({}, {{"fencing", "resource-only"}}));
}

}  // namespace
}  // namespace duplex::config
