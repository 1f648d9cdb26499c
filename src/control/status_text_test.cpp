#include "control/status_text.hpp"

#include <gtest/gtest.h>

#include "control/test_status.hpp"

namespace duplex::control {
namespace {

TEST(StatusText, SingleVolumeWithoutItsNumber) {
    engine::ResourceStatus resource = test_resource();
    resource.volumes[0].state.conn = wire::ConnState::sync_source;
    resource.volumes[0].state.pdsk = wire::DiskState::inconsistent;
    resource.volumes[0].out_of_sync_bits = 125000;  // 500000 of 1048576 KiB
    EXPECT_EQ(status_text(resource, {}),
              "r0 role:Primary\n"
              "  disk:UpToDate\n"
              "  peer role:Secondary\n"
              "    replication:SyncSource peer-disk:Inconsistent done:52.32\n"
              "\n");
}

TEST(StatusText, SeveralVolumes) {
    engine::ResourceStatus resource = test_resource();
    resource.volumes.push_back(test_volume(1, 1));
    EXPECT_EQ(status_text(resource, {}),
              "r0 role:Primary\n"
              "  volume:0 disk:UpToDate\n"
              "  volume:1 disk:UpToDate\n"
              "  peer role:Secondary\n"
              "    volume:0 replication:Established peer-disk:UpToDate\n"
              "    volume:1 replication:Established peer-disk:UpToDate\n"
              "\n");
}

TEST(StatusText, WaitingForThePeerAndSuspended) {
    engine::ResourceStatus resource = test_resource();
    resource.connection.state = wire::ConnState::wf_connection;
    wire::State& state = resource.volumes[0].state;
    state.conn = wire::ConnState::wf_connection;
    state.peer = wire::Role::unknown;
    state.pdsk = wire::DiskState::d_unknown;
    state.susp = true;
    state.susp_fen = true;
    EXPECT_EQ(status_text(resource, {}),
              "r0 role:Primary suspended:user,fencing\n"
              "  disk:UpToDate blocked:upper\n"
              "  peer connection:Connecting\n"
              "\n");
}

TEST(StatusText, NoConnectionNoVolumes) {
    engine::ResourceStatus resource = test_resource();
    resource.connection = {};
    resource.volumes.clear();
    EXPECT_EQ(status_text(resource, {}), "r0 role:Secondary\n\n");
}

TEST(StatusText, Diskless) {
    engine::ResourceStatus resource = test_resource();
    resource.connection = {};
    resource.volumes = {engine::VolumeStatus{}};
    EXPECT_EQ(status_text(resource, {.verbose = true}),
              "r0 role:Secondary suspended:no\n"
              "  volume:0 minor:0 disk:Diskless blocked:no\n"
              "\n");
}

TEST(StatusText, ColorsAreNotCountedAsColumns) {
    engine::ResourceStatus resource = test_resource();
    EXPECT_EQ(status_text(resource, {.color = true, .width = 26}),
              "r0 role:\033[1;36mPrimary\033[0m\n"
              "  disk:\033[1;32mUpToDate\033[0m\n"
              "  peer role:Secondary\n"
              "    replication:Established\n"
              "        peer-disk:\033[32mUpToDate\033[0m\n"
              "\n");
}

}  // namespace
}  // namespace duplex::control
