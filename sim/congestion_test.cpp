#include <gtest/gtest.h>

#include "sim/two_nodes.hpp"

namespace duplex::sim {
namespace {

using engine::ConnState;
using engine::DiskState;

class CongestionTest : public testing::Test {
  protected:
    static std::function<void(Scenario&)> slow_link(config::OnCongestion what, uint32_t fill,
                                                    uint32_t extents) {
        return [=](Scenario& s) {
            s.net.protocol = config::Protocol::a;
            s.net.on_congestion = what;
            s.net.congestion_fill_sectors = fill;
            s.net.congestion_extents = extents;
            s.network = {20'000, 30'000, 16 << 10, 4 << 10};
        };
    }
    static void load(TwoNodes& nodes, uint64_t step) {
        for (uint64_t i = 0; i < 60; ++i) {
            nodes.start_write(0, i * step % (nodes.status(0).size_sectors - 32), 32, static_cast<uint8_t>(i));
            nodes.run_for(2);
        }
    }
};

TEST_F(CongestionTest, PullsAheadAndTheResyncCatchesUp) {
    for (const bool by_extents : {false, true}) {
        TwoNodes nodes(by_extents ? 64 : 8, slow_link(config::OnCongestion::pull_ahead, by_extents ? 0 : 256,
                                                      by_extents ? 5 : 1000));
        nodes.mirrored();
        load(nodes, by_extents ? 8192 + 40 : 40);
        ASSERT_TRUE(nodes.run_until([&] { return nodes.state(1).conn == ConnState::behind; }, 20'000));
        EXPECT_EQ(nodes.state(0).conn, ConnState::ahead);
        EXPECT_EQ(nodes.state(0).pdsk, DiskState::consistent);
        EXPECT_EQ(nodes.state(1).disk, DiskState::outdated);
        ASSERT_TRUE(nodes.run_until([&] { return nodes.ended() == 60; }, 5000))
            << "the link is not waited for";
        EXPECT_EQ(nodes.errors(), 0u);
        ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
        EXPECT_EQ(nodes.difference(), "");
        EXPECT_EQ(nodes.journal.count("conn( Ahead -> SyncSource )"), 1u);
        EXPECT_EQ(nodes.journal.count("conn( Behind -> SyncTarget )"), 1u);
        EXPECT_EQ(nodes.journal.count(by_extents ? "Congestion-extents" : "Congestion-fill"), 1u);
        EXPECT_EQ(nodes.journal.count("ASSERT FAILED"), 0u);
    }
}

TEST_F(CongestionTest, AheadAgainInTheMiddleOfTheResync) {
    TwoNodes nodes(8, slow_link(config::OnCongestion::pull_ahead, 256, 1000));
    nodes.mirrored();
    load(nodes, 40);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(1).conn == ConnState::sync_target; }, 60'000));
    load(nodes, 72);
    EXPECT_EQ(nodes.journal.count("conn( SyncSource -> Ahead )"), 1u);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync() && nodes.ended() == 120; }));
    EXPECT_EQ(nodes.errors(), 0u);
    EXPECT_EQ(nodes.difference(), "");
}

// A load that exceeds the limit before the peer's first answer: the peer is never in sync, as in the kernel,
// but the node keeps coming back, and when the load ends so does the resync.
TEST_F(CongestionTest, UnderALoadThatIsAlwaysTooMuchItKeepsTrying) {
    TwoNodes nodes(8, slow_link(config::OnCongestion::pull_ahead, 64, 1000));
    nodes.mirrored();
    for (int i = 0; i < 40; ++i) load(nodes, 40);
    const size_t pulled = nodes.journal.count("Congestion-fill");
    EXPECT_GE(pulled, 3u);
    EXPECT_LE(nodes.journal.count("conn( Ahead -> SyncSource )"), pulled);
    EXPECT_GE(nodes.journal.count("conn( Ahead -> SyncSource )") + 1, pulled);
    EXPECT_EQ(nodes.errors(), 0u);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync() && nodes.ended() == 40 * 60; }));
    EXPECT_EQ(nodes.difference(), "");
}

// What was in flight before, or went to the own disk only, is no reason to pull ahead again.
TEST_F(CongestionTest, BackFromAheadItCountsFromTheBeginning) {
    constexpr uint32_t fill = 256;
    TwoNodes nodes(8, slow_link(config::OnCongestion::pull_ahead, fill, 1000));
    nodes.mirrored();
    load(nodes, 40);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(0).conn == ConnState::sync_source; }, 60'000));
    constexpr uint32_t writes = fill / 32 - 1;
    for (uint32_t i = 0; i < writes; ++i) nodes.start_write(0, i * 40, 32, 0xee);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync() && nodes.ended() == 60 + writes; }));
    EXPECT_EQ(nodes.journal.count("Congestion-fill"), 1u);
    EXPECT_EQ(nodes.difference(), "");
}

TEST_F(CongestionTest, TheConnectionIsLostWhileAhead) {
    for (const bool crash : {false, true}) {
        TwoNodes nodes(8, slow_link(config::OnCongestion::pull_ahead, 256, 1000));
        nodes.mirrored();
        load(nodes, 40);
        ASSERT_TRUE(nodes.run_until([&] { return nodes.state(1).conn == ConnState::behind; }, 20'000));
        if (crash) {
            nodes.run_for(500);
            nodes.node(1).stop(true);
            nodes.node(1).start();
            ASSERT_TRUE(nodes.attach(1).ok());
            EXPECT_EQ(nodes.state(1).disk, DiskState::outdated) << "it knows that it is behind";
            ASSERT_TRUE(nodes.connect(1).ok());
        } else {
            nodes.cable().reset_all();
        }
        ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
        EXPECT_EQ(nodes.difference(), "");
        EXPECT_EQ(nodes.errors(), 0u);
    }
}

// It has data that the peer lacks, and its superblock no longer says that it was Primary.
TEST_F(CongestionTest, DemotedWhileAheadItCrashes) {
    TwoNodes nodes(8, slow_link(config::OnCongestion::pull_ahead, 256, 1000));
    nodes.mirrored();
    load(nodes, 40);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(0).conn == ConnState::ahead; }, 20'000));
    // Many, so that it does not catch up before it is demoted.
    nodes.start_command(0, [](engine::Resource& r, engine::Done done) { r.secondary(0, std::move(done)); });
    ASSERT_TRUE(nodes.run_until([&] { return nodes.answered(); }));
    ASSERT_EQ(nodes.state(0).conn, ConnState::ahead) << "or this shows nothing";
    nodes.node(0).stop(true);
    nodes.node(0).start();
    ASSERT_TRUE(nodes.attach(0).ok());
    ASSERT_TRUE(nodes.connect(0).ok());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.connected(); }));
    ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
    EXPECT_EQ(nodes.difference(), "");
}

TEST_F(CongestionTest, OrItDisconnects) {
    TwoNodes nodes(8, slow_link(config::OnCongestion::disconnect, 256, 1000));
    nodes.mirrored();
    load(nodes, 40);
    EXPECT_EQ(nodes.state(0).conn, ConnState::stand_alone);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.ended() == 60; }));
    EXPECT_EQ(nodes.errors(), 0u);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(1).conn < ConnState::connected; }));
    ASSERT_TRUE(nodes.connect(0).ok());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
    EXPECT_EQ(nodes.difference(), "");
}

}  // namespace
}  // namespace duplex::sim
