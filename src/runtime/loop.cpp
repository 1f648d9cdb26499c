#include "runtime/loop.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <sys/resource.h>
#include <time.h>

#include "base/ensure.hpp"
#include "runtime/log.hpp"

namespace duplex::runtime {

namespace {

constexpr uint64_t ns_per_ms = 1'000'000;
constexpr size_t registered_buffer_bytes_max = size_t{1} << 30;  // the kernel's limit for one buffer

uint64_t monotonic_ns() {
    timespec now{};
    ensure(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

std::string locked_memory_limit() {
    rlimit limit{};
    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return "unlimited";
    return fmt::format("{} KiB", limit.rlim_cur / 1024);
}

Error setup_error(int code) {
    switch (code) {
        case ENOSYS:
            return error("this kernel has no io_uring (CONFIG_IO_URING, Linux 5.19 or later is needed)");
        case EPERM:
        case EACCES:
            return error(
                "io_uring is forbidden here: see sysctl kernel.io_uring_disabled and the seccomp profile of "
                "the "
                "container or service");
        case ENOMEM:
            return error(
                "no memory for an io_uring: the limit on locked memory is {} (ulimit -l, LimitMEMLOCK=)",
                locked_memory_limit());
        default:
            return error("cannot set up an io_uring: {}", strerror(code));
    }
}

struct NeededOperation {
    int code;
    const char* name;
};
constexpr NeededOperation needed_operations[] = {
    {IORING_OP_READ, "READ"},
    {IORING_OP_WRITE, "WRITE"},
    {IORING_OP_READ_FIXED, "READ_FIXED"},
    {IORING_OP_WRITE_FIXED, "WRITE_FIXED"},
    {IORING_OP_FSYNC, "FSYNC"},
    {IORING_OP_FALLOCATE, "FALLOCATE"},
    {IORING_OP_SEND, "SEND"},
    {IORING_OP_RECV, "RECV"},
    {IORING_OP_SENDMSG, "SENDMSG"},
    {IORING_OP_RECVMSG, "RECVMSG"},
    {IORING_OP_ACCEPT, "ACCEPT"},
    {IORING_OP_CONNECT, "CONNECT"},
    {IORING_OP_POLL_ADD, "POLL_ADD"},
    {IORING_OP_ASYNC_CANCEL, "ASYNC_CANCEL"},
};

Status check_operations(io_uring& ring) {
    if (!(ring.features & IORING_FEAT_EXT_ARG) || !(ring.features & IORING_FEAT_NODROP))
        return error("this kernel's io_uring is too old (Linux 5.19 or later is needed)");
    io_uring_probe* probe = io_uring_get_probe_ring(&ring);
    if (!probe) return error("cannot ask the kernel what its io_uring can do");
    std::string missing;
    for (const NeededOperation& operation : needed_operations)
        if (!io_uring_opcode_supported(probe, operation.code)) missing += std::string(" ") + operation.name;
    io_uring_free_probe(probe);
    if (!missing.empty()) return error("this kernel's io_uring lacks the operations{}", missing);
    return Ok{};
}

// One thread submits and reaps, and completions are only looked at between turns: the kernel can then keep
// its work for the moment of the wait (Linux 6.1), or at least not interrupt us for it (5.19).
int make_ring(io_uring& ring, const LoopLimits& limits) {
    const unsigned common = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL;
    const unsigned choices[] = {common | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
                                common | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG};
    int result = -EINVAL;
    for (const unsigned flags : choices) {
        io_uring_params params{};
        params.flags = flags;
        params.cq_entries = limits.completion_entries;
        result = io_uring_queue_init_params(limits.entries, &ring, &params);
        if (result != -EINVAL) break;
    }
    return result;
}

}  // namespace

// ---- making and running
// ----------------------------------------------------------------------------------------------

Result<std::unique_ptr<Loop>> Loop::create(const LoopLimits& limits) {
    std::unique_ptr<Loop> loop(new Loop);
    const int result = make_ring(loop->ring_, limits);
    if (result == -EINVAL) return error("this kernel's io_uring is too old (Linux 5.19 or later is needed)");
    if (result < 0) return setup_error(-result);
    loop->ring_made_ = true;
    if (auto checked = check_operations(loop->ring_); !checked) return checked.error();
    loop->read_clock();
    return loop;
}

Loop::~Loop() {
    if (ring_made_) io_uring_queue_exit(&ring_);
}

void Loop::run() {
    stopped_ = false;
    while (!stopped_) turn(UINT64_MAX);
}

void Loop::turn(uint64_t max_wait_ms) {
    submit_and_wait(max_wait_ms);
    read_clock();
    deliver();
    fire_timers();
    run_deferred(next_);
    run_hooks();
    run_deferred(end_);
}

void Loop::drain() {
    while (in_flight_ > 0 || !next_.empty() || !end_.empty()) turn(UINT64_MAX);
}

void Loop::read_clock() {
    now_ms_ = monotonic_ns() / ns_per_ms;
}

void Loop::submit_and_wait(uint64_t max_wait_ms) {
    int result = 0;
    uint64_t wait_ns = UINT64_MAX;
    if (!next_.empty() || !end_.empty()) max_wait_ms = 0;
    if (max_wait_ms < UINT64_MAX / ns_per_ms) wait_ns = max_wait_ms * ns_per_ms;
    if (!timers_.empty() && wait_ns > 0) {
        const uint64_t now_ns = monotonic_ns();
        const uint64_t due_ns = timers_.front().deadline_ms * ns_per_ms;
        wait_ns = std::min(wait_ns, due_ns > now_ns ? due_ns - now_ns : 0);
    }
    if (wait_ns == 0) {
        result = io_uring_submit_and_get_events(&ring_);
    } else if (wait_ns == UINT64_MAX) {
        result = io_uring_submit_and_wait(&ring_, 1);
    } else {
        __kernel_timespec limit{};
        limit.tv_sec = static_cast<__kernel_time64_t>(wait_ns / 1'000'000'000);
        limit.tv_nsec = static_cast<long long>(wait_ns % 1'000'000'000);
        io_uring_cqe* first = nullptr;
        result = io_uring_submit_and_wait_timeout(&ring_, &first, 1, &limit, nullptr);
    }
    // EBUSY and EAGAIN: the kernel's queues are full until completions are taken, which comes next; what was
    // not submitted stays in the queue.
    if (result >= 0 || result == -ETIME || result == -EINTR || result == -EBUSY || result == -EAGAIN) return;
    log_format(engine::LogLevel::alert, "duplex: io_uring_enter: {}", strerror(-result));
    ensure(false && "io_uring_enter failed");
}

void Loop::deliver() {
    // Copied out in slices first, so that what complete() submits finds room in the completion queue.
    constexpr unsigned slice = 128;
    std::array<io_uring_cqe*, slice> entries;
    struct Completed {
        Completion* completion;
        int result;
        uint32_t flags;
    };
    std::array<Completed, slice> completed;
    unsigned count = 0;
    do {
        count = io_uring_peek_batch_cqe(&ring_, entries.data(), slice);
        for (unsigned i = 0; i < count; ++i) {
            const io_uring_cqe& entry = *entries[i];
            completed[i] = {static_cast<Completion*>(io_uring_cqe_get_data(&entry)), entry.res, entry.flags};
        }
        io_uring_cq_advance(&ring_, count);
        for (unsigned i = 0; i < count; ++i) {
            if (!completed[i].completion) continue;  // a cancel request's own
            if (!(completed[i].flags & IORING_CQE_F_MORE)) --in_flight_;
            completed[i].completion->complete(completed[i].result, completed[i].flags);
        }
    } while (count == slice);
}

// ---- operations
// -------------------------------------------------------------------------------------------------------

io_uring_sqe& Loop::prepare(Completion& completion) {
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    if (!entry) {
        const int result = io_uring_submit(&ring_);
        entry = io_uring_get_sqe(&ring_);
        if (!entry) log_format(engine::LogLevel::alert, "duplex: io_uring_submit: {}", strerror(-result));
        ensure(entry != nullptr);
    }
    io_uring_sqe_set_data(entry, &completion);
    ++in_flight_;
    return *entry;
}

void Loop::cancel(Completion& completion) {
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    if (!entry) {
        io_uring_submit(&ring_);
        entry = io_uring_get_sqe(&ring_);
        ensure(entry != nullptr);
    }
    io_uring_prep_cancel(entry, &completion, 0);
    entry->user_data = 0;
}

Status Loop::register_buffers(const BufferPool& pool) {
    ensure(!registered_);
    std::array<iovec, 64> parts;
    unsigned count = 0;
    for (size_t at = 0; at < pool.arena_bytes(); at += registered_buffer_bytes_max) {
        if (count == parts.size())
            return error("{} bytes of buffers are too many to register", pool.arena_bytes());
        parts[count++] = {pool.arena() + at, std::min(registered_buffer_bytes_max, pool.arena_bytes() - at)};
    }
    const int result = io_uring_register_buffers(&ring_, parts.data(), count);
    if (result < 0)
        return error("cannot register {} MiB of buffers with io_uring: {} (the limit on locked memory is {})",
                     pool.arena_bytes() >> 20, strerror(-result), locked_memory_limit());
    registered_ = pool.arena();
    registered_bytes_ = pool.arena_bytes();
    return Ok{};
}

int Loop::registered_index(const void* data, size_t size_bytes) const {
    const auto* begin = static_cast<const uint8_t*>(data);
    if (!registered_ || begin < registered_ || begin + size_bytes > registered_ + registered_bytes_)
        return -1;
    // A block of the pool never crosses a gigabyte: it is aligned to its size.
    return static_cast<int>(static_cast<size_t>(begin - registered_) / registered_buffer_bytes_max);
}

// ---- deferred calls and hooks
// -------------------------------------------------------------------------------

void Loop::schedule(Deferred& d, DeferredList& list) {
    if (d.linked()) {
        ensure(d.list_ == &list);
        return;
    }
    d.list_ = &list;
    list.push_back(d);
}

void Loop::cancel(Deferred& d) {
    if (d.linked()) d.list_->remove(d);
}

void Loop::run_deferred(DeferredList& list) {
    // Only as many as there are now: one that schedules itself again waits for the next turn.
    for (size_t left = list.size(); left > 0 && !list.empty(); --left) list.pop_front().run();
}

void Loop::add_hook(TurnHook& hook) {
    hooks_.push_back(hook);
}

void Loop::remove_hook(TurnHook& hook) {
    if (next_hook_ == Hooks::iterator(&hook)) ++next_hook_;
    hooks_.remove(hook);
}

void Loop::run_hooks() {
    next_hook_ = hooks_.begin();
    while (next_hook_ != hooks_.end()) {
        TurnHook& hook = *next_hook_;
        ++next_hook_;
        hook.turn();
    }
}

// ---- time
// -------------------------------------------------------------------------------------------------------------

void Loop::arm(engine::Timer& timer, uint64_t delay_ms) {
    cancel(timer);
    timer.deadline_ms = now_ms_ + delay_ms;
    if (timers_.empty() || timers_.back().deadline_ms <= timer.deadline_ms) {
        timers_.push_back(timer);
        return;
    }
    auto later = timers_.begin();
    while (later->deadline_ms <= timer.deadline_ms) ++later;
    timers_.insert_before(*later, timer);
}

void Loop::cancel(engine::Timer& timer) {
    if (timer.linked()) timers_.remove(timer);
}

void Loop::fire_timers() {
    // Only as many as are due now: one that arms itself again with no delay waits for the next turn.
    size_t due = 0;
    for (const engine::Timer& timer : timers_) {
        if (timer.deadline_ms > now_ms_) break;
        ++due;
    }
    for (; due > 0 && !timers_.empty() && timers_.front().deadline_ms <= now_ms_; --due)
        timers_.pop_front().fired();
}

}  // namespace duplex::runtime
