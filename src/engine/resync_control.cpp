#include "engine/resync_control.hpp"

#include <algorithm>
#include <utility>

namespace duplex::engine {

int64_t ResyncControl::planned_sectors(const config::DiskOptions& options, int64_t answered) {
    const int64_t steps = options.c_plan_ahead_ds;
    if (static_cast<int64_t>(plan_.size()) != steps) {
        plan_.assign(static_cast<size_t>(steps), 0);
        plan_at_ = 0;
        plan_total_ = 0;
    }
    int64_t wanted = 0;
    if (in_flight_sectors_ + answered == 0)
        wanted = (options.resync_rate_kib / 5) * steps;
    else if (options.c_fill_target_sectors > 0)
        wanted = options.c_fill_target_sectors;
    else
        wanted = answered * options.c_delay_target_ds;

    const int64_t correction = wanted - in_flight_sectors_ - plan_total_;
    const int64_t per_step = correction / steps;
    for (int64_t& slot : plan_) slot += per_step;
    plan_total_ += per_step * steps;

    const int64_t now = plan_[plan_at_];
    plan_[plan_at_] = 0;
    plan_at_ = (plan_at_ + 1) % plan_.size();
    plan_total_ -= now;
    return std::clamp<int64_t>(answered + now, 0, options.c_max_rate_kib / 5);
}

int64_t ResyncControl::blocks_this_tick(const config::DiskOptions& options, int64_t max_blocks_in_flight) {
    const int64_t answered = std::exchange(answered_sectors_, 0);
    in_flight_sectors_ -= answered;
    int64_t blocks = 0;
    if (options.c_plan_ahead_ds == 0) {
        blocks = options.resync_rate_kib / 40;
        wanted_kib_ = options.resync_rate_kib;
    } else {
        blocks = planned_sectors(options, answered) / 8;
        wanted_kib_ = static_cast<uint64_t>(blocks * 40);
    }
    return std::min(blocks, max_blocks_in_flight - in_flight_sectors_ / 8);
}

}  // namespace duplex::engine
