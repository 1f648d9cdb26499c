#include "engine/activity_log.hpp"

#include <gtest/gtest.h>

namespace duplex::engine {
namespace {

using Get = ActivityLog::Get;

TEST(ActivityLog, ColdExtentNeedsATransaction) {
    ActivityLog log(67);
    EXPECT_EQ(log.get_hot(AlExtent(5)), Get::wait);
    EXPECT_EQ(log.get(AlExtent(5)), Get::granted);
    EXPECT_EQ(log.get_hot(AlExtent(5)), Get::wait);  // not before the commit
    ASSERT_EQ(log.changes().size(), 1u);
    EXPECT_EQ(log.changes()[0].slot, 66u);
    EXPECT_FALSE(log.is_hot(AlExtent(5)));
    log.lock();
    EXPECT_EQ(log.get(AlExtent(6)), Get::wait);  // the transaction is being written
    EXPECT_EQ(log.get(AlExtent(5)), Get::wait);
    log.commit();
    EXPECT_TRUE(log.is_hot(AlExtent(5)));
    EXPECT_EQ(log.get_hot(AlExtent(5)), Get::granted);
    log.put(AlExtent(5));
    log.put(AlExtent(5));
    EXPECT_TRUE(log.is_hot(AlExtent(5)));
    EXPECT_FALSE(log.in_use(AlExtent(5)));
}

TEST(ActivityLog, EvictsTheLeastRecentlyReleased) {
    ActivityLog log(3);
    for (uint64_t e = 0; e < 3; ++e) EXPECT_EQ(log.get(AlExtent(e)), Get::granted);
    log.commit();
    log.put(AlExtent(1));
    log.put(AlExtent(0));
    log.put(AlExtent(2));
    EXPECT_EQ(log.get(AlExtent(9)), Get::granted);
    EXPECT_EQ(log.changes()[0].old_label, 1u);
    EXPECT_FALSE(log.is_hot(AlExtent(1)));
    log.commit();
    EXPECT_TRUE(log.is_hot(AlExtent(9)));
}

TEST(ActivityLog, StarvationStopsHitsToo) {
    ActivityLog log(1);
    EXPECT_EQ(log.get(AlExtent(0)), Get::granted);
    log.commit();
    EXPECT_EQ(log.get(AlExtent(1)), Get::wait);
    EXPECT_EQ(log.get_hot(AlExtent(0)), Get::wait);
    log.put(AlExtent(0));
    EXPECT_EQ(log.get_hot(AlExtent(0)), Get::granted);
    log.put(AlExtent(0));
    EXPECT_EQ(log.get(AlExtent(1)), Get::granted);
    log.put(AlExtent(1));
    log.commit();
    EXPECT_EQ(log.used(), 0u);
    log.clear();
    EXPECT_FALSE(log.is_hot(AlExtent(1)));
}

TEST(ActivityLog, ATransactionIsLimited) {
    ActivityLog log(1237);
    for (uint64_t e = 0; e < 64; ++e) EXPECT_EQ(log.get(AlExtent(e)), Get::granted);
    EXPECT_EQ(log.get(AlExtent(64)), Get::wait);
    log.commit();
    EXPECT_EQ(log.get(AlExtent(64)), Get::granted);
}

}  // namespace
}  // namespace duplex::engine
