#include "engine/sync_marks.hpp"

#include <gtest/gtest.h>

namespace duplex::engine {
namespace {

TEST(SyncMarks, SpeedIsThatOfTheLastMarks) {
    SyncMarks marks;
    marks.begin(1000, 10'000);
    EXPECT_EQ(marks.recent_kib(1000, 10'000), 0u);
    marks.mark(3999, 9000);  // too early
    EXPECT_EQ(marks.recent_kib(4000, 9700), 400u);
    marks.mark(4000, 9700);
    marks.mark(7000, 9400);
    // Over the mark before the last one: 900 bits in 5 s.
    EXPECT_EQ(marks.recent_kib(9000, 8800), 720u);
}

TEST(SyncMarks, PausesDoNotCount) {
    SyncMarks marks;
    marks.begin(0, 1000);
    marks.pause(2000);
    marks.mark(6000, 900);  // no marks while paused
    const SyncProgress paused = marks.progress(10'000, 500);
    EXPECT_EQ(paused.paused_ms, 8000u);
    EXPECT_EQ(paused.average_speed_kib, 1000u);
    marks.resume(12'000);
    EXPECT_EQ(marks.paused_s(), 10u);
    EXPECT_EQ(marks.running_s(14'000), 14u);
    EXPECT_EQ(marks.average_kib(14'000, 1000), 1000u);
}

TEST(SyncMarks, StalledAfterThreeMinutesWithoutAMark) {
    SyncMarks marks;
    marks.begin(0, 1000);
    EXPECT_FALSE(marks.progress(180'000, 1000).stalled);
    EXPECT_TRUE(marks.progress(180'001, 1000).stalled);
}

}  // namespace
}  // namespace duplex::engine
