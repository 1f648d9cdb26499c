#include "control/status_report.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "control/test_status.hpp"

namespace duplex::control {
namespace {

using nlohmann::json;

json report(const engine::ResourceStatus& resource) {
    return json::parse(status_report(std::span(&resource, 1))).at(0);
}

TEST(StatusReport, NothingIsAnEmptyList) {
    EXPECT_EQ(status_report({}), "[]\n");
}

TEST(StatusReport, NamesStatesAndCounters) {
    engine::ResourceStatus resource = test_resource();
    resource.volumes[0].counters.written_kib = 4711;
    const json object = report(resource);
    EXPECT_EQ(object["name"], "r0");
    EXPECT_EQ(object["role"], "Primary");
    EXPECT_EQ(object["suspended"], false);
    EXPECT_EQ(object["devices"][0]["disk-state"], "UpToDate");
    EXPECT_EQ(object["devices"][0]["written"], 4711);
    EXPECT_EQ(object["connections"][0]["connection-state"], "Connected");
    EXPECT_EQ(object["connections"][0]["peer-role"], "Secondary");
    const json& peer = object["connections"][0]["peer_devices"][0];
    EXPECT_EQ(peer["replication-state"], "Established");
    EXPECT_EQ(peer["peer-disk-state"], "UpToDate");
    EXPECT_EQ(peer["percent-in-sync"], 100.0);
    EXPECT_FALSE(peer.contains("sync-details"));
}

TEST(StatusReport, TellsOfAResync) {
    engine::ResourceStatus resource = test_resource();
    engine::VolumeStatus& volume = resource.volumes[0];
    volume.state.conn = wire::ConnState::sync_target;
    volume.size_sectors = 8 * 2000;
    volume.out_of_sync_bits = 500;
    volume.sync.emplace();
    volume.sync->total_bits = 1000;
    volume.sync->left_bits = 500;
    volume.sync->mark_left_bits = 1000;
    volume.sync->now_ms = 10'000;
    const json peer = report(resource)["connections"][0]["peer_devices"][0];
    EXPECT_EQ(peer["out-of-sync"], 2000);
    EXPECT_EQ(peer["percent-in-sync"], 75.0);
    EXPECT_EQ(peer["has-sync-details"], true);
    EXPECT_EQ(peer["sync-details"]["speed"], 200);
    EXPECT_EQ(peer["sync-details"]["finish-seconds"], 8);
}

TEST(StatusReport, LeavesOutAConnectionThatIsNotThere) {
    engine::ResourceStatus resource = test_resource();
    resource.connection.configured = false;
    EXPECT_EQ(report(resource)["connections"], json::array());
}

}  // namespace
}  // namespace duplex::control
