#include <gtest/gtest.h>

#include "sim/two_nodes.hpp"

namespace duplex::sim {
namespace {

using engine::ConnState;
using engine::Reply;
using engine::VerifyCommand;

class VerifyTest : public testing::Test {
  protected:
    static TwoNodes::Command verify(VerifyCommand wanted = {}) {
        return [wanted](engine::Resource& r, engine::Done done) { r.verify(0, wanted, std::move(done)); };
    }
    static bool ended(TwoNodes& nodes) {
        return nodes.run_until([&] { return nodes.connected(); });
    }
    static void reconnect(TwoNodes& nodes) {
        ASSERT_TRUE(nodes.disconnect(0).ok());
        ASSERT_TRUE(nodes.connect(0).ok());
        ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
    }
};

TEST_F(VerifyTest, MarksWhatDiffersOnBothNodesAndTheReconnectRepairsIt) {
    for (const unsigned source : {0u, 1u}) {
        TwoNodes nodes(8);
        nodes.mirrored();
        nodes.write(0, 0, 256, 7);
        for (const uint64_t sector : {72, 80, 4096, 16383}) nodes.damage(1, sector);
        EXPECT_TRUE(nodes.command(source, verify()).ok());
        EXPECT_EQ(nodes.state(source).conn, ConnState::verify_s);
        EXPECT_EQ(nodes.state(1 - source).conn, ConnState::verify_t);
        ASSERT_TRUE(ended(nodes));
        EXPECT_EQ(nodes.out_of_sync(0), 4u);
        EXPECT_EQ(nodes.out_of_sync(1), 4u);
        EXPECT_EQ(nodes.journal.count("Out of sync: start=4096, size=8 (sectors)"), 2u);
        EXPECT_EQ(nodes.journal.count("Online verify found 4 4k block out of sync!"), 2u);
        nodes.run_for(100);
        EXPECT_EQ(nodes.journal.count("handler out-of-sync"), 2u);
        reconnect(nodes);
        EXPECT_EQ(nodes.difference(), "");
    }
}

TEST_F(VerifyTest, FindsNothingWhereNothingDiffersUnderLoad) {
    TwoNodes nodes(40, [](Scenario& s) { s.disk.resync_rate_kib = 4000; });
    nodes.mirrored();
    ASSERT_TRUE(nodes.command(1, verify()).ok());
    uint64_t sector = 0;
    while (nodes.state(0).conn == ConnState::verify_t) {
        for (uint8_t i = 0; i < 8; ++i, sector = (sector + 977 * 8) % (40 * 2048 - 64))
            nodes.start_write(0, sector, 16, i);
        nodes.run_for(20);
    }
    ASSERT_TRUE(ended(nodes));
    EXPECT_EQ(nodes.errors(), 0u);
    EXPECT_EQ(nodes.journal.count("Online verify found"), 0u);
    EXPECT_EQ(nodes.journal.count("Online verify done"), 2u);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
    EXPECT_EQ(nodes.difference(), "");
}

TEST_F(VerifyTest, LooksAtTheGivenRangeAndGoesOnWhereItEnded) {
    TwoNodes nodes(8);
    nodes.mirrored();
    for (const uint64_t sector : {0, 1000, 2000, 3000}) nodes.damage(1, sector);
    ASSERT_TRUE(nodes.command(0, verify({803, 1600})).ok());
    ASSERT_TRUE(ended(nodes));
    EXPECT_EQ(nodes.out_of_sync(0), 1u);
    EXPECT_EQ(nodes.out_of_sync(1), 1u);
    EXPECT_EQ(nodes.journal.count("Starting Online Verify from sector 800"), 1u);
    EXPECT_EQ(nodes.journal.count("Online Verify reached sector 1600"), 2u);
    ASSERT_TRUE(nodes.command(0, verify()).ok());
    ASSERT_TRUE(ended(nodes));
    EXPECT_EQ(nodes.journal.count("Starting Online Verify from sector 1600"), 1u);
    EXPECT_EQ(nodes.out_of_sync(0), 3u);
    ASSERT_TRUE(nodes.command(0, verify()).ok());
    ASSERT_TRUE(ended(nodes));
    EXPECT_EQ(nodes.journal.count("Starting Online Verify from sector 0"), 1u);
    EXPECT_EQ(nodes.out_of_sync(0), 4u);
    EXPECT_EQ(nodes.out_of_sync(1), 4u);
}

TEST_F(VerifyTest, ASecondCommandStopsIt) {
    TwoNodes nodes(64, [](Scenario& s) { s.disk.resync_rate_kib = 1000; });
    nodes.mirrored();
    ASSERT_TRUE(nodes.command(0, verify()).ok());
    nodes.run_for(500);
    EXPECT_TRUE(nodes.command(0, verify({std::nullopt, 0})).ok());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.connected(); }, 3000));
    EXPECT_EQ(nodes.journal.count("Online Verify reached sector"), 2u);
}

