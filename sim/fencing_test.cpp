#include <gtest/gtest.h>

#include "sim/two_nodes.hpp"

namespace duplex::sim {
namespace {

using config::Fencing;
using engine::ConnState;
using engine::DiskState;
using engine::Role;

class FencingTest : public testing::Test {
  protected:
    static std::function<void(Scenario&)> with(Fencing policy) {
        return [policy](Scenario& s) {
            s.disk.fencing = policy;
            s.net.ping_int_s = 1;
            s.net.timeout_ds = 20;
            s.net.connect_int_s = 1;
        };
    }
    static void answer(TwoNodes& nodes, int exit_code, uint64_t delay_ms = 5000) {
        for (const unsigned side : {0u, 1u}) {
            nodes.node(side).host().exit_codes["fence-peer"] = exit_code;
            nodes.node(side).host().model().delay_us_max = delay_ms * 1000;
        }
    }
    static void cut(TwoNodes& nodes) {
        nodes.cable().cut();
        ASSERT_TRUE(nodes.run_until([&] { return nodes.state(0).conn < ConnState::connected; }));
    }
};

// I49.
TEST_F(FencingTest, StonithFreezesWritesUntilThePeerIsFenced) {
    TwoNodes nodes(8, with(Fencing::resource_and_stonith));
    nodes.mirrored();
    answer(nodes, 7);
    nodes.cable().cut();
    const size_t before = nodes.ended();
    nodes.start_write(0, 0, 8, 1);
    bool frozen = false;
    ASSERT_TRUE(nodes.run_until([&] {
        frozen |= nodes.state(0).susp_fen;
        EXPECT_FALSE(nodes.state(0).susp_fen && nodes.ended() > before);
        return nodes.ended() > before;
    }));
    EXPECT_TRUE(frozen);
    EXPECT_EQ(nodes.errors(), 0u);
    EXPECT_EQ(nodes.state(0).pdsk, DiskState::outdated);
    EXPECT_EQ(nodes.journal.count("handler fence-peer (7)"), 1u);
    EXPECT_EQ(nodes.journal.count("new current UUID"), 2u) << "the first and that of the fenced peer";
    EXPECT_EQ(nodes.write(0, 64, 8, 2), 0);
    nodes.cable().mend();
    ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
    EXPECT_EQ(nodes.difference(), "");
    nodes.run_for(100);
    EXPECT_EQ(nodes.journal.count("handler unfence-peer"), 1u);
}

// A write that was not replicated when the peer was lost is not sent again (I12, I33).
TEST_F(FencingTest, FrozenWithAWriteThatThePeerWasNotSent) {
    TwoNodes nodes(8, with(Fencing::resource_and_stonith));
    nodes.mirrored();
    ASSERT_EQ(nodes.write(0, 0, 8, 1), 0);  // its extent is in the activity log
    nodes.run_for(1000);
    answer(nodes, 1);
    nodes.node(0).data_disk().hang();
    nodes.start_command(
        0, [](engine::Resource& r, engine::Done done) { r.invalidate_remote(0, std::move(done)); });
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(0).conn == ConnState::starting_sync_s; }));
    const size_t before = nodes.ended();
    nodes.start_write(0, 0, 8, 2);
    nodes.run_for(1);
    nodes.cable().reset_all();
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(0).susp_fen; }));
    nodes.node(0).data_disk().go_on();
    ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
    ASSERT_TRUE(nodes.run_until([&] { return nodes.ended() > before; }));
    EXPECT_EQ(nodes.errors(), 0u);
    EXPECT_EQ(nodes.difference(), "");
    EXPECT_EQ(nodes.out_of_sync(0), 0u);
}

