#include "sim/scheduler.hpp"

namespace duplex::sim {

Scheduler::EventId Scheduler::after(uint64_t delay_us, Handler handler) {
    const EventId id = next_id_++;
    queue_.push({now_us_ + delay_us, id});
    handlers_.emplace(id, std::move(handler));
    return id;
}

bool Scheduler::step() {
    while (!queue_.empty()) {
        const Entry entry = queue_.top();
        queue_.pop();
        const auto found = handlers_.find(entry.id);
        if (found == handlers_.end()) continue;
        const Handler handler = std::move(found->second);
        handlers_.erase(found);
        now_us_ = entry.time_us;
        ++events_;
        note(entry.time_us);
        note(entry.id);
        handler();
        return true;
    }
    return false;
}

}  // namespace duplex::sim
