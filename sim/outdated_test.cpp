// A disk that is outdated, or may be, and a Primary that has no good data of its own: only that Primary knows
// whether these are the data that its users have seen (states 5.8, invariants I12, I15).
#include <gtest/gtest.h>

#include "sim/two_nodes.hpp"

namespace duplex::sim {
namespace {

using config::OnIoError;
using engine::ConnState;
using engine::DiskState;
using engine::Role;

class OutdatedTest : public testing::Test {
  protected:
    static std::function<void(Scenario&)> with(OnIoError policy) {
        return [policy](Scenario& s) {
            s.disk.fencing = config::Fencing::resource_only;
            s.disk.on_io_error = policy;
            s.net.ping_int_s = 1;
            s.net.connect_int_s = 1;
        };
    }
    // Node 1 is outdated and lacks the last write; the disk of node 0, the Primary, fails.
    static void outdate(TwoNodes& nodes) {
        nodes.mirrored();
        ASSERT_EQ(nodes.write(0, 0, 8, 1), 0);
        ASSERT_TRUE(nodes.disconnect(1).ok());
        ASSERT_EQ(nodes.state(1).disk, DiskState::outdated);
        ASSERT_EQ(nodes.write(0, 0, 8, 2), 0);
        nodes.node(0).data_disk().broken = {8, 16, 100, true, false};
        std::vector<uint8_t> data;
        EXPECT_NE(nodes.read(0, 8, 8, data), 0);
        nodes.node(0).data_disk().broken = {};
        nodes.run_for(1000);
        ASSERT_LT(nodes.state(0).disk, DiskState::consistent);
    }
    static bool outdated_on_disk(TwoNodes& nodes, unsigned side) {
        const meta::Superblock stored = *nodes.node(side).meta_data().superblock();
        return stored.has(meta::flag::consistent) && !stored.has(meta::flag::was_up_to_date);
    }
};

TEST_F(OutdatedTest, IsNotUpToDateBecauseAPrimaryThatRefusesItHasNoData) {
    for (const OnIoError policy : {OnIoError::detach, OnIoError::pass_on}) {
        TwoNodes nodes(8, with(policy));
        outdate(nodes);
        const engine::UuidSet before = nodes.node(1).meta_data().uuids();
        bool claims = false;
        ASSERT_TRUE(nodes.connect(1).ok());
        ASSERT_TRUE(nodes.run_until([&] {
            claims |= nodes.state(1).disk == DiskState::up_to_date || !outdated_on_disk(nodes, 1);
            return nodes.state(0).conn == ConnState::stand_alone &&
                   nodes.state(1).conn == ConnState::wf_connection;
        }));
        nodes.run_for(1000);
        EXPECT_FALSE(claims);
        EXPECT_EQ(nodes.journal.count("Can only connect to data with current UUID"), 1u);
        EXPECT_EQ(nodes.state(1).disk, DiskState::outdated);
        EXPECT_TRUE(outdated_on_disk(nodes, 1));
        EXPECT_EQ(engine::text_of(nodes.node(1).meta_data().uuids()), engine::text_of(before));
        EXPECT_FALSE(nodes.primary(1).ok()) << "it would show old data";
        if (policy == OnIoError::pass_on) continue;
        // The good data come back, and there is no split brain.
        ASSERT_TRUE(nodes.node(0).meta_data().apply_al().ok());
        ASSERT_TRUE(nodes.attach(0).ok());
        ASSERT_TRUE(nodes.connect(0).ok());
        ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
        std::vector<uint8_t> data;
        ASSERT_EQ(nodes.read(0, 0, 8, data), 0);
        EXPECT_EQ(data[0], 2);
        EXPECT_EQ(nodes.difference(), "");
    }
}

// Whoever outdated it was wrong: these are the data. Its users' requests can arrive
// before its answer.
TEST_F(OutdatedTest, IsUpToDateWhenThePrimaryTakesItsData) {
    for (const bool frozen : {true, false}) {
        TwoNodes nodes(8, [frozen](Scenario& s) {
            with(OnIoError::detach)(s);
            if (frozen) s.resource.on_no_data_accessible = config::OnNoData::suspend_io;
        });
        nodes.mirrored();
        ASSERT_TRUE(
            nodes.command(0, [](engine::Resource& r, engine::Done d) { r.detach(0, false, std::move(d)); })
                .ok());
        ASSERT_EQ(nodes.write(0, 0, 8, 1), 0);
        nodes.cable().cut();
        ASSERT_TRUE(nodes.run_until([&] {
            return nodes.state(0).conn == ConnState::wf_connection &&
                   nodes.state(1).conn == ConnState::wf_connection;
        }));
        ASSERT_TRUE(
            nodes.command(1, [](engine::Resource& r, engine::Done d) { r.outdate(0, std::move(d)); }).ok());
        ASSERT_EQ(nodes.state(1).disk, DiskState::outdated);
        const size_t before = nodes.ended();
        if (frozen) nodes.start_write(0, 8, 8, 2);
        nodes.cable().mend();
        ASSERT_TRUE(nodes.run_until([&] { return nodes.state(0).conn == ConnState::connected; }));
        if (!frozen) nodes.start_write(0, 8, 8, 2);
        ASSERT_TRUE(nodes.run_until([&] { return nodes.ended() > before; }));
        EXPECT_EQ(nodes.errors(), 0u);
        EXPECT_EQ(nodes.state(1).disk, DiskState::up_to_date);
        EXPECT_FALSE(outdated_on_disk(nodes, 1));
        ASSERT_TRUE(nodes.node(0).meta_data().apply_al().ok());
        ASSERT_TRUE(nodes.attach(0).ok());
        ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
        EXPECT_EQ(nodes.difference(), "");
    }
}

// The node with the newer data has given its disk back, and is nobody's Primary: nothing says whose data
// these are (I12). A promotion of either has to be forced where the disk is.
TEST_F(OutdatedTest, IsNotUpToDateBecauseASecondaryHasNoData) {
    TwoNodes nodes(8, with(OnIoError::detach));
    nodes.mirrored();
    ASSERT_TRUE(nodes.disconnect(1).ok());
    ASSERT_EQ(nodes.state(1).disk, DiskState::outdated);
    ASSERT_EQ(nodes.write(0, 0, 8, 2), 0);
    ASSERT_TRUE(nodes.secondary(0).ok());
    const auto detach = [](engine::Resource& r, engine::Done d) { r.detach(0, false, std::move(d)); };
    ASSERT_TRUE(nodes.command(0, detach).ok());
    ASSERT_TRUE(nodes.connect(1).ok());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.connected(); }));
    nodes.run_for(1000);
    EXPECT_EQ(nodes.state(1).disk, DiskState::outdated);
    EXPECT_EQ(nodes.state(0).pdsk, DiskState::outdated);
    EXPECT_TRUE(outdated_on_disk(nodes, 1));
    for (const unsigned side : {0u, 1u}) {
        const engine::Reply refused = nodes.primary(side);
        EXPECT_EQ(refused.code, static_cast<int>(wire::StateChangeResult::no_up_to_date_disk)) << side;
        EXPECT_EQ(nodes.state(side).role, Role::secondary) << side;
    }
    ASSERT_TRUE(nodes.node(0).meta_data().apply_al().ok());
    ASSERT_TRUE(nodes.attach(0).ok());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
    ASSERT_TRUE(nodes.primary(1).ok());
    std::vector<uint8_t> data;
    ASSERT_EQ(nodes.read(1, 0, 8, data), 0);
    EXPECT_EQ(data[0], 2);
    EXPECT_EQ(nodes.difference(), "");
}

