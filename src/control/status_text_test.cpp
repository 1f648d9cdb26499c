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

// cli 23: what is bad is red, what is passing is bold, good data and a Primary have a colour of their own;
// the peer's are less bright.
TEST(StatusText, EveryStateHasItsColor) {
    engine::ResourceStatus resource = test_resource();
    engine::VolumeStatus& volume = resource.volumes[0];
    const auto shown = [&resource](std::string_view text) {
        return status_text(resource, {.color = true, .width = 200}).find(text) != std::string::npos;
    };
    for (const auto& [disk, text] : {std::pair{wire::DiskState::diskless, "disk:\033[1;31mDiskless\033[0m"},
                                     {wire::DiskState::failed, "disk:\033[1;31mFailed\033[0m"},
                                     {wire::DiskState::inconsistent, "disk:\033[1;31mInconsistent\033[0m"},
                                     {wire::DiskState::outdated, "disk:\033[1;31mOutdated\033[0m"},
                                     {wire::DiskState::attaching, "disk:\033[1mAttaching\033[0m"},
                                     {wire::DiskState::consistent, "disk:\033[1mConsistent\033[0m"}}) {
        volume.state.disk = disk;
        EXPECT_TRUE(shown(text)) << status_text(resource, {.color = true});
    }
    volume.state.pdsk = wire::DiskState::inconsistent;
    EXPECT_TRUE(shown("peer-disk:\033[31mInconsistent\033[0m"));
    volume.state.pdsk = wire::DiskState::consistent;
    EXPECT_TRUE(shown("peer-disk:Consistent"));
    volume.state.role = wire::Role::secondary;
    volume.state.peer = wire::Role::primary;
    EXPECT_TRUE(shown("r0 role:Secondary\n"));
    EXPECT_TRUE(shown("peer role:\033[36mPrimary\033[0m"));
    resource.connection.state = volume.state.conn = wire::ConnState::stand_alone;
    EXPECT_TRUE(shown("connection:\033[31mStandAlone\033[0m"));
}

}  // namespace
}  // namespace duplex::control
