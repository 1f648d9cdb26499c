#include <gtest/gtest.h>

#include "base/ensure.hpp"
#include "sim/two_nodes.hpp"

namespace duplex::sim {
namespace {

using engine::DiskState;

TwoNodes::Command detach(bool force) {
    return [force](engine::Resource& r, engine::Done done) { r.detach(0, force, std::move(done)); };
}

// Node 0 is Primary without a disk, and its users have seen data that its disk does not have. The I/O of that
// disk takes so long that what happens to the peer meets the attach in its middle.
class StaleDiskTest : public testing::Test {
  protected:
    StaleDiskTest()
        : nodes(8, [](Scenario& s) {
              s.disks[0].delay_us_min = s.disks[0].delay_us_max = 50'000;
              s.net.connect_int_s = 1;
          }) {
        nodes.mirrored();
        ensure(nodes.write(0, 0, 8, 1) == 0);
        ensure(nodes.command(0, detach(false)).ok());
        ensure(nodes.write(0, 0, 8, 2) == 0);
    }

    void start_attach() {
        ensure(nodes.node(0).meta_data().apply_al().ok());
        nodes.start_command(0, [this](engine::Resource& r, engine::Done done) {
            r.attach(0, nodes.node(0).attach_command(), std::move(done));
        });
    }
    bool reaches(DiskState disk) {
        return nodes.run_until([this, disk] { return nodes.state(0).disk == disk; });
    }
    // I52.
    void expect_no_older_data() {
        std::vector<uint8_t> data;
        if (nodes.read(0, 0, 8, data) == 0) {
            EXPECT_EQ(data[0], 2);
        }
        EXPECT_NE(nodes.state(0).disk, DiskState::up_to_date);
    }

    TwoNodes nodes;
};

TEST_F(StaleDiskTest, IsRefusedWhenTheConnectionBreaksDuringTheAttach) {
    start_attach();
    ASSERT_TRUE(reaches(DiskState::attaching));
    nodes.cable().reset_all();
    ASSERT_TRUE(nodes.run_until([this] { return nodes.answered(); }));
    EXPECT_EQ(nodes.answer().code, engine::error_code::data_not_current);
    expect_no_older_data();
    ASSERT_TRUE(nodes.run_until([this] { return nodes.connected(); }));
    ASSERT_TRUE(nodes.attach(0).ok());
    ASSERT_TRUE(nodes.run_until([this] { return nodes.in_sync(); }));
    EXPECT_EQ(nodes.difference(), "");
}

TEST_F(StaleDiskTest, IsNotUsedWhenThePeersDiskFailsDuringTheAttach) {
    for (const DiskState at : {DiskState::attaching, DiskState::negotiating}) {
        start_attach();
        ASSERT_TRUE(reaches(at));
        ASSERT_TRUE(nodes.command(1, detach(true)).ok());
        ASSERT_TRUE(nodes.run_until([this] { return nodes.answered(); }));
        nodes.run_for(1000);
        expect_no_older_data();
        // Apart: while they are connected, node 1 takes what node 0 offered for what users have seen.
        ASSERT_TRUE(nodes.disconnect(1).ok());
        ASSERT_TRUE(nodes.attach(1).ok());
        ASSERT_TRUE(nodes.connect(1).ok());
        ASSERT_TRUE(nodes.run_until([this] { return nodes.state(0).pdsk == DiskState::up_to_date; }));
    }
}

// The generation is the peer's, from when it was Primary; the users' write is on its disk alone (I52).
TEST(DisklessPrimary, DoesNotAttachADiskFromBeforeThePeersGeneration) {
    TwoNodes nodes(8);
    nodes.mirrored();
    ASSERT_TRUE(nodes.secondary(0).ok());
    ASSERT_TRUE(nodes.command(1, detach(false)).ok());
    ASSERT_TRUE(nodes.primary(0).ok());
    ASSERT_TRUE(nodes.secondary(0).ok());
    ASSERT_TRUE(nodes.primary(1).ok());
    ASSERT_EQ(nodes.write(1, 64, 8, 1), 0);
    nodes.cable().cut();
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(1).conn == engine::ConnState::wf_connection; }));
    ASSERT_TRUE(nodes.node(1).meta_data().apply_al().ok());
    EXPECT_EQ(nodes.attach(1).code, engine::error_code::data_not_current);
    nodes.cable().mend();
    ASSERT_TRUE(nodes.run_until([&] { return nodes.connected(); }));
    std::vector<uint8_t> data;
    ASSERT_EQ(nodes.read(1, 64, 8, data), 0);
    EXPECT_EQ(data[0], 1);
    ASSERT_TRUE(nodes.attach(1).ok());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
    EXPECT_EQ(nodes.difference(), "");
}

// The peer's disk fails where it should take the generation of the Primary without one, and the peer is lost
// in the middle of the attach: what the users write from then on is a generation of its own (I28, I33).
TEST(DisklessPrimary, BeginsAGenerationWhenThePeerIsLostDuringTheAttach) {
    TwoNodes nodes(8, [](Scenario& s) { s.net.connect_int_s = 1; });
    nodes.mirrored();
    nodes.node(1).data_disk().broken = {0, nodes.node(1).data_disk().limits().size_sectors, 100, false, true};
    ASSERT_TRUE(nodes.command(0, detach(false)).ok());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(0).pdsk == DiskState::diskless; }));
    nodes.node(1).data_disk().broken = {};
    ASSERT_TRUE(nodes.node(0).meta_data().apply_al().ok());
    nodes.start_command(0, [&](engine::Resource& r, engine::Done done) {
        r.attach(0, nodes.node(0).attach_command(), std::move(done));
    });
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(0).disk == DiskState::negotiating; }));
    nodes.cable().reset_all();
    nodes.cable().cut();
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(0).disk != DiskState::negotiating; }));
    ASSERT_EQ(nodes.state(0).disk, DiskState::up_to_date);
    ASSERT_EQ(nodes.write(0, 64, 8, 1), 0);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(1).conn < engine::ConnState::connected; }));
    ASSERT_TRUE(nodes.node(1).meta_data().apply_al().ok());
    ASSERT_TRUE(nodes.attach(1).ok());
    nodes.cable().mend();
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(0).conn == engine::ConnState::stand_alone; }));
    // The failed write of the peer's generation is stable after all: not that the users' data are the older.
    EXPECT_EQ(nodes.journal.count("Split-Brain detected but unresolved"), 2u);
    EXPECT_EQ(nodes.journal.count("I shall become SyncTarget"), 0u);
}

}  // namespace
}  // namespace duplex::sim