TEST_F(OutdatedTest, IsUpToDateBeforeASecondaryWithoutDataWhenForced) {
    TwoNodes nodes(8, with(OnIoError::detach));
    nodes.mirrored();
    ASSERT_TRUE(nodes.secondary(0).ok());
    const auto detach = [](engine::Resource& r, engine::Done d) { r.detach(0, false, std::move(d)); };
    ASSERT_TRUE(nodes.command(0, detach).ok());
    const auto outdate = [](engine::Resource& r, engine::Done d) { r.outdate(0, std::move(d)); };
    ASSERT_TRUE(nodes.command(1, outdate).ok());
    ASSERT_EQ(nodes.state(1).disk, DiskState::outdated);
    ASSERT_FALSE(nodes.primary(1).ok());
    const auto force = [](engine::Resource& r, engine::Done d) { r.primary(0, {true}, std::move(d)); };
    ASSERT_TRUE(nodes.command(1, force).ok());
    EXPECT_EQ(nodes.state(1).disk, DiskState::up_to_date);
    EXPECT_FALSE(outdated_on_disk(nodes, 1));
    ASSERT_EQ(nodes.write(1, 8, 8, 3), 0);
    ASSERT_TRUE(nodes.node(0).meta_data().apply_al().ok());
    ASSERT_TRUE(nodes.attach(0).ok());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
    EXPECT_EQ(nodes.difference(), "");
}

}  // namespace
}  // namespace duplex::sim
