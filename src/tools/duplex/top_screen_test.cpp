#include "tools/duplex/top_screen.hpp"

#include <regex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/test_status.hpp"

namespace duplex::tool {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

control::NodeStatus node_with(const engine::ResourceStatus& resource) {
    control::NodeStatus node;
    node.resources = {resource};
    return node;
}

std::vector<std::string> plain(const std::vector<std::string>& lines) {
    std::vector<std::string> result;
    const std::regex color("\033\\[[0-9;]*m");
    for (const std::string& line : lines) result.push_back(std::regex_replace(line, color, ""));
    return result;
}

TEST(TopScreen, ShowsStatesAndRates) {
    engine::ResourceStatus resource = control::test_resource();
    TopScreen screen;
    screen.update(node_with(resource), 10'000);
    engine::VolumeCounters& counters = resource.volumes[0].counters;
    counters.app_reads = 200;
    counters.app_writes = 800;
    counters.app_ms = 2'500;
    counters.written_kib = 6'000;
    counters.sent_kib = 6'000;
    screen.update(node_with(resource), 12'000);
    EXPECT_THAT(plain(screen.lines("duplex top", 80, 24)),
                ElementsAre(testing::StartsWith("duplex top  1 resources"), "",
                            "r0/0  minor 0  Primary/Secondary  Connected  UpToDate/UpToDate",
                            "    100 reads/s 400 writes/s 2.50 ms  disk r0.0 w3.1  net s3.1 r0.0 MB/s"));
}

TEST(TopScreen, CountersThatBeginAnewAreNoRates) {
    engine::ResourceStatus resource = control::test_resource();
    resource.volumes[0].counters.app_writes = 1000;
    resource.volumes[0].counters.written_kib = 1000;
    TopScreen screen;
    screen.update(node_with(resource), 1000);
    resource.volumes[0].counters = {};
    screen.update(node_with(resource), 2000);
    EXPECT_THAT(plain(screen.lines("", 80, 24)), Contains(HasSubstr("0 reads/s 0 writes/s 0.00 ms")));
}

TEST(TopScreen, ShowsAResync) {
    engine::ResourceStatus resource = control::test_resource();
    engine::VolumeStatus& volume = resource.volumes[0];
    volume.state.conn = wire::ConnState::sync_source;
    volume.state.pdsk = wire::DiskState::inconsistent;
    volume.out_of_sync_bits = 261'000;
    volume.sync.emplace();
    volume.sync->total_bits = 524'087;
    volume.sync->left_bits = 261'000;
    volume.sync->now_ms = 21'000;
    volume.sync->mark_ms = 3'000;
    volume.sync->mark_left_bits = 486'000;
    TopScreen screen;
    screen.update(node_with(resource), 1000);
    const auto lines = plain(screen.lines("", 80, 24));
    EXPECT_THAT(lines,
                Contains("    resync [###############...............] 50.4%  0:00:20 left at 51.2 MB/s"));
    EXPECT_THAT(lines, Contains("    out of sync: 1019 MiB"));
    volume.sync->mark_left_bits = 261'000;
    screen.update(node_with(resource), 2000);
    EXPECT_THAT(plain(screen.lines("", 80, 24)), Contains(HasSubstr("stands still")));
}

TEST(TopScreen, StaysWithinTheTerminal) {
    engine::ResourceStatus resource = control::test_resource();
    for (unsigned number = 1; number < 20; ++number)
        resource.volumes.push_back(control::test_volume(number, number));
    control::NodeStatus node = node_with(resource);
    node.silent = {{"r9", "the process of resource r9 has died", true}};
    TopScreen screen;
    screen.update(std::move(node), 1000);
    EXPECT_EQ(screen.lines("a title that is long", 80, 10).size(), 10u);
    for (const std::string& line : plain(screen.lines("a title that is long", 17, 100)))
        EXPECT_LE(line.size(), 17u) << line;
    EXPECT_THAT(plain(screen.lines("", 80, 100)), Contains("r9  the process of resource r9 has died"));
}

TEST(TopScreen, SaysThatThereIsNothing) {
    EXPECT_THAT(plain(TopScreen().lines("", 80, 24)), Contains("no resources"));
}

}  // namespace
}  // namespace duplex::tool
