#include "engine/sync_marks.hpp"

#include <gtest/gtest.h>

namespace duplex::engine {
namespace {

TEST(SyncMarks, ReferToTheBeginningAtFirst) {
    SyncMarks marks;
    marks.begin(1000, 500);
    marks.advance(2000, 400);
    marks.advance(4000, 300);
    EXPECT_EQ(marks.reference().time_ms, 1000u);
    EXPECT_EQ(marks.reference().left_bits, 500u);
}

TEST(SyncMarks, ReferToWhatIsAbout18SecondsOld) {
    SyncMarks marks;
    marks.begin(0, 100'000);
    for (uint64_t now_ms = 100; now_ms <= 60'000; now_ms += 100) marks.advance(now_ms, 100'000 - now_ms);
    EXPECT_EQ(marks.reference().time_ms, 60'000u - 18'000u);
    EXPECT_EQ(marks.reference().left_bits, 100'000u - 42'000u);
}

TEST(SyncMarks, StandStillWithTheSync) {
    SyncMarks marks;
    marks.begin(0, 100'000);
    for (uint64_t now_ms = 100; now_ms <= 30'000; now_ms += 100) marks.advance(now_ms, 100'000 - now_ms);
    for (uint64_t now_ms = 30'100; now_ms <= 300'000; now_ms += 100) marks.advance(now_ms, 70'000);
    EXPECT_EQ(marks.reference().time_ms, 12'000u);
}

}  // namespace
}  // namespace duplex::engine
