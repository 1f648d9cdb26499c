// The writes in flight of one volume, local and the peer's, by the range they touch: so that no two
// overlapping ones are at a disk at the same time (states 10.2). Intervals hash by the MiB they start in;
// since data is at most 1 MiB long, a query looks at the MiBs of its range and the one before. Longer ones
// (discards) are kept apart.
#pragma once

#include <array>
#include <cstdint>

#include "base/list.hpp"
#include "base/units.hpp"

namespace duplex::engine {

struct Interval : ListNode<Interval> {
    Sector first;
    Sector end;  // exclusive
    bool local = false;
    bool completed = false;  // reported complete to the application; no longer a conflict

    bool overlaps(Sector other_first, Sector other_end) const {
        return first < other_end && other_first < end;
    }
    bool covers(const Interval& other) const { return first <= other.first && other.end <= end; }
};

class IntervalSet {
  public:
    void insert(Interval& interval);
    void remove(Interval& interval);
    bool contains(const Interval& interval) const { return interval.linked(); }

    // One that is not `self`, not completed and overlaps [first, end); nullptr if there is none.
    Interval* find_conflict(Sector first, Sector end, const Interval* self);

    // Calls visit(interval) for every other overlapping, not completed interval until it returns false.
    template <typename Visit>
    void for_each_conflict(Sector first, Sector end, const Interval* self, Visit visit) {
        const uint64_t first_chunk = first.value / chunk_sectors;
        const uint64_t end_chunk = (end.value - 1) / chunk_sectors + 1;
        const uint64_t start = first_chunk > 0 ? first_chunk - 1 : 0;
        const uint64_t stop = end_chunk - start > bucket_count ? start + bucket_count : end_chunk;
        for (uint64_t chunk = start; chunk < stop; ++chunk)
            for (Interval& other : bucket(chunk))
                if (&other != self && !other.completed && other.overlaps(first, end) && !visit(other)) return;
        for (Interval& other : long_)
            if (&other != self && !other.completed && other.overlaps(first, end) && !visit(other)) return;
    }

  private:
    static constexpr uint64_t chunk_sectors = (uint64_t{1} << 20) / sector_bytes;
    static constexpr uint64_t bucket_count = 256;
    using Bucket = List<Interval, Interval>;

    static bool is_long(const Interval& interval) { return interval.end - interval.first > chunk_sectors; }
    Bucket& bucket(uint64_t chunk) { return buckets_[chunk % bucket_count]; }

    std::array<Bucket, bucket_count> buckets_;
    Bucket long_;
};

}  // namespace duplex::engine
