#include "control/oneline_text.hpp"

#include <gtest/gtest.h>

#include "control/test_status.hpp"
#include "meta/superblock.hpp"

namespace duplex::control {
namespace {

TEST(OnelineText, StatesOrUnconfigured) {
    engine::VolumeStatus volume = test_volume(0, 0);
    EXPECT_EQ(role_text(volume), "Primary/Secondary\n");
    EXPECT_EQ(cstate_text(volume), "Connected\n");
    EXPECT_EQ(dstate_text(volume), "UpToDate/UpToDate\n");
    volume = {};
    EXPECT_EQ(role_text(volume), "Unconfigured\n");
    EXPECT_EQ(cstate_text(volume), "Unconfigured\n");
    EXPECT_EQ(dstate_text(volume), "Unconfigured\n");
}

TEST(OnelineText, Generations) {
    engine::DiskStatus disk;
    disk.current_uuid = 0x8A2F01C7D4E5B960;
    disk.bitmap_uuid = 0x1111111111111110;
    disk.history_uuids[0] = 0x2222222222222222;
    disk.history_uuids[1] = 0x3333333333333332;
    disk.flags = meta::flag::consistent | meta::flag::was_up_to_date | meta::flag::connected_ind |
                 meta::flag::peer_out_dated;
    EXPECT_EQ(generation_text(disk),
              "8A2F01C7D4E5B960:1111111111111110:2222222222222222:3333333333333332:1:1:0:1:0:1:0\n");
    EXPECT_EQ(explained_generation_text(disk), R"(
       +--<  Current data generation UUID  >-
       |               +--<  Bitmap's base data generation UUID  >-
       |               |                 +--<  younger history UUID  >-
       |               |                 |         +-<  older history  >-
       V               V                 V         V
8A2F01C7D4E5B960:1111111111111110:2222222222222222:3333333333333332:1:1:0:1:0:1:0
                                                                    ^ ^ ^ ^ ^ ^ ^
                                      -<  Data consistency flag  >--+ | | | | | |
                             -<  Data was/is currently up-to-date  >--+ | | | | |
                                  -<  Node was/is currently primary  >--+ | | | |
                                  -<  Node was/is currently connected  >--+ | | |
         -<  Node was in the progress of setting all bits in the bitmap  >--+ | |
                        -<  The peer's disk was out-dated or inconsistent  >--+ |
      -<  This node was a crashed primary, and has not seen its peer since   >--+

flags: Secondary, Connected, UpToDate, peer Outdated
)");
}

TEST(OnelineText, ShStatusWhileSyncing) {
    engine::ResourceStatus resource = test_resource();
    engine::VolumeStatus& volume = resource.volumes[0];
    volume.state.conn = wire::ConnState::sync_source;
    volume.state.pdsk = wire::DiskState::inconsistent;
    volume.state.user_isp = true;
    volume.sync.emplace();
    volume.sync->total_bits = 524087;
    volume.sync->left_bits = 261000;
    EXPECT_EQ(sh_status_text(resource, volume),
              "_minor=0\n_res_name=r0\n_volume=0\n_known=Configured\n\n"
              "_cstate=SyncSource\n_role=Primary\n_peer=Secondary\n_disk=UpToDate\n_pdsk=Inconsistent\n\n"
              "_flags_susp=\n_flags_aftr_isp=\n_flags_peer_isp=\n_flags_user_isp=1\n\n"
              "_resynced_percent=50.4\n\n_sh_status_process\n\n\n");
}

TEST(OnelineText, ShStatusUnconfigured) {
    engine::ResourceStatus resource = test_resource();
    resource.name = "r1";
    resource.volumes = {engine::VolumeStatus{}};
    resource.volumes[0].minor = 1;
    EXPECT_EQ(sh_status_text(resource, resource.volumes[0]),
              "_minor=1\n_res_name=r1\n_volume=0\n_known=Unconfigured\n\n"
              "_cstate=Unconfigured\n_role=\n_peer=\n_disk=\n_pdsk=\n_flags_susp=\n_flags_aftr_isp=\n"
              "_flags_peer_isp=\n_flags_user_isp=\n_resynced_percent=\n\n_sh_status_process\n\n\n");
}

}  // namespace
}  // namespace duplex::control
