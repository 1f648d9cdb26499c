// The one queue that drives a simulated world: events ordered by virtual time, then by the order in which
// they were scheduled. Nothing in a simulation happens outside an event, so a seed determines the whole run;
// the digest over the events shows it.
#pragma once

#include <cstdint>
#include <functional>
#include <queue>
#include <unordered_map>
#include <vector>

#include "base/random.hpp"

namespace duplex::sim {

class Scheduler {
  public:
    using Handler = std::function<void()>;
    using EventId = uint64_t;  // never 0

    explicit Scheduler(uint64_t seed) : random(seed) {}

    uint64_t now_us() const { return now_us_; }
    EventId after(uint64_t delay_us, Handler handler);
    // Harmless for an event that has happened, and for 0.
    void cancel(EventId id) { handlers_.erase(id); }

    // Runs the next event; false when there is none.
    bool step();

    // Mixes something worth comparing between two runs of a seed into the digest.
    void note(uint64_t value) { digest_ = (digest_ ^ value) * 0x100000001b3; }
    uint64_t digest() const { return digest_; }
    uint64_t events() const { return events_; }

    // All chance in the world comes from here.
    Random random;

  private:
    struct Entry {
        uint64_t time_us;
        EventId id;
        bool operator>(const Entry& other) const {
            return time_us != other.time_us ? time_us > other.time_us : id > other.id;
        }
    };

    std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue_;
    std::unordered_map<EventId, Handler> handlers_;
    EventId next_id_ = 1;
    uint64_t now_us_ = 0;
    uint64_t digest_ = 0xcbf29ce484222325;
    uint64_t events_ = 0;
};

}  // namespace duplex::sim
