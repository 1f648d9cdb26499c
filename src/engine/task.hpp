// Coroutines for the cold procedures: attach, handshake, promotion, clean-up after a lost connection. They
// read like the spec's pseudo-code and wait for disks, timers and state changes. The data path does not use
// them.
//
// Everything resumes from Executor::run(), never from inside the call that made it ready; so no procedure
// finds the engine changed under it between two of its own waits.
//
// g++ 12 destroys some temporaries twice when they stand in one full expression with co_await. Therefore:
// co_await only named variables.
#pragma once

#include <coroutine>
#include <exception>
#include <utility>

#include "base/ensure.hpp"
#include "base/list.hpp"
#include "engine/ports.hpp"

namespace duplex::engine {

// One suspended coroutine: in an Event's list of waiters, or ready to run, or neither.
class Waiter : public ListNode<Waiter> {
  public:
    Waiter() = default;
    ~Waiter() { unlink(); }

    void link(List<Waiter, Waiter>& list) {
        list.push_back(*this);
        list_ = &list;
    }
    void unlink() {
        if (list_) list_->remove(*this);
        list_ = nullptr;
    }

    std::coroutine_handle<> coroutine;

  private:
    List<Waiter, Waiter>* list_ = nullptr;
};

class Executor {
  public:
    void make_ready(Waiter& waiter) {
        waiter.unlink();
        waiter.link(ready_);
    }
    // Resumes what is ready, including what becomes ready meanwhile.
    void run() {
        while (!ready_.empty()) {
            Waiter& waiter = ready_.front();
            waiter.unlink();
            waiter.coroutine.resume();
        }
    }
    bool idle() const { return ready_.empty(); }

  private:
    List<Waiter, Waiter> ready_;
};

// A coroutine that starts at once and runs to its first wait. Awaiting it waits for its end. Destroying it
// drops it where it stands, with everything it holds.
template <typename T = void>
class [[nodiscard]] Task;

namespace detail {

struct FinalAwaiter {
    bool await_ready() noexcept { return false; }
    template <typename Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> finished) noexcept {
        const std::coroutine_handle<> next = finished.promise().continuation;
        return next ? next : std::noop_coroutine();
    }
    void await_resume() noexcept {}
};

struct PromiseBase {
    std::coroutine_handle<> continuation;
    std::suspend_never initial_suspend() noexcept { return {}; }
    FinalAwaiter final_suspend() noexcept { return {}; }
    void unhandled_exception() { std::terminate(); }
};

}  // namespace detail

template <typename T>
class [[nodiscard]] Task {
  public:
    struct promise_type : detail::PromiseBase {
        T value{};
        Task get_return_object() { return Task(std::coroutine_handle<promise_type>::from_promise(*this)); }
        void return_value(T v) { value = std::move(v); }
    };

    Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    Task& operator=(Task&& other) noexcept {
        if (handle_) handle_.destroy();
        handle_ = std::exchange(other.handle_, nullptr);
        return *this;
    }
    ~Task() {
        if (handle_) handle_.destroy();
    }

    bool done() const { return handle_.done(); }
    bool await_ready() const { return handle_.done(); }
    void await_suspend(std::coroutine_handle<> waiting) { handle_.promise().continuation = waiting; }
    T await_resume() { return std::move(handle_.promise().value); }

  private:
    explicit Task(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
    std::coroutine_handle<promise_type> handle_;
};

template <>
class [[nodiscard]] Task<void> {
  public:
    struct promise_type : detail::PromiseBase {
        Task get_return_object() { return Task(std::coroutine_handle<promise_type>::from_promise(*this)); }
        void return_void() {}
    };

    Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    Task& operator=(Task&& other) noexcept {
        if (handle_) handle_.destroy();
        handle_ = std::exchange(other.handle_, nullptr);
        return *this;
    }
    ~Task() {
        if (handle_) handle_.destroy();
    }

    bool done() const { return handle_.done(); }
    bool await_ready() const { return handle_.done(); }
    void await_suspend(std::coroutine_handle<> waiting) { handle_.promise().continuation = waiting; }
    void await_resume() {}

