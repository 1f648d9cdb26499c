// Two volumes over one connection: what is the connection's and what is the volume's (states 1.1).
#include <gtest/gtest.h>

#include "sim/two_nodes.hpp"

namespace duplex::sim {
namespace {

using config::Fencing;
using engine::ConnState;
using engine::DiskState;
using engine::Role;

class VolumesTest : public testing::Test {
  protected:
    static std::function<void(Scenario&)> two(const std::function<void(Scenario&)>& more = {}) {
        return [more](Scenario& s) {
            s.volumes = 2;
            s.net.ping_int_s = 1;
            s.net.timeout_ds = 20;
            s.net.connect_int_s = 1;
            if (more) more(s);
        };
    }
    static void expect_equal(const TwoNodes& nodes) {
        EXPECT_EQ(nodes.difference(0), "");
        EXPECT_EQ(nodes.difference(1), "");
    }
    static engine::Reply detach(TwoNodes& nodes, unsigned side, unsigned volume) {
        return nodes.command(side, [volume](engine::Resource& r, engine::Done done) {
            r.detach(volume, false, std::move(done));
        });
    }
    static engine::Reply remove(TwoNodes& nodes, unsigned side, unsigned volume) {
        return nodes.command(side, [volume](engine::Resource& r, engine::Done done) {
            r.remove_volume(volume, std::move(done));
        });
    }
    static void lose_the_link(TwoNodes& nodes) {
        nodes.cable().cut();
        ASSERT_TRUE(nodes.run_until([&] {
            return nodes.state(0).conn < ConnState::connected && nodes.state(1).conn < ConnState::connected;
        }));
    }
};

// The epochs are the connection's: a write to one volume that follows a completed one to the other is in a
// later epoch, and the barrier counts the writes of both.
TEST_F(VolumesTest, BarriersCountTheWritesOfBoth) {
    TwoNodes nodes(8, two());
    nodes.mirrored();
    for (uint8_t i = 0; i < 100; ++i) {
        for (const unsigned volume : {0u, 1u})
            for (uint64_t j = 0; j < 4; ++j) nodes.start_write(0, (i * 8 + j) * 16, 8, i, volume);
        nodes.run_for(i % 3);
    }
    ASSERT_TRUE(nodes.run_until([&] { return nodes.ended() == 800; }));
    EXPECT_EQ(nodes.flush(0, 0), 0);
    EXPECT_EQ(nodes.errors(), 0u);
    nodes.run_for(100);
    for (const unsigned volume : {0u, 1u}) EXPECT_EQ(nodes.status(0, volume).epochs, 1u);
    EXPECT_EQ(nodes.journal.count("conn( Connected -> "), 0u);
    expect_equal(nodes);
}

TEST_F(VolumesTest, BothCatchUpAfterALostLink) {
    TwoNodes nodes(8, two());
    nodes.mirrored();
    nodes.cable().cut();
    for (const unsigned volume : {0u, 1u})
        for (uint8_t i = 0; i < 20; ++i)
            nodes.start_write(0, i * (64 + 64 * volume), 8, static_cast<uint8_t>(i + 1), volume);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.ended() == 40; }));
    for (const unsigned volume : {0u, 1u}) EXPECT_EQ(nodes.out_of_sync(0, volume), 20u);
    nodes.cable().mend();
    ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
    EXPECT_EQ(nodes.errors(), 0u);
    EXPECT_EQ(nodes.journal.count("Resync done"), 4u);
    expect_equal(nodes);
}

// Power fails with writes to both in the cache; the peer that is left has what was completed.
TEST_F(VolumesTest, BothAreWholeAfterACrashOfThePrimary) {
    TwoNodes nodes(8, two());
    nodes.mirrored();
    for (uint8_t i = 0; i < 60; ++i)
        for (const unsigned volume : {0u, 1u}) nodes.start_write(0, i * 40u, 16, i, volume);
    nodes.run_for(20);
    nodes.node(0).stop(true);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(1).conn < ConnState::connected; }));
    for (const unsigned volume : {0u, 1u}) ASSERT_TRUE(nodes.primary(1, volume).ok());
    for (const unsigned volume : {0u, 1u}) EXPECT_EQ(nodes.write(1, 4000, 8, 9, volume), 0);
    nodes.node(0).start();
    for (const unsigned volume : {0u, 1u}) ASSERT_TRUE(nodes.attach(0, volume).ok());
    ASSERT_TRUE(nodes.connect(0).ok());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
    expect_equal(nodes);
}

