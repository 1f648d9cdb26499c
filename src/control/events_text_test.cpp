#include "control/events_text.hpp"

#include <cstdlib>
#include <ctime>

#include <gtest/gtest.h>

#include "control/test_status.hpp"

namespace duplex::control {
namespace {

TEST(Events2, OnlyWhatDiffersIsPrinted) {
    Events2Printer printer({});
    engine::ResourceStatus status = test_resource();
    EXPECT_EQ(printer.print(StatusEvent{0, status}, true),
              "exists resource name:r0 role:Primary suspended:no\n"
              "exists connection name:r0 peer-node-id:0 conn-name:peer connection:Connected role:Secondary\n"
              "exists device name:r0 volume:0 minor:0 disk:UpToDate\n"
              "exists peer-device name:r0 peer-node-id:0 conn-name:peer volume:0 replication:Established "
              "peer-disk:UpToDate resync-suspended:no\n");
    EXPECT_EQ(printer.print(StatusEvent{0, status}, false), "");

    status.connection.state = wire::ConnState::network_failure;
    wire::State& state = status.volumes[0].state;
    state.conn = wire::ConnState::network_failure;
    state.peer = wire::Role::unknown;
    state.pdsk = wire::DiskState::d_unknown;
    EXPECT_EQ(
        printer.print(StatusEvent{0, status}, false),
        "change connection name:r0 peer-node-id:0 conn-name:peer connection:NetworkFailure role:Unknown\n"
        "change peer-device name:r0 peer-node-id:0 conn-name:peer volume:0 replication:Off "
        "peer-disk:DUnknown\n");
    state.role = wire::Role::secondary;
    EXPECT_EQ(printer.print(StatusEvent{0, status}, false), "change resource name:r0 role:Secondary\n");
}

TEST(Events2, VolumesComeAndGo) {
    Events2Printer printer({});
    engine::ResourceStatus status = test_resource();
    (void)printer.print(StatusEvent{0, status}, true);
    status.volumes.push_back(test_volume(1, 5));
    EXPECT_EQ(printer.print(StatusEvent{0, status}, false),
              "create device name:r0 volume:1 minor:5 disk:UpToDate\n"
              "create peer-device name:r0 peer-node-id:0 conn-name:peer volume:1 replication:Established "
              "peer-disk:UpToDate resync-suspended:no\n");
    status.volumes.erase(status.volumes.begin());
    EXPECT_EQ(printer.print(StatusEvent{0, status}, false),
              "destroy peer-device name:r0 peer-node-id:0 conn-name:peer volume:0\n"
              "destroy device name:r0 volume:0 minor:0\n");
    EXPECT_EQ(printer.destroy("r0", 0),
              "destroy peer-device name:r0 peer-node-id:0 conn-name:peer volume:1\n"
              "destroy device name:r0 volume:1 minor:5\n"
              "destroy connection name:r0 peer-node-id:0 conn-name:peer\n"
              "destroy resource name:r0\n");
    EXPECT_EQ(printer.destroy("r0", 0), "");
}

TEST(Events2, StatisticsComeWithEventsAndMakeNone) {
    Events2Printer printer({.timestamps = false, .statistics = true});
    engine::ResourceStatus status = test_resource();
    (void)printer.print(StatusEvent{0, status}, true);
    status.volumes[0].counters.written_kib = 100;
    status.volumes[0].al_suspended = true;
    EXPECT_EQ(printer.print(StatusEvent{0, status}, false), "");
    status.volumes[0].state.disk = wire::DiskState::failed;
    EXPECT_EQ(
        printer.print(StatusEvent{0, status}, false),
        "change device name:r0 volume:0 minor:0 disk:Failed size:1048576 read:0 written:100 al-writes:0 "
        "bm-writes:0 upper-pending:0 lower-pending:0 al-suspended:yes\n");
}

TEST(Events2, HelpersWithTheRawWaitStatus) {
    Events2Printer printer({});
    engine::ResourceStatus status = test_resource();
    EXPECT_EQ(
        printer.print(HelperEvent{0, "before-resync-target", 0, std::nullopt}, status),
        "call helper name:r0 peer-node-id:0 conn-name:peer volume:0 minor:0 helper:before-resync-target\n");
    status.connection.configured = false;
    EXPECT_EQ(printer.print(HelperEvent{0, "fence-peer", -1, 1024}, status),
              "response helper name:r0 peer-node-id:0 helper:fence-peer status:1024\n");
}

TEST(Events2, Timestamps) {
    setenv("TZ", "XYZ-2:30", 1);
    tzset();
    Events2Printer printer({.timestamps = true, .statistics = false});
    EXPECT_EQ(printer.end_of_initial_dump(1715000888123456), "2024-05-06T15:38:08.123456+02:30 exists -\n");
    unsetenv("TZ");
    tzset();
}

TEST(Events, TheOldFormat) {
    EventsPrinter printer(-1);
    engine::ResourceStatus status = test_resource();
    EXPECT_EQ(printer.print(status),
              "0 ST 0,r0[0] { cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate r--- }\n");
    EXPECT_EQ(printer.print(status), "");
    status.volumes[0].state.conn = wire::ConnState::paused_sync_s;
    status.volumes[0].state.user_isp = true;
    EXPECT_EQ(printer.print(status),
              "1 ST-prev 0,r0[0] { cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate r--- }\n"
              "1 ST-new 0,r0[0] { cs:PausedSyncS ro:Primary/Secondary ds:UpToDate/UpToDate r--u }\n"
              "1 ST 0,r0[0] { cs:PausedSyncS ro:Primary/Secondary ds:UpToDate/UpToDate r--u }\n");
    EXPECT_EQ(printer.print(HelperEvent{0, "before-resync-target", 0, 256}, status),
              "2 UH-post 0,r0[0] before-resync-target 0x0100\n");
    EventsPrinter other(4);
    EXPECT_EQ(other.print(status), "");
}

}  // namespace
}  // namespace duplex::control
