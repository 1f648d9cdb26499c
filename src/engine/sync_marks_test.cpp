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
    marks.resume(12'000);
    EXPECT_EQ(marks.paused_s(), 10u);
    EXPECT_EQ(marks.running_s(14'000), 14u);
    EXPECT_EQ(marks.average_kib(14'000, 1000), 1000u);
}

TEST(SyncMarks, ReferenceIsAbout18SecondsOldAndStandsStillWithTheSync) {
    SyncMarks marks;
    marks.begin(0, 100'000);
    for (uint64_t now_ms = 100; now_ms <= 30'000; now_ms += 100) marks.mark(now_ms, 100'000 - now_ms);
    for (uint64_t now_ms = 30'100; now_ms <= 300'000; now_ms += 100) marks.mark(now_ms, 70'000);
    EXPECT_EQ(marks.progress(300'000, 70'000).mark_ms, 12'000u);
    EXPECT_EQ(marks.progress(300'000, 70'000).mark_left_bits, 88'000u);
}

}  // namespace
}  // namespace duplex::engine
