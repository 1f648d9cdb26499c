// How long a peer may be silent (wire protocol 14; invariant I54).
#include <gtest/gtest.h>

#include "sim/two_nodes.hpp"

namespace duplex::sim {
namespace {

using engine::ConnState;

class SilentPeerTest : public testing::Test {
  protected:
    static constexpr uint64_t timeout_ms = 2000, ko_count = 3, ping_int_ms = 5000, ping_timeout_ms = 500;

    SilentPeerTest()
        : nodes(8, [](Scenario& s) {
              s.net.timeout_ds = timeout_ms / 100;
              s.net.ko_count = ko_count;
              s.net.ping_int_s = ping_int_ms / 1000;
              s.net.ping_timeout_ds = ping_timeout_ms / 100;
          }) {
        nodes.mirrored();
        // Not in the first ko-count timeouts of a connection.
        nodes.run_for(2 * ko_count * timeout_ms);
    }
    uint64_t ms_until_dropped() {
        const uint64_t start_us = nodes.scheduler.now_us();
        EXPECT_TRUE(nodes.run_until([&] { return nodes.state(0).conn < ConnState::connected; }));
        return (nodes.scheduler.now_us() - start_us) / 1000;
    }

    TwoNodes nodes;
};

TEST_F(SilentPeerTest, APeerThatAnswersPingsButNoWriteIsDropped) {
    nodes.node(1).data_disk().hang();
    nodes.start_write(0, 0, 8, 1);
    const uint64_t waited_ms = ms_until_dropped();
    EXPECT_GE(waited_ms, ko_count * timeout_ms);
    EXPECT_LE(waited_ms, 2 * ko_count * timeout_ms);
    EXPECT_EQ(nodes.journal.count("Remote failed to finish a request within ko-count * timeout"), 1u);
    ASSERT_TRUE(nodes.run_until([&] { return nodes.ended() == 1; }));
    EXPECT_EQ(nodes.errors(), 0u);
    nodes.node(1).data_disk().go_on();
    ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
    EXPECT_EQ(nodes.difference(), "");
}

TEST_F(SilentPeerTest, ACableThatIsCutIsNoticed) {
    nodes.cable().cut();
    const uint64_t waited_ms = ms_until_dropped();
    EXPECT_LE(waited_ms, ping_int_ms + ping_timeout_ms);
    EXPECT_GE(nodes.journal.count("PingAck did not arrive in time."), 1u);
}

}  // namespace
}  // namespace duplex::sim
