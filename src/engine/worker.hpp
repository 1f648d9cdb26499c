// The deferred actions of state changes, one after the other in the order of the changes (states 2.8):
// P_STATE packets leave in that order, and a new current UUID is on stable storage before anything behind it
// happens.
#pragma once

#include <deque>
#include <functional>
#include <optional>

#include "engine/task.hpp"

namespace duplex::engine {

class Worker {
  public:
    using Job = std::function<Task<>()>;

    explicit Worker(Executor& executor) : more_(executor), became_idle(executor), task_(work()) {}

    void add(Job job) {
        jobs_.push_back(std::move(job));
        more_.notify();
    }
    bool idle() const { return jobs_.empty() && !busy_; }
    // Forgets everything, the job that runs included.
    void drop() {
        task_.reset();
        jobs_.clear();
    }

  private:
    Task<> work() {
        for (;;) {
            while (jobs_.empty()) {
                busy_ = false;
                became_idle.notify();
                auto woken = more_.wait();
                co_await woken;
            }
            busy_ = true;
            const Job job = std::move(jobs_.front());
            jobs_.pop_front();
            Task<> done = job();
            co_await done;
        }
    }

    std::deque<Job> jobs_;
    bool busy_ = false;
    Event more_;

  public:
    Event became_idle;

  private:
    std::optional<Task<>> task_;
};

}  // namespace duplex::engine
