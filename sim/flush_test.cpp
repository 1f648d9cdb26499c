// What an application's flush promises, with the disks' volatile caches in the way.
#include <cerrno>

#include <gtest/gtest.h>

#include "sim/two_nodes.hpp"

namespace duplex::sim {
namespace {

using engine::ConnState;
using engine::DiskState;

class FlushTest : public testing::Test {
  protected:
    static void slow_to_notice(Scenario& s) {
        s.net.ping_int_s = 5;
        s.net.timeout_ds = 40;
        s.net.connect_int_s = 1;
        s.net.allow_two_primaries = true;
    }
    static bool stable(TwoNodes& nodes, unsigned side, uint64_t sector, uint32_t sectors) {
        const Disk& disk = nodes.node(side).data_disk();
        return disk.is_durable(Sector(sector), sectors, disk.writes_completed());
    }
    static void detach(TwoNodes& nodes, unsigned side) {
        ASSERT_TRUE(nodes
                        .command(side, [](engine::Resource& r,
                                          engine::Done done) { r.detach(0, false, std::move(done)); })
                        .ok());
        ASSERT_TRUE(nodes.run_until([&] { return nodes.state(1 - side).pdsk == DiskState::diskless; }));
    }
};

TEST_F(FlushTest, OfADisklessPrimaryIsThePeersDisks) {
    TwoNodes nodes(8, slow_to_notice);
    nodes.mirrored();
    detach(nodes, 0);
    for (uint64_t sector = 0; sector < 80; sector += 8) {
        ASSERT_EQ(nodes.write(0, sector, 8, 7), 0);
        ASSERT_EQ(nodes.flush(0), 0);
        EXPECT_TRUE(stable(nodes, 1, sector, 8)) << "sector " << sector;
    }
}

// The kernel waits for its own disk only. After a power failure of both, the other may be the one that
// counts.
TEST_F(FlushTest, WithTwoPrimariesWaitsForThePeer) {
    TwoNodes nodes(8, slow_to_notice);
    nodes.mirrored();
    ASSERT_TRUE(nodes.primary(1).ok());
    ASSERT_EQ(nodes.write(0, 0, 8, 7), 0);
    nodes.cable().cut();
    const size_t before = nodes.ended();
    nodes.start_flush(0);
    nodes.run_for(1000);
    EXPECT_EQ(nodes.ended(), before);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.ended() > before; }));
    EXPECT_LT(nodes.state(0).conn, ConnState::connected);
    EXPECT_EQ(nodes.errors(), 0u) << "the own disk is good, and its generation is its own by now";
}

// Writes that the peer's took the place of are never acknowledged as an epoch: nothing else may follow that
// would let the flush end.
TEST_F(FlushTest, EndsAfterWritesThatWereSuperseded) {
    for (uint64_t delay_us = 0; delay_us < 3000; delay_us += 50) {
        TwoNodes nodes(8, slow_to_notice);
        nodes.mirrored();
        ASSERT_TRUE(nodes.primary(1).ok());
        for (const unsigned first : {0u, 1u}) {
            const size_t before = nodes.ended();
            nodes.start_write(first, 0, 8, 1);
            const uint64_t later_us = nodes.scheduler.now_us() + delay_us;
            while (nodes.scheduler.now_us() < later_us && nodes.scheduler.step()) {
            }
            nodes.start_write(1 - first, 0, 8, 2);
            nodes.run_for(1);
            for (const unsigned side : {0u, 1u}) nodes.start_flush(side);
            EXPECT_TRUE(nodes.run_until([&] { return nodes.ended() == before + 4; }, 1000)) << delay_us;
        }
        EXPECT_EQ(nodes.errors(), 0u);
        EXPECT_EQ(nodes.difference(), "");
    }
}

TEST_F(FlushTest, OfTheOnlyPrimaryIsItsOwnDisks) {
    TwoNodes nodes(8, slow_to_notice);
    nodes.mirrored();
    ASSERT_EQ(nodes.write(0, 0, 8, 7), 0);
    nodes.cable().cut();
    const size_t before = nodes.ended();
    nodes.start_flush(0);
    nodes.run_for(1000);
    EXPECT_EQ(nodes.ended(), before + 1);
    EXPECT_TRUE(stable(nodes, 0, 0, 8));
}

// As a drive's write cache that was lost: the writes were reported, so the next flush has to say it.
TEST_F(FlushTest, ReportsWhatTheOnlyGoodDiskMayHaveLostWithItsPower) {
    TwoNodes nodes(8, slow_to_notice);
    nodes.mirrored();
    detach(nodes, 0);
    ASSERT_EQ(nodes.write(0, 0, 8, 7), 0);
    nodes.node(1).stop(true);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(0).conn < ConnState::connected; }));
    nodes.node(1).start();
    ASSERT_TRUE(nodes.node(1).meta_data().apply_al().ok());
    ASSERT_TRUE(nodes.attach(1).ok());
    ASSERT_TRUE(nodes.connect(1).ok());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(0).pdsk == DiskState::up_to_date; }));
    EXPECT_EQ(nodes.flush(0), EIO);
    EXPECT_EQ(nodes.flush(0), 0) << "once";
}

}  // namespace
}  // namespace duplex::sim
