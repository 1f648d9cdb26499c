#include <gtest/gtest.h>

#include "sim/two_nodes.hpp"

namespace duplex::sim {
namespace {

using engine::ConnState;
using engine::Role;

// Both nodes have been Primary and written without each other; both are Secondary and StandAlone.
void split(TwoNodes& nodes) {
    nodes.mirrored();
    ASSERT_TRUE(nodes.disconnect(0).ok());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.state(1).conn == ConnState::wf_connection; }));
    ASSERT_TRUE(nodes.disconnect(1).ok());
    ASSERT_TRUE(nodes.primary(1).ok());
    for (const unsigned side : {0u, 1u}) {
        ASSERT_EQ(nodes.write(side, 0, 8, static_cast<uint8_t>(1 + side)), 0);
        ASSERT_TRUE(nodes.secondary(side).ok());
    }
}

// The faster one drops the connection while the handlers of the other one still run.
TEST(SplitBrainTest, BothGiveUpHoweverLongTheirHandlersTake) {
    for (const unsigned slow : {0u, 1u}) {
        TwoNodes nodes(8);
        split(nodes);
        nodes.node(slow).host().model().delay_us_max = 20'000'000;
        nodes.node(1 - slow).host().model().delay_us_max = 0;
        ASSERT_TRUE(nodes.connect(0).ok());
        ASSERT_TRUE(nodes.connect(1).ok());
        EXPECT_TRUE(nodes.run_until([&] {
            return nodes.journal.count("handler split-brain") == 2 &&
                   nodes.state(0).conn == ConnState::stand_alone &&
                   nodes.state(1).conn == ConnState::stand_alone;
        })) << slow;
        EXPECT_EQ(nodes.journal.count("handler initial-split-brain"), 2u);
    }
}

// The faster one drops the connection when what it has said is still on its way.
TEST(SplitBrainTest, BothHearOfItHoweverLateThePackets) {
    for (uint64_t latency_ms = 1; latency_ms <= 20; ++latency_ms) {
        TwoNodes nodes(8);
        split(nodes);
        nodes.cable().model.latency_us_max = latency_ms * 1000;
        for (const unsigned side : {0u, 1u}) nodes.node(side).host().model().delay_us_max = 0;
        ASSERT_TRUE(nodes.connect(0).ok());
        ASSERT_TRUE(nodes.connect(1).ok());
        EXPECT_TRUE(nodes.run_until([&] {
            return nodes.state(0).conn == ConnState::stand_alone &&
                   nodes.state(1).conn == ConnState::stand_alone;
        })) << latency_ms;
        EXPECT_EQ(nodes.journal.count("Split-Brain detected"), 2u) << latency_ms;
    }
}

}  // namespace
}  // namespace duplex::sim