  private:
    explicit Task(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
    std::coroutine_handle<promise_type> handle_;
};

// Tasks that nobody awaits, kept until they end. Destroying it drops them all.
class TaskSet {
  public:
    TaskSet() = default;
    TaskSet(const TaskSet&) = delete;
    TaskSet& operator=(const TaskSet&) = delete;
    ~TaskSet() { drop(); }

    void add(Task<> task) {
        sweep();
        if (!task.done()) entries_.push_back(*new Entry(std::move(task)));
    }
    // Frees what has ended; the loop calls it now and then.
    void sweep() {
        for (auto at = entries_.begin(); at != entries_.end();) {
            Entry& entry = *at;
            ++at;
            if (entry.task.done()) erase(entry);
        }
    }
    void drop() {
        while (!entries_.empty()) erase(entries_.front());
    }

  private:
    struct Entry : ListNode<Entry> {
        explicit Entry(Task<> t) : task(std::move(t)) {}
        Task<> task;
    };
    void erase(Entry& entry) {
        entries_.remove(entry);
        delete &entry;
    }
    List<Entry, Entry> entries_;
};

// Something to wait for. notify() wakes all who wait now; who comes later waits for the next one. Wait in a
// loop that tests the condition:
//     while (!ready) { auto changed = event.wait(); co_await changed; }
class Event {
  public:
    explicit Event(Executor& executor) : executor_(&executor) {}

    class Wait {
      public:
        explicit Wait(Event& event) : event_(&event) {}
        bool await_ready() const { return false; }
        void await_suspend(std::coroutine_handle<> coroutine) {
            waiter_.coroutine = coroutine;
            waiter_.link(event_->waiters_);
        }
        void await_resume() {}

      private:
        Event* event_;
        Waiter waiter_;
    };

    Wait wait() { return Wait(*this); }
    void notify() {
        while (!waiters_.empty()) executor_->make_ready(waiters_.front());
    }

  private:
    Executor* executor_;
    List<Waiter, Waiter> waiters_;
};

// Lets everything else that is ready go first.
class Yield {
  public:
    explicit Yield(Executor& executor) : executor_(&executor) {}
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> coroutine) {
        waiter_.coroutine = coroutine;
        executor_->make_ready(waiter_);
    }
    void await_resume() {}

  private:
    Executor* executor_;
    Waiter waiter_;
};

// A disk operation to wait for: fill in the fields, co_await it, look at error.
class AwaitedIo final : public DiskIo {
  public:
    AwaitedIo(Executor& executor, Disk& disk) : executor_(&executor), disk_(&disk) {}

    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> coroutine) {
        waiter_.coroutine = coroutine;
        disk_->submit(*this);
    }
    int await_resume() { return error; }

    void completed(int result) override {
        error = result;
        executor_->make_ready(waiter_);
    }

    int error = 0;

  private:
    Executor* executor_;
    Disk* disk_;
    Waiter waiter_;
};

// A limit for waits on an event: wakes the event when it has passed.
class Deadline final : public Timer {
  public:
    Deadline(Clock& clock, Event& event, uint64_t delay_ms) : clock_(&clock), event_(&event) {
        clock.arm(*this, delay_ms);
    }
    ~Deadline() { clock_->cancel(*this); }
    bool passed() const { return passed_; }
    void fired() override {
        passed_ = true;
        event_->notify();
    }

  private:
    Clock* clock_;
    Event* event_;
    bool passed_ = false;
};

class Sleep final : public Timer {
  public:
    Sleep(Executor& executor, Clock& clock, uint64_t delay_ms)
        : executor_(&executor), clock_(&clock), delay_ms_(delay_ms) {}
    ~Sleep() { clock_->cancel(*this); }

    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> coroutine) {
        waiter_.coroutine = coroutine;
        clock_->arm(*this, delay_ms_);
    }
    void await_resume() {}
    void fired() override { executor_->make_ready(waiter_); }

  private:
    Executor* executor_;
    Clock* clock_;
    uint64_t delay_ms_;
    Waiter waiter_;
};

}  // namespace duplex::engine