TEST_F(VolumesTest, OneWithoutADiskGoesOverTheNetwork) {
    TwoNodes nodes(8, two());
    nodes.mirrored();
    ASSERT_TRUE(detach(nodes, 0, 1).ok());
    EXPECT_EQ(nodes.state(0, 0).disk, DiskState::up_to_date);
    EXPECT_EQ(nodes.state(0, 1).disk, DiskState::diskless);
    for (const unsigned volume : {0u, 1u})
        for (uint8_t i = 0; i < 20; ++i) nodes.start_write(0, i * 64u, 8, i, volume);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.ended() == 40; }));
    std::vector<uint8_t> data;
    EXPECT_EQ(nodes.read(0, 19 * 64, 8, data, 1), 0);
    EXPECT_EQ(data, std::vector<uint8_t>(4096, 19));
    // The link goes: one volume has its own disk, the other has nothing.
    lose_the_link(nodes);
    EXPECT_EQ(nodes.write(0, 8, 8, 1, 0), 0);
    EXPECT_EQ(nodes.write(0, 8, 8, 1, 1), 5);
    nodes.cable().mend();
    ASSERT_TRUE(nodes.run_until([&] { return nodes.connected(); }));
    ASSERT_TRUE(nodes.attach(0, 1).ok());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
    EXPECT_EQ(nodes.errors(), 1u);
    expect_equal(nodes);
}

// One disk fails under load: only its volume goes diskless, both go on.
TEST_F(VolumesTest, ADiskFailsUnderOne) {
    TwoNodes nodes(8, two());
    nodes.mirrored();
    for (uint8_t i = 0; i < 40; ++i) {
        if (i == 10) nodes.node(0).data_disk(1).broken = {0, 100'000, 100};
        for (const unsigned volume : {0u, 1u}) nodes.start_write(0, i * 64u, 8, i, volume);
        nodes.run_for(1);
    }
    ASSERT_TRUE(nodes.run_until([&] { return nodes.ended() == 80; }));
    EXPECT_EQ(nodes.errors(), 0u);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(1, 1).pdsk == DiskState::diskless; }));
    EXPECT_EQ(nodes.state(0, 0).disk, DiskState::up_to_date);
    nodes.node(0).data_disk(1).broken = {};
    ASSERT_TRUE(nodes.attach(0, 1).ok());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
    expect_equal(nodes);
}

TEST_F(VolumesTest, OneIsResyncedWhileTheOtherIsWritten) {
    TwoNodes nodes(8, two([](Scenario& s) { s.disk.resync_rate_kib = 2000; }));
    nodes.mirrored();
    ASSERT_TRUE(
        nodes.command(1, [](engine::Resource& r, engine::Done done) { r.invalidate(1, std::move(done)); })
            .ok());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(1, 1).conn == ConnState::sync_target; }));
    for (uint8_t i = 0; i < 100; ++i)
        for (const unsigned volume : {0u, 1u}) EXPECT_EQ(nodes.write(0, i * 64u, 8, i, volume), 0);
    EXPECT_EQ(nodes.state(0, 0).conn, ConnState::connected);
    EXPECT_EQ(nodes.state(1, 1).conn, ConnState::sync_target);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
    expect_equal(nodes);
}

// Both resyncs at once, with a pool so small that one alone could fill it.
TEST_F(VolumesTest, TwoResyncsAtOnceLeaveRoomForTheApplications) {
    TwoNodes nodes(64, two([](Scenario& s) {
                       s.limits.peer_requests_max = 64;
                       s.net.max_buffers = 20'000;
                   }));
    nodes.mirrored();
    for (const unsigned volume : {0u, 1u})
        ASSERT_TRUE(nodes
                        .command(1, [volume](engine::Resource& r,
                                             engine::Done done) { r.invalidate(volume, std::move(done)); })
                        .ok());
    for (uint8_t i = 0; i < 200; ++i)
        for (const unsigned volume : {0u, 1u}) EXPECT_EQ(nodes.write(0, i * 512u, 8, i, volume), 0);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
    expect_equal(nodes);
}

// ---- added and removed while connected
// ------------------------------------------------------------------------------

