#include "engine/interval_set.hpp"

#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.hpp"

namespace duplex::engine {
namespace {

// Against the plain definition, over random intervals of all lengths up to a 128 MiB discard.
TEST(IntervalSet, FindsExactlyTheOverlapping) {
    Random random(3);
    IntervalSet set;
    std::vector<std::unique_ptr<Interval>> intervals;
    for (int round = 0; round < 3000; ++round) {
        auto interval = std::make_unique<Interval>();
        const uint64_t length = random.chance(5) ? random.between(1, 262144) : random.between(1, 2048);
        interval->first = Sector(random.below(uint64_t{1} << 21));
        interval->end = interval->first + length;
        interval->completed = random.chance(10);
        bool expected = false;
        for (const auto& other : intervals)
            if (!other->completed && other->overlaps(interval->first, interval->end)) expected = true;
        ASSERT_EQ(set.find_conflict(interval->first, interval->end, nullptr) != nullptr, expected);
        set.insert(*interval);
        intervals.push_back(std::move(interval));
        while (intervals.size() > 64) {
            const size_t victim = random.below(intervals.size());
            set.remove(*intervals[victim]);
            intervals.erase(intervals.begin() + static_cast<long>(victim));
        }
    }
    for (const auto& interval : intervals) set.remove(*interval);
}

}  // namespace
}  // namespace duplex::engine
