#include "engine/interval_set.hpp"

namespace duplex::engine {

void IntervalSet::insert(Interval& interval) {
    ensure(interval.first < interval.end);
    if (is_long(interval))
        long_.push_back(interval);
    else
        bucket(interval.first.value / chunk_sectors).push_back(interval);
}

void IntervalSet::remove(Interval& interval) {
    if (is_long(interval))
        long_.remove(interval);
    else
        bucket(interval.first.value / chunk_sectors).remove(interval);
}

Interval* IntervalSet::find_conflict(Sector first, Sector end, const Interval* self) {
    Interval* found = nullptr;
    for_each_conflict(first, end, self, [&found](Interval& other) {
        found = &other;
        return false;
    });
    return found;
}

}  // namespace duplex::engine