TEST_F(VolumesTest, OneIsAddedWhileTheOtherIsInUse) {
    for (const bool attached_before_the_peer_knows : {false, true}) {
        TwoNodes nodes(8, two([](Scenario& s) { s.volumes = 2; }));
        // As if only volume 0 were configured at first.
        for (const unsigned side : {0u, 1u}) ASSERT_TRUE(remove(nodes, side, 1).ok());
        for (const unsigned side : {0u, 1u}) ASSERT_TRUE(nodes.attach(side).ok());
        for (const unsigned side : {0u, 1u}) ASSERT_TRUE(nodes.connect(side).ok());
        const auto connected = [&](unsigned volume) {
            return nodes.state(0, volume).conn == ConnState::connected &&
                   nodes.state(1, volume).conn == ConnState::connected;
        };
        ASSERT_TRUE(nodes.run_until([&] { return connected(0); }));
        ASSERT_TRUE(nodes
                        .command(0, [](engine::Resource& r,
                                       engine::Done done) { r.new_current_uuid(0, true, std::move(done)); })
                        .ok());
        ASSERT_TRUE(nodes.primary(0).ok());
        for (uint8_t i = 0; i < 20; ++i) EXPECT_EQ(nodes.write(0, i * 64u, 8, i), 0);
        const size_t disconnects = nodes.journal.count("conn( Connected ->");

        nodes.node(0).resource().add_volume(1, 1);
        nodes.node(0).turn();
        nodes.run_for(100);
        EXPECT_EQ(nodes.state(0, 1).conn, ConnState::wf_report_params);
        EXPECT_EQ(nodes.write(0, 8, 8, 7), 0);
        if (attached_before_the_peer_knows) {
            ASSERT_TRUE(nodes.attach(0, 1).ok());
            nodes.run_for(100);
        }
        nodes.node(1).resource().add_volume(1, 1);
        nodes.node(1).turn();
        ASSERT_TRUE(nodes.run_until([&] { return connected(1); }));
        if (!attached_before_the_peer_knows) {
            ASSERT_TRUE(nodes.attach(0, 1).ok());
        }
        ASSERT_TRUE(nodes.attach(1, 1).ok());
        ASSERT_TRUE(nodes.run_until([&] {
            return nodes.state(0, 1).disk == DiskState::inconsistent &&
                   nodes.state(0, 1).pdsk == DiskState::inconsistent;
        }));
        ASSERT_TRUE(nodes
                        .command(0, [](engine::Resource& r,
                                       engine::Done done) { r.primary(1, {true}, std::move(done)); })
                        .ok());
        EXPECT_EQ(nodes.write(0, 800, 8, 5, 1), 0);
        ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
        EXPECT_EQ(nodes.journal.count("conn( Connected ->"), disconnects + 2) << "the sync of the new volume";
        expect_equal(nodes);
    }
}

TEST_F(VolumesTest, OneIsRemovedWhileTheOtherIsInUse) {
    TwoNodes nodes(8, two());
    nodes.mirrored();
    ASSERT_TRUE(nodes.secondary(0, 1).ok());
    for (const unsigned side : {1u, 0u}) {
        EXPECT_EQ(nodes.write(0, 64 * side, 8, 1), 0);
        ASSERT_TRUE(detach(nodes, side, 1).ok());
        ASSERT_TRUE(remove(nodes, side, 1).ok());
        nodes.run_for(100);
    }
    EXPECT_EQ(nodes.node(0).resource().status().volumes.size(), 1u);
    for (uint8_t i = 0; i < 20; ++i) EXPECT_EQ(nodes.write(0, i * 64u, 8, i), 0);
    EXPECT_EQ(nodes.state(1).conn, ConnState::connected);
    EXPECT_EQ(nodes.journal.count("conn( Connected -> Disconnecting )"), 0u);
    EXPECT_EQ(nodes.journal.count("ProtocolError"), 0u);
    EXPECT_EQ(nodes.difference(0), "");
}

