#include "engine/resync_after.hpp"

#include <map>

#include <gtest/gtest.h>

namespace duplex::engine {
namespace {

constexpr ResyncAfter idle_first{-1, true, false};
constexpr ResyncAfter busy_first{-1, true, true};

bool may(unsigned minor, const std::map<unsigned, ResyncAfter>& node) {
    return may_sync_now(minor, [&node](unsigned wanted) -> std::optional<ResyncAfter> {
        const auto found = node.find(wanted);
        return found == node.end() ? std::nullopt : std::optional(found->second);
    });
}

TEST(ResyncAfterTest, TheWholeChainHasToBeIdle) {
    EXPECT_TRUE(may(2, {{2, {1, true, true}}, {1, {0, true, false}}, {0, idle_first}}));
    EXPECT_FALSE(may(2, {{2, {1, true, true}}, {1, {0, true, false}}, {0, busy_first}}));
    EXPECT_FALSE(may(2, {{2, {1, true, true}}, {1, {0, true, true}}, {0, idle_first}}));
    EXPECT_TRUE(may(0, {{2, {1, true, true}}, {1, {0, true, true}}, {0, busy_first}}));
}

TEST(ResyncAfterTest, ItEndsAtAMinorThatHasNoDiskOrIsNotThere) {
    EXPECT_TRUE(may(2, {{2, {1, true, true}}, {1, {0, false, true}}, {0, busy_first}}));
    EXPECT_TRUE(may(2, {{2, {1, true, true}}}));
    EXPECT_TRUE(may(7, {}));
}

TEST(ResyncAfterTest, ARingIsNoTrap) {
    EXPECT_TRUE(may(0, {{0, {1, true, true}}, {1, {0, true, false}}}));
    EXPECT_TRUE(may(0, {{0, {0, true, true}}}));
}

}  // namespace
}  // namespace duplex::engine
