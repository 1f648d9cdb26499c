#include <gtest/gtest.h>

#include "sim/two_nodes.hpp"

namespace duplex::sim {
namespace {

using engine::ResizeCommand;

constexpr uint64_t mib = 2048;  // sectors

class ResizeTest : public testing::Test {
  protected:
    static TwoNodes::Command resize(ResizeCommand wanted = {}) {
        return [wanted](engine::Resource& r, engine::Done done) { r.resize(0, wanted, std::move(done)); };
    }
    static bool synced(TwoNodes& nodes) {
        return nodes.run_until([&] { return nodes.in_sync(); });
    }
    static uint64_t size(TwoNodes& nodes, unsigned side) { return nodes.status(side).size_sectors; }
    // The devices beneath have more room, with old data in it.
    static void enlarge(TwoNodes& nodes, unsigned side, uint64_t sectors) {
        Disk& disk = nodes.node(side).data_disk();
        const uint64_t old_size = disk.limits().size_sectors;
        disk.enlarge(old_size + sectors);
        for (uint64_t sector = old_size; sector < old_size + sectors; sector += 997)
            nodes.damage(side, sector + side);
    }
    // Off and on again, with what is on stable storage.
    static void restart(TwoNodes& nodes, unsigned side) {
        nodes.node(side).stop(true);
        nodes.node(side).start();
        ASSERT_TRUE(nodes.attach(side).ok());
        ASSERT_TRUE(nodes.connect(side).ok());
        ASSERT_TRUE(synced(nodes));
    }
};

TEST_F(ResizeTest, BothDisksHaveGrown) {
    for (const bool external : {false, true}) {
        TwoNodes nodes(8, [external](Scenario& s) { s.external_meta = {external, external}; });
        nodes.mirrored();
        nodes.write(0, 0, 256, 1);
        for (const unsigned side : {0u, 1u}) enlarge(nodes, side, 12 * mib);
        EXPECT_EQ(nodes.command(0, resize()).code, 1);
        ASSERT_TRUE(nodes.run_until([&] { return size(nodes, 1) > 19 * mib; }));
        ASSERT_TRUE(synced(nodes));
        EXPECT_EQ(size(nodes, 0), size(nodes, 1));
        EXPECT_EQ(size(nodes, 0) / mib, external ? 20u : 20u);
        EXPECT_EQ(nodes.difference(), "");
        EXPECT_EQ(nodes.journal.count("Began resync as SyncSource (will sync 12"), 1u) << "the new area only";
        EXPECT_EQ(nodes.write(0, size(nodes, 0) - 8, 8, 7), 0);
        nodes.scenario.data_sectors = size(nodes, 0);
        restart(nodes, 1);
        EXPECT_EQ(nodes.difference(), "");
        restart(nodes, 0);
        EXPECT_EQ(size(nodes, 0), nodes.scenario.data_sectors);
    }
}

TEST_F(ResizeTest, TheSmallerDiskDecides) {
    TwoNodes nodes(8);
    nodes.mirrored();
    enlarge(nodes, 0, 12 * mib);
    EXPECT_EQ(nodes.command(0, resize()).code, 1);
    nodes.run_for(1000);
    const uint64_t first = size(nodes, 0);
    EXPECT_EQ(first, size(nodes, 1));
    EXPECT_LT(first, 9 * mib);
    enlarge(nodes, 1, 5 * mib);
    EXPECT_EQ(nodes.command(1, resize()).code, 1) << "the peer is Primary";
    ASSERT_TRUE(nodes.run_until([&] { return size(nodes, 0) > 12 * mib; }));
    ASSERT_TRUE(synced(nodes));
    EXPECT_EQ(size(nodes, 0), size(nodes, 1));
    EXPECT_EQ(nodes.difference(), "");
    EXPECT_EQ(nodes.command(0, resize({10 * mib, false, false, {}, {}})).code, 1)
        << "to a size that is asked for";
    ASSERT_TRUE(nodes.run_until([&] { return size(nodes, 1) == 10 * mib; }));
    ASSERT_TRUE(synced(nodes));
    EXPECT_EQ(size(nodes, 0), 10 * mib);
    nodes.write(0, 10 * mib - 8, 8, 1);
    EXPECT_EQ(nodes.difference(), "");
}

TEST_F(ResizeTest, ACleanNewAreaIsNotResynced) {
    TwoNodes nodes(8);
    nodes.mirrored();
    for (const unsigned side : {0u, 1u}) nodes.node(side).data_disk().enlarge(20 * mib);
    EXPECT_EQ(nodes.command(0, resize({0, false, true, {}, {}})).code, 1);
    ASSERT_TRUE(nodes.run_until([&] { return size(nodes, 0) > 18 * mib && size(nodes, 1) > 18 * mib; }));
    nodes.run_for(2000);
    EXPECT_TRUE(nodes.in_sync());
    EXPECT_EQ(nodes.journal.count("Began resync"), 0u);
}

TEST_F(ResizeTest, AloneThePeersRoomCanBeAssumed) {
    TwoNodes nodes(8);
    nodes.mirrored();
    EXPECT_EQ(nodes.command(0, resize()).code, 1) << "no limit any more, for both";
    nodes.run_for(1000);
    ASSERT_TRUE(nodes.disconnect(0).ok());
    enlarge(nodes, 0, 12 * mib);
    EXPECT_EQ(nodes.command(0, resize()).code, 1);
    EXPECT_LT(size(nodes, 0), 9 * mib);
    EXPECT_EQ(nodes.command(0, resize({0, true, false, {}, {}})).code, 1);
    EXPECT_GT(size(nodes, 0), 19 * mib);
    enlarge(nodes, 1, 12 * mib);
    ASSERT_TRUE(nodes.connect(0).ok());
    ASSERT_TRUE(synced(nodes));
    EXPECT_EQ(size(nodes, 0), size(nodes, 1));
    EXPECT_EQ(nodes.difference(), "");
}

TEST_F(ResizeTest, UnderLoad) {
    TwoNodes nodes(8);
    nodes.mirrored();
    for (const unsigned side : {0u, 1u}) enlarge(nodes, side, 12 * mib);
    nodes.start_command(0, resize());
    uint64_t sector = 0;
    for (int turns = 0; turns < 400; ++turns) {
        for (uint8_t i = 0; i < 4; ++i, sector = (sector + 977) % (size(nodes, 0) - 64))
            nodes.start_write(0, sector, 13, i);
        nodes.run_for(5);
    }
    ASSERT_TRUE(synced(nodes));
    EXPECT_GT(size(nodes, 1), 19 * mib);
    EXPECT_EQ(nodes.errors(), 0u);
    ASSERT_TRUE(nodes.secondary(0).ok());
    EXPECT_EQ(nodes.difference(), "");
}

// Whenever the power fails, the disk is found again, at its old end or its new one, and nothing is missing.
TEST_F(ResizeTest, PowerFailureWhileTheMetaDataMove) {
    for (uint64_t us = 0; us < 30'000; us += 600) {
        TwoNodes nodes(8);
        nodes.scenario.data_sectors = 0;  // no limit but the disks
        nodes.mirrored();
        nodes.write(0, 0, 256, 1);
        const uint64_t old_end = nodes.node(0).data_disk().limits().size_sectors;
        for (const unsigned side : {0u, 1u}) enlarge(nodes, side, mib / 8);
        nodes.start_command(0, resize());
        const uint64_t end_us = nodes.scheduler.now_us() + us;
        while (nodes.scheduler.now_us() < end_us && nodes.scheduler.step()) {
        }
        nodes.node(0).stop(true);
        nodes.node(0).start();
        // As if drbdmeta had moved them: found at the old end, and the device is large again afterwards.
        Disk& disk = nodes.node(0).data_disk();
        const uint64_t new_end = old_end + mib / 8;
        if (!nodes.node(0).meta_data().superblock().ok()) {
            disk.enlarge(old_end);
            ASSERT_TRUE(disk.refresh_size().ok());
        }
        ASSERT_TRUE(nodes.attach(0).ok()) << us;
        disk.enlarge(new_end);
        ASSERT_TRUE(nodes.connect(0).ok());
        if (!synced(nodes)) {
            nodes.journal.print(stderr);
            FAIL() << us << ": " << engine::describe(nodes.state(0));
        }
        EXPECT_EQ(nodes.difference(), "") << us;
    }
}

TEST_F(ResizeTest, IsRefusedWhereItCannotBe) {
    TwoNodes nodes(8, [](Scenario& s) { s.disk.resync_rate_kib = 1000; });
    EXPECT_EQ(nodes.command(0, resize()).code, 138);
    nodes.mirrored();
    ASSERT_TRUE(nodes.secondary(0).ok());
    EXPECT_EQ(nodes.command(0, resize()).code, 131);
    ASSERT_TRUE(nodes.primary(0).ok());
    ASSERT_TRUE(
        nodes.command(1, [](engine::Resource& r, engine::Done done) { r.invalidate(0, std::move(done)); })
            .ok());
    nodes.run_for(500);
    EXPECT_EQ(nodes.command(0, resize()).code, 130);
}

// Meta data 14.2: the log gets another shape, and bitmap and data move with it.
TEST(AlStripesTest, TheLogOfAnAttachedDiskIsMadeAnew) {
    for (const bool external : {false, true}) {
        TwoNodes nodes(32, [external](Scenario& s) {
            s.external_meta = {external, external};
            s.disk.al_extents = 237;
        });
        nodes.mirrored();
        const auto resize = [&](unsigned side, uint32_t stripes, uint32_t kib, uint64_t size, bool forced) {
            return nodes
                .command(side,
                         [=](engine::Resource& r, engine::Done done) {
                             engine::ResizeCommand command;
                             command.size_sectors = size;
                             command.al_stripes = stripes;
                             command.al_stripe_size_kib = kib;
                             command.assume_peer_has_space = forced;
                             r.resize(0, command, std::move(done));
                         })
                .code;
        };
        const uint64_t size = nodes.status(0).size_sectors;
        for (uint8_t i = 0; i < 7; ++i) nodes.start_write(0, i * 8192u, 8, i);
        EXPECT_EQ(resize(0, 1, 16, size, false), 168);
        EXPECT_EQ(resize(0, 1024, 16 << 20, size, false), 167);
        EXPECT_EQ(resize(0, 1024, 1 << 10, size, false), 169) << "more than the disk";
        ASSERT_EQ(resize(0, 4, 16, size, false), 1);
        EXPECT_EQ(nodes.status(0).size_sectors, size);
        EXPECT_EQ(nodes.node(0).meta_data().superblock()->al, (meta::AlStriping{4, 4}));
        nodes.node(0).meta_data().striping = {4, 4};
        for (uint8_t i = 0; i < 7; ++i) nodes.start_write(0, i * 8192u + 64, 8, i);
        nodes.run_for(3);
        nodes.node(0).stop(true);
        ASSERT_TRUE(nodes.run_until([&] { return nodes.state(1).conn < engine::ConnState::connected; }));
        nodes.node(0).start();
        ASSERT_TRUE(nodes.attach(0).ok());
        ASSERT_EQ(resize(0, 2, 16, size, false), 166);
        ASSERT_TRUE(nodes.connect(0).ok());
        ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
        EXPECT_EQ(nodes.difference(), "");
    }
}

TEST(AlStripesTest, AnotherNumberOfExtentsTakesEffectAtOnce) {
    TwoNodes nodes(1024);
    nodes.mirrored();
    size_t started = 0;
    const auto touch = [&] {
        const uint64_t before = nodes.status(0).counters.al_writes;
        for (uint64_t round = 0; round < 3; ++round)
            for (uint64_t extent = 0; extent < 100; ++extent, ++started)
                EXPECT_EQ(nodes.write(0, extent * 8192 + round * 8, 8, static_cast<uint8_t>(extent)), 0);
        return nodes.status(0).counters.al_writes - before;
    };
    EXPECT_GE(touch(), 300u) << "67 extents: every write brings one in";
    config::DiskOptions options = nodes.scenario.disk;
    options.al_extents = 237;
    ASSERT_TRUE(
        nodes
            .command(0, [options](engine::Resource& r,
                                  engine::Done done) { r.change_disk_options(0, options, std::move(done)); })
            .ok());
    EXPECT_LE(touch(), 100u);
    for (uint8_t i = 0; i < 100; ++i) nodes.start_write(0, i * 8192u, 8, i);
    nodes.run_for(2);
    nodes.node(0).stop(true);
    nodes.node(0).start();
    ASSERT_TRUE(nodes.attach(0).ok());
    ASSERT_TRUE(nodes.connect(0).ok());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
    EXPECT_EQ(nodes.difference(), "");
}

// Requests that are frozen end only with the next connection, and that does not wait for the resize.
TEST_F(ResizeTest, OfAFrozenPrimary) {
    TwoNodes nodes(8, [](Scenario& s) {
        s.disk.fencing = config::Fencing::resource_and_stonith;
        s.net.ping_int_s = s.net.connect_int_s = 1;
        s.net.timeout_ds = 20;
    });
    nodes.mirrored();
    ASSERT_TRUE(nodes.command(0, resize()).ok());  // no limit any more
    nodes.run_for(1000);
    ASSERT_TRUE(synced(nodes));
    for (const unsigned side : {0u, 1u}) {
        nodes.node(side).host().exit_codes["fence-peer"] = 1;
        enlarge(nodes, side, 4 * mib);
    }
    nodes.cable().cut();
    nodes.start_write(0, 0, 8, 1);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(0).susp_fen; }));
    nodes.start_command(0, resize());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.answered(); }));
    EXPECT_TRUE(nodes.state(0).susp_fen);
    EXPECT_EQ(nodes.ended(), 0u);
    nodes.cable().mend();
    ASSERT_TRUE(nodes.run_until([&] { return nodes.connected() && nodes.ended() == 1; }));
    EXPECT_EQ(nodes.errors(), 0u);
    EXPECT_FALSE(nodes.state(0).susp_fen);
    EXPECT_GT(size(nodes, 1), 11 * mib);
}

}  // namespace
}  // namespace duplex::sim