// The node that keeps the volume knows that nobody answers for it any more.
TEST_F(VolumesTest, ARemovedOneIsAloneOnTheOtherNode) {
    TwoNodes nodes(8, two());
    nodes.mirrored();
    ASSERT_TRUE(detach(nodes, 1, 1).ok());
    ASSERT_TRUE(remove(nodes, 1, 1).ok());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(0, 1).conn == ConnState::wf_report_params; }));
    for (uint8_t i = 0; i < 20; ++i)
        for (const unsigned volume : {0u, 1u}) EXPECT_EQ(nodes.write(0, i * 64u, 8, i, volume), 0);
    ASSERT_TRUE(nodes.secondary(0, 1).ok());
    ASSERT_TRUE(nodes.primary(0, 1).ok());
    // And a new connection does not stop at it.
    nodes.cable().reset_all();
    ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(0); }));
    ASSERT_TRUE(nodes.secondary(0, 1).ok());
    ASSERT_TRUE(nodes.secondary(0, 0).ok());
    ASSERT_TRUE(nodes.primary(0, 0).ok());
    ASSERT_TRUE(nodes.primary(0, 1).ok());
    nodes.node(1).resource().add_volume(1, 1);
    nodes.node(1).turn();
    ASSERT_TRUE(nodes.attach(1, 1).ok());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
    expect_equal(nodes);
}

// ---- the connection's affairs
// ---------------------------------------------------------------------------------------

TEST_F(VolumesTest, ASplitBrainOfOneEndsTheConnectionOfBoth) {
    TwoNodes nodes(8, two());
    nodes.mirrored();
    lose_the_link(nodes);
    for (const unsigned volume : {0u, 1u}) EXPECT_EQ(nodes.write(0, 0, 8, 1, volume), 0);
    ASSERT_TRUE(nodes.secondary(0, 0).ok());
    ASSERT_TRUE(nodes.secondary(0, 1).ok());
    ASSERT_TRUE(nodes.primary(1, 1).ok());
    EXPECT_EQ(nodes.write(1, 8, 8, 2, 1), 0);
    ASSERT_TRUE(nodes.secondary(1, 1).ok());
    nodes.cable().mend();
    ASSERT_TRUE(nodes.run_until([&] {
        return nodes.state(0).conn == ConnState::stand_alone || nodes.state(1).conn == ConnState::stand_alone;
    }));
    nodes.run_for(2000);
    for (const unsigned side : {0u, 1u}) {
        EXPECT_LT(nodes.state(side, 0).conn, ConnState::connected);
        EXPECT_EQ(nodes.state(side, 0).conn, nodes.state(side, 1).conn);
        if (nodes.state(side).conn != ConnState::stand_alone) {
            ASSERT_TRUE(nodes.disconnect(side).ok());
        }
    }
    ASSERT_TRUE(nodes.connect(0).ok());
    ASSERT_TRUE(nodes
                    .command(1,
                             [&](engine::Resource& r, engine::Done done) {
                                 r.connect(nodes.node(1).connect_command(true), std::move(done));
                             })
                    .ok());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
    expect_equal(nodes);
    std::vector<uint8_t> data;
    ASSERT_TRUE(nodes.primary(0, 1).ok());
    EXPECT_EQ(nodes.read(0, 0, 8, data, 1), 0);
    EXPECT_EQ(data, std::vector<uint8_t>(4096, 1)) << "what node 0 wrote survives";
}

// The flags of suspended I/O are the resource's, whichever volume raised them (states 1.2).
TEST_F(VolumesTest, OnePrimaryVolumeFreezesBoth) {
    for (const unsigned primary : {0u, 1u}) {
        TwoNodes nodes(8, two([](Scenario& s) { s.disk.fencing = Fencing::resource_and_stonith; }));
        nodes.mirrored();
        ASSERT_TRUE(nodes.secondary(0, 1 - primary).ok());
        nodes.node(0).host().exit_codes["fence-peer"] = 7;
        nodes.node(0).host().model().delay_us_max = 5'000'000;
        nodes.cable().cut();
        nodes.start_write(0, 0, 8, 1, primary);
        bool frozen = false;
        ASSERT_TRUE(nodes.run_until([&] {
            frozen |= nodes.state(0).susp_fen;
            EXPECT_EQ(nodes.state(0, 0).susp_fen, nodes.state(0, 1).susp_fen);
            return nodes.ended() == 1;
        }));
        EXPECT_TRUE(frozen);
        EXPECT_EQ(nodes.journal.count("handler fence-peer (7)"), 1u);
        for (const unsigned volume : {0u, 1u}) EXPECT_EQ(nodes.state(0, volume).pdsk, DiskState::outdated);
        nodes.cable().mend();
        ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
        expect_equal(nodes);
    }
}

