#include "engine/resync_throttle.hpp"

#include <gtest/gtest.h>

namespace duplex::engine {
namespace {

TEST(ResyncThrottle, OnlyWhileTheApplicationsAreBusy) {
    ResyncThrottle throttle;
    EXPECT_FALSE(throttle.steps_back(false, 1000, 250));
    EXPECT_TRUE(throttle.steps_back(true, 1000, 250));
    throttle.application_io(64 * 512);
    EXPECT_FALSE(throttle.steps_back(false, 1000, 250));
    throttle.application_io(32 * 512);
    throttle.application_io(33 * 512);
    EXPECT_TRUE(throttle.steps_back(false, 1000, 250));
    EXPECT_FALSE(throttle.steps_back(false, 1000, 250)) << "nothing since";
}

TEST(ResyncThrottle, NotBelowTheMinimumRate) {
    ResyncThrottle throttle;
    EXPECT_FALSE(throttle.steps_back(true, 250, 250));
    EXPECT_TRUE(throttle.steps_back(true, 251, 250));
    EXPECT_FALSE(throttle.steps_back(true, 100'000, 0)) << "0 is off";
}

}  // namespace
}  // namespace duplex::engine
