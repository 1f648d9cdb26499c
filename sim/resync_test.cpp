#include <gtest/gtest.h>

#include "base/ensure.hpp"
#include "sim/two_nodes.hpp"

namespace duplex::sim {
namespace {

using engine::ConnState;
using engine::DiskState;

TwoNodes::Command invalidate() {
    return [](engine::Resource& r, engine::Done done) { r.invalidate(0, std::move(done)); };
}

bool synced(TwoNodes& nodes) {
    return nodes.run_until([&] { return nodes.in_sync(); });
}

TEST(Resync, WithChecksumsOnlyWhatDiffersIsSent) {
    for (const unsigned target : {0u, 1u}) {
        TwoNodes nodes(8, [](Scenario& s) { s.net.csums_alg = "sha256"; });
        nodes.mirrored();
        nodes.write(0, 100, 64, 3);
        ASSERT_TRUE(nodes.secondary(0).ok());
        nodes.damage(target, 2000);
        nodes.damage(target, 16383);
        const uint64_t received = nodes.status(target).counters.received_kib;
        ASSERT_TRUE(nodes.command(target, invalidate()).ok());
        ASSERT_TRUE(synced(nodes));
        EXPECT_EQ(nodes.difference(), "");
        // Two of eight requests of 1 MiB.
        EXPECT_EQ(nodes.journal.count("75 % had equal checksums, eliminated: 6144K; transferred 2048K"), 2u);
        EXPECT_EQ(nodes.status(target).counters.received_kib - received, 2048u);
    }
}

TEST(Resync, ChecksumsUnderLoad) {
    TwoNodes nodes(16, [](Scenario& s) {
        s.net.csums_alg = "crc32c";
        s.disk.resync_rate_kib = 2000;
    });
    nodes.mirrored();
    for (uint64_t sector = 0; sector < 16 * 2048; sector += 2048) nodes.write(0, sector, 128, 1);
    ASSERT_TRUE(nodes.command(1, invalidate()).ok());
    uint64_t sector = 0;
    while (!nodes.in_sync()) {
        for (uint8_t i = 0; i < 8; ++i, sector = (sector + 977 * 3) % (16 * 2048 - 64))
            nodes.start_write(0, sector, 13, i % 2);
        nodes.run_for(30);
        ASSERT_LT(nodes.scheduler.now_us(), 200'000'000u);
    }
    EXPECT_EQ(nodes.errors(), 0u);
    ASSERT_TRUE(nodes.secondary(0).ok());
    EXPECT_EQ(nodes.difference(), "");
}

TEST(Resync, ChecksumsOnlyAfterACrash) {
    TwoNodes nodes(8, [](Scenario& s) {
        s.net.csums_alg = "sha256";
        s.net.csums_after_crash_only = true;
    });
    nodes.mirrored();
    ASSERT_TRUE(nodes.secondary(0).ok());
    ASSERT_TRUE(nodes.command(1, invalidate()).ok());
    ASSERT_TRUE(synced(nodes));
    EXPECT_EQ(nodes.journal.count("0 % had equal checksums"), 1u) << "the source cannot know";
    // Now node 1 crashes as Primary, and after a promotion of the other its changes are to be undone.
    ASSERT_TRUE(nodes.primary(1).ok());
    nodes.write(1, 0, 8, 1);
    nodes.node(1).stop(true);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(0).conn < engine::ConnState::connected; }));
    ASSERT_TRUE(nodes.primary(0).ok());
    nodes.write(0, 64, 8, 2);
    nodes.node(1).start();
    ASSERT_TRUE(nodes.attach(1).ok());
    ASSERT_TRUE(nodes.connect(1).ok());
    ASSERT_TRUE(synced(nodes));
    EXPECT_EQ(nodes.difference(), "");
    EXPECT_EQ(nodes.journal.count("% had equal checksums"), 3u);
}

TEST(Resync, AnUnreadableOwnBlockIsFetched) {
    TwoNodes nodes(8, [](Scenario& s) {
        s.net.csums_alg = "sha1";
        s.disk.on_io_error = config::OnIoError::pass_on;
    });
    nodes.mirrored();
    ASSERT_TRUE(nodes.secondary(0).ok());
    nodes.damage(1, 800);
    nodes.node(1).data_disk().broken = {800, 801, 100, true, false};
    ASSERT_TRUE(nodes.command(1, invalidate()).ok());
    ASSERT_TRUE(synced(nodes));
    EXPECT_EQ(nodes.difference(), "");
}

