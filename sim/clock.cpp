#include "sim/clock.hpp"

namespace duplex::sim {

void Clock::arm(engine::Timer& timer, uint64_t delay_ms) {
    if (timer.linked()) armed_.remove(timer);
    timer.deadline_ms = now_ms() + delay_ms;
    auto at = armed_.begin();
    while (at != armed_.end() && at->deadline_ms <= timer.deadline_ms) ++at;
    if (at == armed_.end())
        armed_.push_back(timer);
    else
        armed_.insert_before(*at, timer);
    schedule();
}

void Clock::cancel(engine::Timer& timer) {
    if (!timer.linked()) return;
    armed_.remove(timer);
    schedule();
}

void Clock::power_off() {
    armed_.clear();
    schedule();
}

void Clock::schedule() {
    scheduler_.cancel(event_);
    event_ = 0;
    if (armed_.empty()) return;
    const uint64_t deadline_us = (armed_.front().deadline_ms - offset_ms_) * 1000;
    const uint64_t now_us = scheduler_.now_us();
    event_ = scheduler_.after(deadline_us > now_us ? deadline_us - now_us : 0, [this] { fire(); });
}

void Clock::fire() {
    event_ = 0;
    while (!armed_.empty() && armed_.front().deadline_ms <= now_ms()) armed_.pop_front().fired();
    if (event_ == 0) schedule();
    turn_.turn();
}

}  // namespace duplex::sim
