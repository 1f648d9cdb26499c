#include "tools/drbdadm/steps.hpp"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/memory_loader.hpp"
#include "config/merge.hpp"
#include "config/parser.hpp"
#include "config/roles.hpp"

namespace duplex::drbdadm {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::string_view two_volumes =
    "resource r0 { net { timeout 70; } disk { resync-rate 10M; }"
    "  volume 0 { device minor 0; disk /dev/sdb1; meta-disk internal; }"
    "  volume 1 { device minor 1; disk /dev/sdb2; meta-disk /dev/md [0]; }"
    "  on alpha { address 10.0.0.1:7788; } on bravo { address 10.0.0.2:7788; } }";

constexpr std::string_view connection =
    "_remote_host { address ipv4 10.0.0.2:7788; } _this_host { address ipv4 10.0.0.1:7788; ";

constexpr std::string_view volume_0 =
    "volume 0 { device minor 0; disk \"/dev/sdb1\"; meta-disk internal; disk { resync-rate 10240k; } } ";
constexpr std::string_view volume_1 =
    "volume 1 { device minor 1; disk \"/dev/sdb2\"; meta-disk \"/dev/md\" [ 0 ]; disk { resync-rate 10240k; "
    "} } ";

// The steps as STAGE:ACTION[ MINOR], sorted by stage as they would be done.
std::vector<std::string> steps_for(const std::string& running_text) {
    config::MemoryLoader loader;
    const config::SourceFile source = config::MemoryLoader::source(two_volumes, "drbd.conf");
    config::ParseResult parsed = config::parse(source, "drbd.conf", loader);
    config::assign_roles(parsed.config, {"alpha", {}}, config::MatchBy::host_section, parsed.report);
    config::merge(parsed.config, config::ResyncAfter::by_minor, config::DanglingReferences::drop,
                  parsed.report);
    config::Resource& r0 = *parsed.config.resources.at(0);
    config::choose_peer(r0, {}, parsed.report);

    config::ParseResult running = config::parse_running(running_text, "drbdsetup show r0");
    EXPECT_TRUE(running.report.valid()) << testing::PrintToString(running.report.messages);
    config::Resource* there = running.config.resources.empty() ? nullptr : running.config.resources[0].get();
    if (there != nullptr) config::assign_running_roles(*there);

    AdjustPlan plan = plan_adjust(r0, there, &r0.peer->address);
    std::ranges::stable_sort(plan.steps, {}, &Step::stage);
    std::vector<std::string> text;
    for (const Step& step : plan.steps) {
        std::string line(action_name(step.action));
        if (step.action == Action::detach || step.action == Action::del_minor)
            line += " " + std::to_string(step.minor);
        if (step.volume != nullptr) line += " " + std::to_string(*step.volume->minor);
        text.push_back(line);
    }
    return text;
}

std::string running(std::string_view volumes, std::string_view net = "net { timeout 70; }",
                    std::string_view hosts = connection) {
    return "resource r0 { options { } " + std::string(net) + std::string(hosts) + std::string(volumes) +
           "} }";
}

TEST(Adjust, NothingRunning) {
    EXPECT_THAT(steps_for("# nothing"),
                ElementsAre("new-resource", "new-minor 0", "new-minor 1", "apply-al 0", "attach 0",
                            "apply-al 1", "attach 1", "connect"));
}

TEST(Adjust, NothingToDo) {
    EXPECT_THAT(steps_for(running(std::string(volume_0) + std::string(volume_1))), IsEmpty());
}

TEST(Adjust, EverySuperfluousVolumeGoes) {
    const std::string more =
        std::string(volume_0) + std::string(volume_1) +
        "volume 2 { device minor 7; } volume 3 { device minor 8; disk \"/dev/x\"; meta-disk internal; } ";
    EXPECT_THAT(steps_for(running(more)), ElementsAre("del-minor 7", "detach 8", "del-minor 8"));
}

TEST(Adjust, AnotherMinorAnotherDiskNoDisk) {
    const std::string other_minor = "volume 0 { device minor 5; disk \"/dev/sdb1\"; meta-disk internal; } ";
    EXPECT_THAT(steps_for(running(other_minor + std::string(volume_1))),
                ElementsAre("detach 5", "del-minor 5", "new-minor 0", "apply-al 0", "attach 0"));
    const std::string other_disk = "volume 0 { device minor 0; disk \"/dev/sdz\"; meta-disk internal; } ";
    EXPECT_THAT(steps_for(running(other_disk + std::string(volume_1))),
                ElementsAre("detach 0", "apply-al 0", "attach 0"));
    const std::string no_disk = "volume 0 { device minor 0; } ";
    EXPECT_THAT(steps_for(running(no_disk + std::string(volume_1))), ElementsAre("apply-al 0", "attach 0"));
}

TEST(Adjust, SizeIsResizedOtherOptionsAreSet) {
    const std::string changed =
        "volume 0 { device minor 0; disk \"/dev/sdb1\"; meta-disk internal; disk { size 100s; al-extents "
        "300; } } ";
    EXPECT_THAT(steps_for(running(changed + std::string(volume_1))),
                ElementsAre("resize 0", "disk-options 0"));
}

TEST(Adjust, TheConnection) {
    const std::string volumes = std::string(volume_0) + std::string(volume_1);
    EXPECT_THAT(steps_for(running(volumes, "net { timeout 60; }")), ElementsAre("net-options"));
    EXPECT_THAT(steps_for(running(volumes, "", "_this_host { ")), ElementsAre("connect"));
    const std::string other_peer =
        "_remote_host { address ipv4 10.0.0.9:7788; } _this_host { address ipv4 10.0.0.1:7788; ";
    EXPECT_THAT(steps_for(running(volumes, "net { timeout 60; }", other_peer)),
                ElementsAre("disconnect", "connect"));
}

}  // namespace
}  // namespace duplex::drbdadm