TEST_F(FencingTest, AFailedHandlerLeavesThemFrozenUntilTheReconnectOrTheAdministrator) {
    for (const bool reconnect : {true, false}) {
        TwoNodes nodes(8, with(Fencing::resource_and_stonith));
        nodes.mirrored();
        answer(nodes, 1);
        nodes.cable().cut();
        const size_t before = nodes.ended();
        nodes.start_write(0, 0, 8, 1);
        nodes.run_for(60'000);
        nodes.start_write(0, 8, 8, 1);
        nodes.run_for(1000);
        EXPECT_EQ(nodes.ended(), before);
        EXPECT_TRUE(nodes.state(0).susp_fen);
        if (!reconnect) {
            EXPECT_TRUE(nodes
                            .command(0, [](engine::Resource& r,
                                           engine::Done done) { r.resume_io(0, std::move(done)); })
                            .ok());
            ASSERT_TRUE(nodes.run_until([&] { return nodes.ended() == before + 2; }));
        }
        nodes.cable().mend();
        ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync() && nodes.ended() == before + 2; }));
        EXPECT_FALSE(nodes.state(0).susp_fen);
        EXPECT_EQ(nodes.errors(), 0u);
        EXPECT_EQ(nodes.difference(), "");
        // The peer was not restarted: it gets again what was under way, and that is all (states 15.3).
        EXPECT_EQ(nodes.journal.count("Resync done"), reconnect ? 0u : 2u);
        EXPECT_EQ(nodes.journal.count("new current UUID"), reconnect ? 1u : 2u);
    }
}

// What was acknowledged before the loss stays in the log until a barrier ack of the new connection: the peer
// may still lose it with its power.
TEST_F(FencingTest, WhatIsSentAgainMakesStableWhatWasAcknowledged) {
    for (uint64_t delay_ms = 0; delay_ms < 12; ++delay_ms) {
        TwoNodes nodes(8, with(Fencing::resource_and_stonith));
        nodes.mirrored();
        answer(nodes, 1);
        for (uint8_t i = 0; i < 40; ++i) nodes.start_write(0, i * 64u, 8, i);
        nodes.run_for(delay_ms);
        nodes.cable().cut();
        for (uint8_t i = 40; i < 50; ++i) nodes.start_write(0, i * 64u, 8, i);
        ASSERT_TRUE(nodes.run_until([&] { return nodes.state(0).susp_fen; }));
        const size_t ended = nodes.ended();
        nodes.run_for(60'000);
        EXPECT_EQ(nodes.ended(), ended);
        nodes.cable().mend();
        ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync() && nodes.ended() == 50; }));
        EXPECT_EQ(nodes.errors(), 0u);
        EXPECT_EQ(nodes.difference(), "");
        EXPECT_EQ(nodes.journal.count("Resync done"), 0u);
        nodes.run_for(100);
        // Demotion waits for the barrier acks: nothing is left in the log.
        EXPECT_TRUE(nodes.secondary(0).ok());
        EXPECT_EQ(nodes.journal.count("BAD! BarrierAck"), 0u);
    }
}

// What TCP has taken is complete under protocol A, and its data are gone: it could not be sent again.
TEST_F(FencingTest, StonithDoesNotGoWithProtocolA) {
    TwoNodes nodes(8, [](Scenario& s) {
        with(Fencing::dont_care)(s);
        s.net.protocol = config::Protocol::a;
    });
    nodes.mirrored();
    config::DiskOptions options = nodes.scenario.disk;
    options.fencing = Fencing::resource_and_stonith;
    const engine::Reply refused = nodes.command(0, [&options](engine::Resource& r, engine::Done done) {
        r.change_disk_options(0, options, std::move(done));
    });
    EXPECT_EQ(refused.code, engine::error_code::stonith_and_protocol_a);
}

