// The process's event loop: one thread, one io_uring. A turn of the loop
//
//   1. submits everything that was prepared and waits for completions, the next timer or a deferred call,
//      all in one system call;
//   2. delivers the completions, then the due timers, then the calls deferred by next_turn();
//   3. runs the hooks (Resource::run()) in the order they were added;
//   4. runs the calls deferred by end_of_turn(): sockets and exports gather here what step 2 and 3 queued, so
//      that a batch leaves in one operation.
//
// Nothing here allocates once the loop runs; all that is queued is intrusive and owned by its user.
//
// Ownership of an operation in flight: from prepare() until the final complete() (the one without
// IORING_CQE_F_MORE) the Completion, the buffers and the descriptor named in the entry belong to the kernel.
// There is no way to take them back at once: cancel() asks, complete() with -ECANCELED (or with the result,
// if it came first) is the answer. So whoever closes something: cancels, waits for the final complete(), then
// closes the descriptor and frees the memory. Freeing a Completion in flight is a crash to come.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include <liburing.h>

#include "base/buffer_pool.hpp"
#include "base/list.hpp"
#include "base/result.hpp"
#include "engine/ports.hpp"

namespace duplex::runtime {

// Who hears how an operation ended. result and flags are the kernel's (cqe->res: a negative errno or what the
// operation gives; cqe->flags). An operation that was submitted once may complete several times (multishot);
// it is over when flags has no IORING_CQE_F_MORE. complete() may destroy the object when it is over.
class Completion {
  public:
    virtual void complete(int result, uint32_t flags) = 0;

  protected:
    ~Completion() = default;
};

// A call to be made later by the loop. Taken off its list before run(), so run() may schedule it again or
// destroy it.
class Deferred : public ListNode<Deferred> {
  public:
    virtual void run() = 0;
    bool scheduled() const { return linked(); }

  protected:
    ~Deferred() = default;  // must not be scheduled any more: Loop::cancel()

  private:
    friend class Loop;
    List<Deferred, Deferred>* list_ = nullptr;
};

// Called in every turn after the completions were delivered.
class TurnHook : public ListNode<TurnHook> {
  public:
    virtual void turn() = 0;

  protected:
    ~TurnHook() = default;  // must not be registered any more: Loop::remove_hook()
};

struct LoopLimits {
    unsigned entries = 1024;             // prepared and not yet submitted (more: submitted early)
    unsigned completion_entries = 8192;  // in flight, roughly; more are kept by the kernel, slower
};

class Loop final : public engine::Clock {
  public:
    // Fails when the kernel has no io_uring, forbids it (kernel.io_uring_disabled, seccomp), lacks an
    // operation we need, or when the limit on locked memory is too low; the error says which. The thread that
    // creates the loop must be the one that runs it, in the same process (fork before, not after).
    static Result<std::unique_ptr<Loop>> create(const LoopLimits& limits = {});
    ~Loop();
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;

    // ---- running

    void run();  // until stop()
    void stop() { stopped_ = true; }
    // One turn; waits at most max_wait_ms (0: does not wait).
    void turn(uint64_t max_wait_ms);
    // Turns until nothing is in flight and nothing is deferred; how a process ends without memory that the
    // kernel still writes to. Everything must have been closed or cancelled before, or this never returns.
    void drain();

    // ---- operations

    // A fresh submission entry whose completion goes to `completion`: fill it in with io_uring_prep_...()
    // before anything else is prepared. Submitted at the end of the turn.
    io_uring_sqe& prepare(Completion& completion);
    // Asks for the operation's end; harmless when it is already over but not yet delivered. The answer is its
    // own complete().
    void cancel(Completion& completion);
    size_t in_flight() const { return in_flight_; }

    // Makes the pool's memory known to the kernel, so that disk operations on it need no page pinning each.
    // Once per loop; the pool must outlive the loop. If the memory cannot be locked (ulimit -l) the error
    // says so and everything works without, a little slower.
    Status register_buffers(const BufferPool& pool);
    // The index of the registered buffer that holds the range, or -1: the buf_index of ..._fixed operations.
    int registered_index(const void* data, size_t size_bytes) const;

    // ---- deferred calls

    // Runs d in the next turn, before the hooks: for completions that must not come from inside a call. The
    // loop does not sleep before. Already scheduled there: nothing happens.
    void next_turn(Deferred& d) { schedule(d, next_); }
    // Runs d at the end of this turn, after the hooks (of the next turn, if called outside any).
    void end_of_turn(Deferred& d) { schedule(d, end_); }
    void cancel(Deferred& d);  // harmless when not scheduled

    // Both may be called from within a hook.
    void add_hook(TurnHook& hook);
    void remove_hook(TurnHook& hook);

    // ---- time: CLOCK_MONOTONIC, read once per turn

    uint64_t now_ms() const override { return now_ms_; }
    void arm(engine::Timer& timer, uint64_t delay_ms) override;
    void cancel(engine::Timer& timer) override;

  private:
    using Timers = List<engine::Timer, engine::Timer>;
    using DeferredList = List<Deferred, Deferred>;
    using Hooks = List<TurnHook, TurnHook>;

    Loop() = default;
    void schedule(Deferred& d, DeferredList& list);
    void submit_and_wait(uint64_t max_wait_ms);
    void deliver();
    void fire_timers();
    void run_deferred(DeferredList& list);
    void run_hooks();
    void read_clock();

    io_uring ring_{};
    bool ring_made_ = false;
    bool stopped_ = false;
    size_t in_flight_ = 0;
    uint64_t now_ms_ = 0;

    const uint8_t* registered_ = nullptr;
    size_t registered_bytes_ = 0;

    // Sorted by deadline. A resource has about ten timers armed at a time, the busiest being those that end
    // up last, so a new one's place is found at once or in a few steps.
    Timers timers_;
    DeferredList next_;
    DeferredList end_;
    Hooks hooks_;
    Hooks::iterator next_hook_{nullptr};  // where run_hooks() goes on; remove_hook() moves it
};

}  // namespace duplex::runtime