// What the source's disk fails while it is the only good one leaves a bit that no resync clears: the target
// has the block already.
TEST(Resync, EndsThoughTheSourcesDiskHasFailedABlock) {
    for (const config::Protocol protocol : {config::Protocol::a, config::Protocol::b, config::Protocol::c}) {
        for (const bool reads : {true, false}) {
            TwoNodes nodes(8, [protocol](Scenario& s) {
                s.disk.on_io_error = config::OnIoError::pass_on;
                s.disk.resync_rate_kib = 2000;
                s.net.protocol = protocol;
                s.net.connect_int_s = 1;
            });
            nodes.mirrored();
            ASSERT_EQ(nodes.write(0, 0, 8, 1), 0);
            ASSERT_TRUE(nodes.command(1, invalidate()).ok());
            ASSERT_TRUE(nodes.run_until([&] { return nodes.state(0).conn == ConnState::sync_source; }));
            nodes.run_for(500);
            nodes.node(0).data_disk().broken = {0, 8, 100, reads, !reads};
            std::vector<uint8_t> data;
            EXPECT_NE(reads ? nodes.read(0, 0, 8, data) : nodes.write(0, 0, 8, 2), 0);
            nodes.node(0).data_disk().broken = {};
            EXPECT_EQ(nodes.state(0).disk, DiskState::up_to_date) << "the only good one";
            ASSERT_TRUE(nodes.run_until([&] { return nodes.connected(); }, 20'000))
                << engine::describe(nodes.state(0)) << engine::describe(nodes.state(1));
            // As after any other error with pass_on: the peer's is the good one, and what is read is that.
            nodes.run_for(100);
            EXPECT_EQ(nodes.state(0).disk, DiskState::inconsistent);
            EXPECT_EQ(nodes.state(1).disk, DiskState::up_to_date);
            EXPECT_EQ(nodes.state(1).pdsk, DiskState::inconsistent);
            ASSERT_EQ(nodes.read(0, 0, 8, data), 0);
            EXPECT_EQ(data[0], reads ? 1 : 2);
            nodes.cable().reset_all();
            ASSERT_TRUE(synced(nodes));
            EXPECT_EQ(nodes.difference(), "");
            EXPECT_EQ(nodes.journal.count("split"), 0u);
        }
    }
}

// Writes across the border of two resync extents, when the activity log has room for a part of them only
// (I41).
TEST(Resync, AWriteThatHasAPartOfItsExtentsWaitsForTheRest) {
    for (uint64_t stride = 1; stride <= 4; ++stride) {
        TwoNodes nodes(256, [](Scenario& s) {
            s.disk.al_extents = 7;
            s.disk.resync_rate_kib = 200'000;
        });
        nodes.mirrored();
        ASSERT_TRUE(nodes.command(1, invalidate()).ok());
        uint64_t n = 0;
        while (!nodes.in_sync()) {
            for (uint8_t i = 0; i < 6 && n < nodes.ended() + 40; ++i, ++n)
                nodes.start_write(0, (1 + n * stride % 15) * sectors_per_resync_extent - 8, 16, i);
            nodes.run_for(1 + stride % 5);
            ASSERT_LT(nodes.scheduler.now_us(), 200'000'000u);
        }
        ASSERT_TRUE(nodes.run_until([&] { return nodes.ended() == n; }));
        EXPECT_EQ(nodes.errors(), 0u);
        ASSERT_TRUE(nodes.secondary(0).ok());
        EXPECT_EQ(nodes.difference(), "");
    }
}

// I43.
TEST(Resync, ABlockThatTheTargetCannotWriteLeavesItInconsistent) {
    TwoNodes nodes(8, [](Scenario& s) { s.disk.on_io_error = config::OnIoError::pass_on; });
    nodes.mirrored();
    nodes.node(1).data_disk().broken = {800, 801, 100, false, true};
    std::array<std::string, 2> begun;
    ASSERT_TRUE(nodes.command(1, invalidate()).ok());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(1).conn == ConnState::sync_target; }));
    for (const unsigned side : {0u, 1u}) begun.at(side) = engine::text_of(nodes.node(side).device()->uuids());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.connected(); }));
    nodes.run_for(1000);
    EXPECT_EQ(nodes.journal.count(" failed blocks"), 2u);
    EXPECT_EQ(nodes.state(1).disk, DiskState::inconsistent);
    EXPECT_EQ(nodes.state(0).pdsk, DiskState::inconsistent);
    for (const unsigned side : {0u, 1u})
        EXPECT_EQ(engine::text_of(nodes.node(side).device()->uuids()), begun.at(side));
    nodes.node(1).data_disk().broken = {};
    ASSERT_TRUE(nodes.disconnect(1).ok());
    ASSERT_TRUE(nodes.connect(1).ok());
    ASSERT_TRUE(synced(nodes));
    EXPECT_EQ(nodes.difference(), "");
}