// A volume whose disk is below Outdated ignores that the others are outdated (CS_IGN_OUTD_FAIL, states 2.1).
TEST_F(VolumesTest, ADisconnectOutdatesTheVolumesThatHaveADisk) {
    for (const unsigned diskless : {0u, 1u}) {
        TwoNodes nodes(8, two([](Scenario& s) { s.disk.fencing = Fencing::resource_only; }));
        nodes.mirrored();
        ASSERT_TRUE(detach(nodes, 1, diskless).ok());
        ASSERT_TRUE(nodes.disconnect(0).ok());
        nodes.run_for(1000);
        EXPECT_EQ(nodes.state(1, 1 - diskless).disk, DiskState::outdated);
        EXPECT_EQ(nodes.state(1, diskless).disk, DiskState::diskless);
        EXPECT_EQ(nodes.state(0, 1 - diskless).pdsk, DiskState::outdated);
        EXPECT_EQ(nodes.journal.count("handler fence-peer"), 0u);
    }
}

TEST_F(VolumesTest, ThePeerIsPrimaryOnTheOtherVolume) {
    TwoNodes nodes(8, two());
    nodes.mirrored();
    ASSERT_TRUE(nodes.secondary(0, 1).ok());
    EXPECT_EQ(nodes.primary(1, 1).code, static_cast<int>(engine::StateChangeResult::o_vol_peer_pri));
    ASSERT_TRUE(nodes.secondary(0, 0).ok());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(1, 0).peer == Role::secondary; }));
    EXPECT_TRUE(nodes.primary(1, 1).ok());
}

// Two administrators at once, each with another volume: at most one gets what he wants, and both nodes know
// who.
TEST_F(VolumesTest, OneIsPromotedHereAndTheOtherThereAtTheSameTime) {
    for (const uint64_t later_us : {0, 100, 200, 300, 500, 1000}) {
        TwoNodes nodes(8,
                       two([](Scenario& s) { s.network.latency_us_min = s.network.latency_us_max = 300; }));
        nodes.mirrored();
        for (const unsigned volume : {0u, 1u}) ASSERT_TRUE(nodes.secondary(0, volume).ok());
        nodes.run_for(100);
        unsigned answers = 0;
        const auto promote = [&](unsigned side) {
            nodes.node(side).resource().primary(side, {}, [&answers](const engine::Reply&) { ++answers; });
            nodes.node(side).turn();
        };
        promote(0);
        nodes.scheduler.after(later_us, [&] { promote(1); });
        ASSERT_TRUE(nodes.run_until([&] { return answers == 2; }));
        nodes.run_for(1000);
        unsigned primaries = 0;
        for (const unsigned volume : {0u, 1u})
            for (const unsigned side : {0u, 1u}) {
                EXPECT_EQ(nodes.state(side, volume).peer, nodes.state(1 - side, volume).role)
                    << later_us << " us: volume " << volume << " on node " << side;
                if (nodes.state(side, volume).role == Role::primary) ++primaries;
            }
        EXPECT_LE(primaries, 1u) << later_us;
    }
}

// Without data on one volume both wait, if that is what on-no-data-accessible says.
TEST_F(VolumesTest, OneWithoutDataFreezesBoth) {
    TwoNodes nodes(8,
                   two([](Scenario& s) { s.resource.on_no_data_accessible = config::OnNoData::suspend_io; }));
    nodes.mirrored();
    ASSERT_TRUE(detach(nodes, 0, 1).ok());
    EXPECT_EQ(nodes.write(0, 0, 8, 5, 1), 0);
    nodes.cable().cut();
    for (uint8_t i = 0; i < 30; ++i)
        for (const unsigned volume : {0u, 1u}) nodes.start_write(0, 100u + 8u * i, 8, i, volume);
    nodes.run_for(30'000);
    EXPECT_TRUE(nodes.state(0, 0).susp_nod);
    EXPECT_TRUE(nodes.state(0, 1).susp_nod);
    nodes.cable().mend();
    ASSERT_TRUE(nodes.run_until([&] { return nodes.ended() == 61; }));
    EXPECT_EQ(nodes.errors(), 0u);
    ASSERT_TRUE(nodes.attach(0, 1).ok());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
    expect_equal(nodes);
}

}  // namespace
}  // namespace duplex::sim