TEST_F(VerifyTest, EndsWithTheConnectionOrADisk) {
    for (const unsigned side : {0u, 1u}) {
        TwoNodes nodes(64, [](Scenario& s) { s.disk.resync_rate_kib = 1000; });
        nodes.mirrored();
        ASSERT_TRUE(nodes.command(0, verify()).ok());
        nodes.run_for(500);
        EXPECT_TRUE(nodes.disconnect(side).ok());
        EXPECT_TRUE(nodes.connect(side).ok());
        ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
        ASSERT_TRUE(nodes.command(0, verify()).ok());
        EXPECT_EQ(nodes.journal.count("Starting Online Verify from sector 0"), 1u);
        nodes.run_for(500);
        const Reply detached = nodes.command(
            side, [](engine::Resource& r, engine::Done done) { r.detach(0, false, std::move(done)); });
        EXPECT_TRUE(detached.ok()) << detached.code;
        ASSERT_TRUE(ended(nodes));
        ASSERT_TRUE(nodes.attach(side).ok());
        ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
        nodes.write(0, 0, 8, 9);
        EXPECT_EQ(nodes.difference(), "");
    }
}

TEST_F(VerifyTest, AReadErrorIsADifference) {
    for (const unsigned broken : {0u, 1u}) {
        TwoNodes nodes(8, [](Scenario& s) { s.disk.on_io_error = config::OnIoError::pass_on; });
        nodes.mirrored();
        ASSERT_TRUE(nodes.secondary(0).ok());
        nodes.node(broken).data_disk().broken = {800, 801, 100, true, false};
        ASSERT_TRUE(nodes.command(0, verify()).ok());
        ASSERT_TRUE(ended(nodes));
        EXPECT_EQ(nodes.out_of_sync(0), 1u);
        EXPECT_EQ(nodes.out_of_sync(1), 1u);
    }
}

// A block that cannot be read is in nobody's way; one that lacks a write is older than what was acknowledged.
TEST_F(VerifyTest, AWriteThatADiskLacksEndsIt) {
    for (const unsigned source : {0u, 1u})
        for (const unsigned broken : {0u, 1u}) {
            TwoNodes nodes(8, [](Scenario& s) {
                s.disk.on_io_error = config::OnIoError::pass_on;
                s.disk.resync_rate_kib = 1000;
            });
            nodes.mirrored();
            ASSERT_EQ(nodes.write(0, 800, 8, 1), 0);
            ASSERT_TRUE(nodes.command(source, verify()).ok());
            nodes.node(broken).data_disk().broken = {800, 801, 100, false, true};
            EXPECT_EQ(nodes.write(0, 800, 8, 2), 0) << "the other disk has it";
            ASSERT_TRUE(nodes.run_until([&] {
                return nodes.state(0).conn == ConnState::connected &&
                       nodes.state(1).conn == ConnState::connected;
            }));
            nodes.run_for(100);
            EXPECT_EQ(nodes.state(broken).disk, engine::DiskState::inconsistent);
            EXPECT_EQ(nodes.state(1 - broken).pdsk, engine::DiskState::inconsistent);
            std::vector<uint8_t> data;
            EXPECT_EQ(nodes.read(0, 800, 8, data), 0);
            EXPECT_EQ(data, std::vector<uint8_t>(4096, 2));
            nodes.node(broken).data_disk().broken = {};
            ASSERT_TRUE(nodes.secondary(0).ok());
            reconnect(nodes);
            EXPECT_EQ(nodes.difference(), "");
        }
}

TEST_F(VerifyTest, IsRefusedWhereItCannotRun) {
    TwoNodes without(8, [](Scenario& s) { s.net.verify_alg = ""; });
    without.mirrored();
    EXPECT_EQ(without.command(0, verify()).code, -14);
    TwoNodes alone(8);
    ASSERT_TRUE(alone.attach(0).ok());
    EXPECT_EQ(alone.command(0, verify()).code, -15);
    EXPECT_EQ(alone.command(1, verify()).code, 138);
    TwoNodes nodes(8, [](Scenario& s) { s.disk.resync_rate_kib = 1000; });
    nodes.mirrored();
    ASSERT_TRUE(nodes.command(0, verify()).ok());
    EXPECT_EQ(nodes.command(1, verify()).code, -8) << "the peer verifies";
    config::NetOptions other = nodes.scenario.net;
    other.verify_alg = "md5";
    EXPECT_EQ(nodes
                  .command(0, [&](engine::Resource& r,
                                  engine::Done done) { r.change_net_options(other, std::move(done)); })
                  .code,
              149);
}

}  // namespace
}  // namespace duplex::sim
