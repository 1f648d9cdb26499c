// A disk with errors that stays in use (on-io-error pass_on).
#include <gtest/gtest.h>

#include "sim/two_nodes.hpp"

namespace duplex::sim {
namespace {

using engine::DiskState;

// The peer, Primary too, does not send its writes to such a disk, and does not say where they are (states
// 9.3): what a reader finds there may be old.
TEST(PassOn, ADiskThatThePeersWritesPassByIsNotRead) {
    TwoNodes nodes(8, [](Scenario& s) {
        s.net.allow_two_primaries = true;
        s.disk.on_io_error = config::OnIoError::pass_on;
    });
    nodes.mirrored();
    ASSERT_TRUE(nodes.primary(1).ok());
    ASSERT_EQ(nodes.write(0, 64, 8, 1), 0);
    nodes.node(1).data_disk().broken = {1024, 1032, 100, true, true, false};
    ASSERT_EQ(nodes.write(0, 1024, 8, 2), 0);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(0).pdsk == DiskState::inconsistent; }));
    nodes.node(1).data_disk().broken = {};
    ASSERT_EQ(nodes.write(0, 64, 8, 3), 0);
    std::vector<uint8_t> data;
    ASSERT_EQ(nodes.read(1, 64, 8, data), 0);
    EXPECT_EQ(data[0], 3);
    nodes.node(0).stop(false);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(1).pdsk < DiskState::up_to_date; }));
    EXPECT_NE(nodes.read(1, 64, 8, data), 0);
}

}  // namespace
}  // namespace duplex::sim
