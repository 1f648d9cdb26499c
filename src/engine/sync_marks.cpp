#include "engine/sync_marks.hpp"

#include <algorithm>

namespace duplex::engine {

namespace {

constexpr uint64_t kib_per_bit = 4;

}  // namespace

void SyncMarks::begin(uint64_t now_ms, uint64_t total_bits) {
    *this = SyncMarks();
    total_bits_ = total_bits;
    started_ms_ = now_ms;
    std::fill_n(mark_ms_, marks, now_ms);
    std::fill_n(mark_left_, marks, total_bits);
}

void SyncMarks::pause(uint64_t now_ms) {
    if (!paused_) pause_began_ms_ = now_ms;
    paused_ = true;
}

void SyncMarks::resume(uint64_t now_ms) {
    paused_ms_ = paused_ms(now_ms);
    paused_ = false;
}

void SyncMarks::mark(uint64_t now_ms, uint64_t left_bits) {
    if (paused_ || now_ms - mark_ms_[at_] < mark_interval_ms || left_bits == mark_left_[at_]) return;
    at_ = (at_ + 1) % marks;
    mark_ms_[at_] = now_ms;
    mark_left_[at_] = left_bits;
}

uint64_t SyncMarks::paused_ms(uint64_t now_ms) const {
    return paused_ms_ + (paused_ ? now_ms - pause_began_ms_ : 0);
}

uint64_t SyncMarks::average_kib(uint64_t now_ms, uint64_t done_bits) const {
    return done_bits * kib_per_bit / std::max<uint64_t>((now_ms - started_ms_ - paused_ms(now_ms)) / 1000, 1);
}

uint64_t SyncMarks::speed_kib_since(size_t mark, uint64_t now_ms, uint64_t left_bits) const {
    const uint64_t seconds = std::max<uint64_t>((now_ms - mark_ms_[mark]) / 1000, 1);
    const uint64_t done = mark_left_[mark] > left_bits ? mark_left_[mark] - left_bits : 0;
    return done * kib_per_bit / seconds;
}

uint64_t SyncMarks::recent_kib(uint64_t now_ms, uint64_t left_bits) const {
    return speed_kib_since((at_ + marks - 1) % marks, now_ms, left_bits);
}

SyncProgress SyncMarks::progress(uint64_t now_ms, uint64_t left_bits) const {
    const size_t reference = (at_ + 2) % marks;
    SyncProgress p;
    p.total_bits = total_bits_;
    p.left_bits = left_bits;
    p.started_ms = started_ms_;
    p.now_ms = now_ms;
    p.paused_ms = paused_ms(now_ms);
    p.mark_ms = mark_ms_[reference];
    p.mark_left_bits = mark_left_[reference];
    return p;
}

}  // namespace duplex::engine