// The link is lost again in the middle of it.
TEST_F(FencingTest, WhatIsSentAgainIsLostAgain) {
    for (uint64_t delay_us = 0; delay_us < 40'000; delay_us += 1000) {
        TwoNodes nodes(8, with(Fencing::resource_and_stonith));
        nodes.mirrored();
        answer(nodes, 1);
        nodes.cable().cut();
        for (uint8_t i = 0; i < 50; ++i) nodes.start_write(0, i * 64u, 8, i);
        ASSERT_TRUE(nodes.run_until([&] { return nodes.state(0).susp_fen; }));
        nodes.cable().mend();
        ASSERT_TRUE(nodes.run_until([&] { return nodes.state(1).conn == ConnState::connected; }));
        const uint64_t end_us = nodes.scheduler.now_us() + delay_us;
        while (nodes.scheduler.now_us() < end_us && nodes.scheduler.step()) {
        }
        nodes.cable().reset_all();
        ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync() && nodes.ended() == 50; }));
        EXPECT_EQ(nodes.errors(), 0u);
        EXPECT_EQ(nodes.difference(), "");
        EXPECT_TRUE(nodes.secondary(0).ok());
    }
}

// The peer has lost what it acknowledged before a flush; nothing tells but that it was marked.
TEST_F(FencingTest, ARestartedPeerIsResynced) {
    TwoNodes nodes(8, with(Fencing::resource_and_stonith));
    nodes.mirrored();
    answer(nodes, 1);
    for (uint8_t i = 0; i < 20; ++i) EXPECT_EQ(nodes.write(0, i * 64u, 8, i), 0);
    nodes.start_write(0, 5000, 8, 1);
    nodes.node(1).stop(true);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(0).susp_fen; }));
    nodes.node(1).start();
    ASSERT_TRUE(nodes.attach(1).ok());
    EXPECT_EQ(nodes.state(1).disk, DiskState::consistent);
    ASSERT_TRUE(nodes.connect(1).ok());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync() && nodes.ended() == 21; }));
    EXPECT_EQ(nodes.difference(), "");
}

// The peer is back, but without its disk: what is not sent to it must not pass for equal when it attaches.
TEST_F(FencingTest, APeerThatComesBackDisklessLacksWhatWasFrozen) {
    TwoNodes nodes(8, with(Fencing::resource_and_stonith));
    nodes.mirrored();
    answer(nodes, 1);
    nodes.cable().cut();
    for (uint8_t i = 0; i < 20; ++i) nodes.start_write(0, i * 64u, 8, i);
    ASSERT_TRUE(nodes.run_until(
        [&] { return nodes.state(0).susp_fen && nodes.state(1).conn < ConnState::connected; }));
    ASSERT_TRUE(
        nodes.command(1, [](engine::Resource& r, engine::Done done) { r.detach(0, false, std::move(done)); })
            .ok());
    nodes.cable().mend();
    ASSERT_TRUE(nodes.run_until([&] { return nodes.ended() == 20; }));
    EXPECT_EQ(nodes.errors(), 0u);
    EXPECT_FALSE(nodes.state(0).susp_fen);
    ASSERT_TRUE(nodes.attach(1).ok());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
    EXPECT_EQ(nodes.difference(), "");
}

TEST_F(FencingTest, ResourceOnlyGoesOnMeanwhile) {
    TwoNodes nodes(8, with(Fencing::resource_only));
    nodes.mirrored();
    answer(nodes, 4);
    cut(nodes);
    EXPECT_EQ(nodes.write(0, 0, 8, 1), 0);
    EXPECT_EQ(nodes.state(0).pdsk, DiskState::d_unknown);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(0).pdsk == DiskState::outdated; }));
    EXPECT_FALSE(nodes.state(0).susp_fen);
}

