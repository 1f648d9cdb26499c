#include "engine/resync_control.hpp"

#include <array>

#include <gtest/gtest.h>

namespace duplex::engine {
namespace {

// states 12.4, the worked example for single-block requests: n blocks per tick, each answered within the
// tick.
TEST(ResyncControl, WorkedExample) {
    ResyncControl control;
    const config::DiskOptions defaults;
    for (const int64_t expected : {6, 7, 8, 9, 10, 11}) {
        const int64_t blocks = control.blocks_this_tick(defaults, 1024);
        EXPECT_EQ(blocks, expected);
        control.requested(blocks * 8);
        control.answered(blocks * 8);
    }
}

// The second example: a full resync, where a tick may ask for one block more.
TEST(ResyncControl, WorkedExampleOfAFullResync) {
    ResyncControl control;
    const config::DiskOptions defaults;
    const std::array<std::array<int64_t, 2>, 6> rows{
        {{6, 56}, {8, 72}, {10, 88}, {12, 104}, {14, 120}, {16, 136}}};
    for (const auto& [expected, requested] : rows) {
        EXPECT_EQ(control.blocks_this_tick(defaults, 1024), expected);
        control.requested(requested);
        control.answered(requested);
    }
}

TEST(ResyncControl, FixedRateAndTheLimitInFlight) {
    ResyncControl control;
    config::DiskOptions options;
    options.c_plan_ahead_ds = 0;
    options.resync_rate_kib = 30 << 10;
    EXPECT_EQ(control.blocks_this_tick(options, 1024), 768);
    control.requested(768 * 8);
    EXPECT_EQ(control.blocks_this_tick(options, 1024), 256);
    control.requested(256 * 8);
    EXPECT_EQ(control.blocks_this_tick(options, 1024), 0);
    control.withdrawn(100 * 8);
    EXPECT_EQ(control.blocks_this_tick(options, 1024), 100);
}

}  // namespace
}  // namespace duplex::engine