TEST(Resync, ThinRequestsLeaveZeroesWhereTheSourceHasThem) {
    TwoNodes nodes(8, [](Scenario& s) { s.disk.rs_discard_granularity_bytes = 65536; });
    nodes.mirrored();
    nodes.write(0, 128, 128, 3);
    ASSERT_TRUE(nodes.secondary(0).ok());
    for (const uint64_t sector : {0, 130, 2000, 16383}) nodes.damage(1, sector);
    const uint64_t received = nodes.status(1).counters.received_kib;
    const uint64_t sent = nodes.status(0).counters.sent_kib;
    ASSERT_TRUE(nodes.command(1, invalidate()).ok());
    ASSERT_TRUE(synced(nodes));
    EXPECT_EQ(nodes.difference(), "");
    EXPECT_LT(nodes.status(0).counters.sent_kib - sent, 8192u / 4);
    EXPECT_GT(nodes.status(1).counters.written_kib, received);
}

// The application keeps its pace, and the resync goes on at c-min-rate about.
TEST(Resync, StepsBackForTheApplications) {
    for (const unsigned target : {0u, 1u}) {
        uint64_t done_kib[2] = {0, 0};
        for (const bool throttled : {false, true}) {
            TwoNodes nodes(64, [throttled](Scenario& s) {
                s.disk.resync_rate_kib = 8000;
                s.disk.c_min_rate_kib = throttled ? 500 : 0;
            });
            nodes.mirrored();
            if (target == 0) {
                ASSERT_TRUE(nodes.secondary(0).ok());
            }
            ASSERT_TRUE(nodes.command(target, invalidate()).ok());
            if (target == 0) {
                ASSERT_TRUE(
                    nodes.run_until([&] { return nodes.state(1).conn == engine::ConnState::sync_source; }));
                ASSERT_TRUE(nodes.primary(1).ok());
            }
            const unsigned writer = 1 - target;
            const uint64_t left_before = nodes.out_of_sync(target) * 4;
            uint64_t sector = 0;
            for (int turns = 0; turns < 600; ++turns, sector = (sector + 128) % 8192) {
                nodes.start_write(writer, sector, 64, 1);
                nodes.run_for(10);
            }
            done_kib[throttled] = left_before - nodes.out_of_sync(target) * 4;
            EXPECT_EQ(nodes.errors(), 0u);
            ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
            EXPECT_EQ(nodes.difference(), "");
        }
        EXPECT_GT(done_kib[0], 20'000u) << target;
        EXPECT_LT(done_kib[1], done_kib[0] / 2) << target;
        EXPECT_GT(done_kib[1], 2'000u) << target;
    }
}

// The handlers take seconds, and the state that they were started for ends meanwhile.
class ResyncHandlerTest : public testing::Test {
  protected:
    ResyncHandlerTest() : nodes(8) {
        nodes.mirrored();
        ensure(nodes.disconnect(1).ok());
        ensure(nodes.write(0, 0, 64, 1) == 0);
        for (const unsigned side : {0u, 1u}) nodes.node(side).host().model().delay_us_max = 20'000'000;
        ensure(nodes.connect(1).ok());
    }
    bool runs(std::string_view handler, size_t times = 1) {
        return nodes.run_until([&] { return nodes.journal.count(handler) == times; });
    }

    TwoNodes nodes;
};

TEST_F(ResyncHandlerTest, NoSourceWithoutATarget) {
    ASSERT_TRUE(runs("handler before-resync-source"));
    ASSERT_TRUE(
        nodes.command(1, [](engine::Resource& r, engine::Done done) { r.detach(0, true, std::move(done)); })
            .ok());
    nodes.run_for(30'000);
    EXPECT_EQ(nodes.state(0).conn, ConnState::connected);
    EXPECT_EQ(nodes.state(0).pdsk, DiskState::diskless);
    ASSERT_TRUE(nodes.attach(1).ok());
    ASSERT_TRUE(synced(nodes));
    EXPECT_EQ(nodes.difference(), "");
}

TEST_F(ResyncHandlerTest, OfAnEarlierConnectionStartsNothing) {
    ASSERT_TRUE(runs("handler before-resync-source"));
    nodes.cable().reset_all();
    ASSERT_TRUE(runs("handler before-resync-source", 2));
    ASSERT_TRUE(synced(nodes));
    nodes.run_for(30'000);
    EXPECT_EQ(nodes.journal.count("Began resync as SyncSource"), 1u);
    EXPECT_TRUE(nodes.in_sync());
    EXPECT_EQ(nodes.difference(), "");
}

TEST(Reads, GoWhereThePolicySays) {
    const struct {
        config::ReadBalancing policy;
        uint64_t remote;  // of 8 reads at multiples of 32 KiB
    } rows[] = {{config::ReadBalancing::prefer_local, 0}, {config::ReadBalancing::prefer_remote, 8},
                {config::ReadBalancing::round_robin, 4},  {config::ReadBalancing::least_pending, 0},
                {config::ReadBalancing::striping_32k, 4}, {config::ReadBalancing::striping_1m, 0}};
    for (const auto& row : rows) {
        TwoNodes nodes(8, [&](Scenario& s) { s.disk.read_balancing = row.policy; });
        nodes.mirrored();
        const uint64_t before = nodes.status(1).counters.read_kib;
        for (uint64_t i = 0; i < 8; ++i) {
            nodes.write(0, i * 64, 8, static_cast<uint8_t>(i));
            std::vector<uint8_t> data;
            EXPECT_EQ(nodes.read(0, i * 64, 8, data), 0);
            EXPECT_EQ(data, std::vector<uint8_t>(4096, static_cast<uint8_t>(i)));
        }
        EXPECT_EQ((nodes.status(1).counters.read_kib - before) / 4, row.remote)
            << static_cast<int>(row.policy);
    }
}

// Both have never been in sync: whoever is told to forget its data becomes the target, as with the kernel's.
TEST(InvalidateTest, WithBothInconsistentStartsTheInitialSync) {
    for (const bool remote : {false, true}) {
        TwoNodes nodes(8);
        for (const unsigned side : {0u, 1u}) ASSERT_TRUE(nodes.attach(side).ok());
        for (const unsigned side : {0u, 1u}) ASSERT_TRUE(nodes.connect(side).ok());
        ASSERT_TRUE(nodes.run_until([&] { return nodes.connected(); }));
        nodes.damage(0, 800);
        ASSERT_EQ(nodes.state(0).disk, DiskState::inconsistent);
        const engine::Reply reply = nodes.command(0, [remote](engine::Resource& r, engine::Done done) {
            remote ? r.invalidate_remote(0, std::move(done)) : r.invalidate(0, std::move(done));
        });
        EXPECT_TRUE(reply.ok()) << reply.code;
        ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
        EXPECT_EQ(nodes.difference(), "");
    }
}

TEST(ResyncAfterTest, AVolumeThatWaitsIsPausedOnBothNodes) {
    TwoNodes nodes(8);
    nodes.mirrored();
    const auto pause = [&](bool on) {
        nodes.node(1).resource().pause_after_others(0, on);
        nodes.node(1).turn();
    };
    pause(true);
    ASSERT_TRUE(
        nodes.command(1, [](engine::Resource& r, engine::Done done) { r.invalidate(0, std::move(done)); })
            .ok());
    ASSERT_TRUE(nodes.run_until([&] {
        return nodes.state(1).conn == ConnState::paused_sync_t &&
               nodes.state(0).conn == ConnState::paused_sync_s;
    }));
    EXPECT_TRUE(nodes.state(0).peer_isp);
    nodes.run_for(60'000);
    EXPECT_EQ(nodes.state(1).conn, ConnState::paused_sync_t);
    pause(false);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
    EXPECT_EQ(nodes.difference(), "");
}

// The target goes while a block that it asked for waits for a write, and then the connection.
TEST(Resync, WritesGoOnWhenTheTargetIsLostWithItsRequests) {
    TwoNodes nodes(8, [](Scenario& s) { s.disks[1].delay_us_min = s.disks[1].delay_us_max = 300'000; });
    nodes.mirrored();
    const auto pause = [](engine::Resource& r, engine::Done done) { r.pause_sync(0, std::move(done)); };
    ASSERT_TRUE(nodes.command(1, pause).ok());
    ASSERT_TRUE(nodes.command(1, invalidate()).ok());
    ASSERT_TRUE(nodes.run_until([&] {
        return nodes.state(0).conn == engine::ConnState::paused_sync_s && nodes.journal.count("Began") == 2;
    }));
    nodes.start_write(0, 0, 8, 1);
    nodes.run_for(10);
    const auto go_on = [](engine::Resource& r, engine::Done done) { r.resume_sync(0, std::move(done)); };
    ASSERT_TRUE(nodes.command(1, go_on).ok());
    nodes.run_for(10);
    ASSERT_EQ(nodes.state(0).conn, engine::ConnState::sync_source);
    const auto detach = [](engine::Resource& r, engine::Done done) { r.detach(0, true, std::move(done)); };
    ASSERT_TRUE(nodes.command(1, detach).ok());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(0).pdsk < engine::DiskState::inconsistent; }));
    ASSERT_EQ(nodes.ended(), 0u) << "the write is to be under way all the time";
    ASSERT_TRUE(nodes.disconnect(0).ok());
    EXPECT_EQ(nodes.write(0, 64, 8, 2), 0);
    EXPECT_EQ(nodes.ended(), 2u);
    EXPECT_EQ(nodes.errors(), 0u);
}

}  // namespace
}  // namespace duplex::sim