TEST_F(FencingTest, TheExitCodeSaysWhatThePeerIs) {
    const struct {
        int exit_code;
        DiskState pdsk;
    } rows[] = {{3, DiskState::inconsistent}, {4, DiskState::outdated}, {5, DiskState::outdated},
                {6, DiskState::d_unknown},    {7, DiskState::outdated}, {0, DiskState::d_unknown}};
    for (const auto& row : rows) {
        TwoNodes nodes(8, with(Fencing::resource_only));
        nodes.mirrored();
        answer(nodes, row.exit_code);
        cut(nodes);
        nodes.run_for(10'000);
        EXPECT_EQ(nodes.state(0).pdsk, row.pdsk) << row.exit_code;
        EXPECT_EQ(nodes.state(0).disk, DiskState::up_to_date);
    }
}

TEST_F(FencingTest, ThePromotionWithoutAPeerAsks) {
    for (const int exit_code : {4, 1}) {
        TwoNodes nodes(8, with(Fencing::resource_only));
        nodes.mirrored();
        ASSERT_TRUE(nodes.secondary(0).ok());
        answer(nodes, exit_code);
        cut(nodes);
        ASSERT_TRUE(nodes.run_until([&] { return nodes.state(1).conn < ConnState::connected; }));
        const engine::Reply promoted = nodes.primary(1);
        EXPECT_EQ(promoted.code, exit_code == 4 ? 1 : -7);
        if (exit_code == 4) continue;
        EXPECT_TRUE(nodes
                        .command(1, [](engine::Resource& r,
                                       engine::Done done) { r.primary(0, {true}, std::move(done)); })
                        .ok());
        EXPECT_EQ(nodes.state(1).pdsk, DiskState::outdated);
    }
}

TEST_F(FencingTest, ADiskThatMayBeOldIsRaisedByFencingOnly) {
    TwoNodes nodes(8, with(Fencing::resource_only));
    nodes.mirrored();
    ASSERT_TRUE(nodes.secondary(0).ok());
    for (const unsigned side : {0u, 1u}) nodes.node(side).stop(true);
    nodes.node(1).start();
    answer(nodes, 1, 10);
    ASSERT_TRUE(nodes.attach(1).ok());
    EXPECT_EQ(nodes.state(1).disk, DiskState::consistent);
    EXPECT_EQ(nodes.primary(1).code, -2);
    answer(nodes, 5, 10);
    EXPECT_EQ(nodes.primary(1).code, -2) << "5 says nothing to a node that is not UpToDate";
    answer(nodes, 4, 10);
    EXPECT_EQ(nodes.primary(1).code, 1);
    EXPECT_EQ(nodes.state(1).disk, DiskState::up_to_date);
}

TEST_F(FencingTest, ADisconnectOutdatesTheSecondary) {
    for (const unsigned asks : {0u, 1u}) {
        TwoNodes nodes(8, with(Fencing::resource_only));
        nodes.mirrored();
        answer(nodes, 1);
        ASSERT_TRUE(nodes.disconnect(asks).ok());
        nodes.run_for(1000);
        EXPECT_EQ(nodes.state(1).disk, DiskState::outdated);
        EXPECT_EQ(nodes.state(0).pdsk, DiskState::outdated);
        EXPECT_EQ(nodes.journal.count("handler fence-peer"), 0u);
        EXPECT_EQ(nodes.primary(1).code, -2);
        EXPECT_EQ(nodes.write(0, 0, 8, 3), 0);
        ASSERT_TRUE(nodes.connect(asks).ok());
        ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
        EXPECT_EQ(nodes.difference(), "");
    }
}

TEST_F(FencingTest, SuspendedIoWaits) {
    TwoNodes nodes(8);
    nodes.mirrored();
    ASSERT_TRUE(
        nodes.command(0, [](engine::Resource& r, engine::Done done) { r.suspend_io(0, std::move(done)); })
            .ok());
    nodes.start_write(0, 0, 8, 1);
    nodes.run_for(5000);
    EXPECT_EQ(nodes.ended(), 0u);
    ASSERT_TRUE(
        nodes.command(0, [](engine::Resource& r, engine::Done done) { r.resume_io(0, std::move(done)); })
            .ok());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.ended() == 1; }));
    // A peer that is lost meanwhile has to catch up afterwards.
    ASSERT_TRUE(
        nodes.command(0, [](engine::Resource& r, engine::Done done) { r.suspend_io(0, std::move(done)); })
            .ok());
    nodes.node(1).stop(true);
    nodes.run_for(30'000);
    ASSERT_TRUE(
        nodes.command(0, [](engine::Resource& r, engine::Done done) { r.resume_io(0, std::move(done)); })
            .ok());
    EXPECT_EQ(nodes.write(0, 80, 8, 1), 0);
    nodes.node(1).start();
    ASSERT_TRUE(nodes.attach(1).ok());
    ASSERT_TRUE(nodes.connect(1).ok());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
    EXPECT_EQ(nodes.difference(), "");
}

