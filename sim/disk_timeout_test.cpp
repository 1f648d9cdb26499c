#include <gtest/gtest.h>

#include "sim/two_nodes.hpp"

namespace duplex::sim {
namespace {

using engine::ConnState;
using engine::DiskState;

class DiskTimeoutTest : public testing::Test {
  protected:
    static std::function<void(Scenario&)> with(uint32_t timeout_ds, bool external_meta = false) {
        return [=](Scenario& s) {
            s.disk.disk_timeout_ds = timeout_ds;
            s.external_meta = {external_meta, external_meta};
        };
    }
    static void come_back(TwoNodes& nodes) {
        ASSERT_TRUE(nodes.run_until([&] { return nodes.state(0).disk == DiskState::diskless; }));
        ASSERT_TRUE(nodes.attach(0).ok());
        ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
        EXPECT_EQ(nodes.difference(), "");
    }
};

TEST_F(DiskTimeoutTest, AHungDiskIsGivenUpAndThePeerHasTheData) {
    TwoNodes nodes(8, with(50));
    nodes.mirrored();
    for (uint8_t i = 0; i < 20; ++i) EXPECT_EQ(nodes.write(0, i * 8u, 8, i), 0);
    nodes.node(0).data_disk().hang();
    const uint64_t start_us = nodes.scheduler.now_us();
    for (uint8_t i = 0; i < 20; ++i) nodes.start_write(0, 1000u + i * 8u, 8, i);
    nodes.start_flush(0);
    nodes.start_read(0, 19 * 8, 8);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.ended() > 20; }));
    const uint64_t waited_ms = (nodes.scheduler.now_us() - start_us) / 1000;
    EXPECT_GE(waited_ms, 4990u);
    EXPECT_LT(waited_ms, 6000u);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.ended() == 42; }));
    EXPECT_EQ(nodes.last_read(), std::vector<uint8_t>(4096, 19));
    EXPECT_EQ(nodes.errors(), 0u);
    EXPECT_EQ(nodes.journal.count("failed to meet the disk-timeout"), 1u);
    EXPECT_EQ(nodes.state(0).disk, DiskState::failed);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(1).pdsk == DiskState::failed; }));
    // Life goes on at the peer, also while the disk still holds its requests.
    for (uint8_t i = 0; i < 20; ++i) EXPECT_EQ(nodes.write(0, 1000u + i * 8u, 8, i + 100), 0);
    std::vector<uint8_t> data;
    EXPECT_EQ(nodes.read(0, 1000, 8, data), 0);
    EXPECT_EQ(data, std::vector<uint8_t>(4096, 100));
    nodes.node(0).data_disk().go_on();
    come_back(nodes);
    EXPECT_EQ(nodes.errors(), 0u);
}

// Only the meta data disk hangs: found with the first transaction of the activity log.
TEST_F(DiskTimeoutTest, HungMetaDataAreGivenUp) {
    TwoNodes nodes(64, with(50, true));
    nodes.mirrored();
    nodes.node(0).meta_disk().hang();
    for (uint8_t i = 0; i < 10; ++i) nodes.start_write(0, i * 8192u, 8, i);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.ended() == 10; }, 12'000));
    EXPECT_EQ(nodes.errors(), 0u);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(1).pdsk == DiskState::failed; }, 1000));
    EXPECT_EQ(nodes.write(0, 8, 8, 3), 0);
    nodes.node(0).meta_disk().go_on();
    come_back(nodes);
}

TEST_F(DiskTimeoutTest, ADiskThatIsOnlySlowStays) {
    TwoNodes nodes(8, with(50));
    nodes.mirrored();
    nodes.start_write(0, 0, 8, 1);
    nodes.node(0).data_disk().hang();
    nodes.run_for(4800);
    nodes.node(0).data_disk().go_on();
    ASSERT_TRUE(nodes.run_until([&] { return nodes.ended() == 1; }, 100));
    nodes.run_for(60'000);
    EXPECT_TRUE(nodes.in_sync());
}

TEST_F(DiskTimeoutTest, OffItWaitsForEverAndDetachByForceEndsIt) {
    TwoNodes nodes(8, with(0));
    nodes.mirrored();
    nodes.node(0).data_disk().hang();
    for (uint8_t i = 0; i < 10; ++i) nodes.start_write(0, i * 8u, 8, i);
    nodes.run_for(600'000);
    EXPECT_EQ(nodes.ended(), 0u);
    ASSERT_TRUE(
        nodes.command(0, [](engine::Resource& r, engine::Done done) { r.detach(0, true, std::move(done)); })
            .ok());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.ended() == 10; }, 1000));
    EXPECT_EQ(nodes.errors(), 0u);
    nodes.node(0).data_disk().go_on();
    come_back(nodes);
}

// The Secondary's disk hangs and is given up by force: the Primary hears a refusal for what is at it.
TEST_F(DiskTimeoutTest, TheSecondarysHungDiskIsGivenUp) {
    TwoNodes nodes(8, with(0));
    nodes.mirrored();
    nodes.node(1).data_disk().hang();
    for (uint8_t i = 0; i < 10; ++i) nodes.start_write(0, i * 8u, 8, i);
    nodes.run_for(2000);
    EXPECT_EQ(nodes.ended(), 0u);
    ASSERT_TRUE(
        nodes.command(1, [](engine::Resource& r, engine::Done done) { r.detach(0, true, std::move(done)); })
            .ok());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.ended() == 10; }, 1000));
    EXPECT_EQ(nodes.errors(), 0u);
    EXPECT_EQ(nodes.out_of_sync(0), 10u);
    nodes.node(1).data_disk().go_on();
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(1).disk == DiskState::diskless; }));
    ASSERT_TRUE(nodes.attach(1).ok());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
    EXPECT_EQ(nodes.difference(), "");
}

// The peer is not there: what the hung disk has fails, and no earlier than disk-timeout says.
TEST_F(DiskTimeoutTest, AloneTheRequestsFail) {
    TwoNodes nodes(8, with(50));
    nodes.mirrored();
    ASSERT_TRUE(nodes.disconnect(0).ok());
    EXPECT_EQ(nodes.write(0, 0, 8, 1), 0);
    nodes.node(0).data_disk().hang();
    for (uint8_t i = 0; i < 10; ++i) nodes.start_write(0, i * 8u, 8, i);
    nodes.run_for(4500);
    EXPECT_EQ(nodes.ended(), 1u);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.ended() == 11; }, 1500));
    EXPECT_EQ(nodes.errors(), 10u);
}

}  // namespace
}  // namespace duplex::sim