TEST_F(FencingTest, WithoutDataIoWaitsForThemIfToldTo) {
    for (const bool disk_comes_back : {false, true}) {
        TwoNodes nodes(8, [](Scenario& s) {
            s.resource.on_no_data_accessible = config::OnNoData::suspend_io;
            s.net.ping_int_s = 1;
            s.net.connect_int_s = 1;
        });
        nodes.mirrored();
        ASSERT_TRUE(nodes
                        .command(0, [](engine::Resource& r,
                                       engine::Done done) { r.detach(0, false, std::move(done)); })
                        .ok());
        EXPECT_EQ(nodes.write(0, 0, 8, 5), 0);
        nodes.cable().cut();
        for (uint8_t i = 0; i < 30; ++i) nodes.start_write(0, 100u + 8u * i, 8, i);
        nodes.run_for(30'000);
        EXPECT_EQ(nodes.ended(), 1u);
        EXPECT_TRUE(nodes.state(0).susp_nod);
        if (disk_comes_back) {
            EXPECT_EQ(nodes.attach(0).code, 150) << "it lacks what the applications saw";
        }
        nodes.cable().mend();
        ASSERT_TRUE(nodes.run_until([&] { return nodes.ended() == 31; }));
        EXPECT_EQ(nodes.errors(), 0u);
        ASSERT_TRUE(nodes.attach(0).ok());
        ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
        EXPECT_EQ(nodes.difference(), "");
        std::vector<uint8_t> data;
        EXPECT_EQ(nodes.read(0, 100 + 8 * 29, 8, data), 0);
        EXPECT_EQ(data, std::vector<uint8_t>(4096, 29));
    }
}

// The only disk in reach is forced off, at each moment of the writes under way: they wait for it to come
// back.
TEST_F(FencingTest, WhatIsUnderWayWaitsForAForcedDetachToBeUndone) {
    for (uint64_t delay_us = 0; delay_us < 4000; delay_us += 100) {
        TwoNodes nodes(8, [](Scenario& s) {
            s.resource.on_no_data_accessible = config::OnNoData::suspend_io;
            s.net.ping_int_s = 1;
            s.net.connect_int_s = 1;
        });
        nodes.mirrored();
        cut(nodes);
        for (uint8_t i = 0; i < 30; ++i) nodes.start_write(0, 8u * i, 8, i);
        const uint64_t end_us = nodes.scheduler.now_us() + delay_us;
        while (nodes.scheduler.now_us() < end_us && nodes.scheduler.step()) {
        }
        ASSERT_TRUE(nodes
                        .command(0, [](engine::Resource& r,
                                       engine::Done done) { r.detach(0, true, std::move(done)); })
                        .ok());
        nodes.run_for(10'000);
        EXPECT_TRUE(nodes.state(0).susp_nod);
        EXPECT_EQ(nodes.errors(), 0u) << delay_us;
        ASSERT_TRUE(nodes.attach(0).ok());
        ASSERT_TRUE(nodes.run_until([&] { return nodes.ended() == 30; }));
        EXPECT_EQ(nodes.errors(), 0u) << delay_us;
        nodes.cable().mend();
        ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
        EXPECT_EQ(nodes.difference(), "");
        std::vector<uint8_t> data;
        EXPECT_EQ(nodes.read(0, 8 * 29, 8, data), 0);
        EXPECT_EQ(data, std::vector<uint8_t>(4096, 29));
    }
}

}  // namespace
}  // namespace duplex::sim
