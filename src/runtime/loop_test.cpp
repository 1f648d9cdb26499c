#include "runtime/loop.hpp"

#include <csignal>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <vector>

#include "runtime/operation.hpp"
#include "runtime/signals.hpp"
#include "runtime/test_loop.hpp"

namespace duplex::runtime {
namespace {

class RecordedTimer final : public engine::Timer {
  public:
    RecordedTimer(std::vector<int>& fired_in_order, int name) : order(&fired_in_order), number(name) {}
    void fired() override {
        order->push_back(number);
        if (on_fired) on_fired();
    }
    std::vector<int>* order;
    int number;
    std::function<void()> on_fired;
};

TEST_F(LoopTest, TimersFireInTheOrderOfTheirDeadlines) {
    std::vector<int> order;
    RecordedTimer a(order, 1), b(order, 2), c(order, 3), d(order, 4);
    const uint64_t start_ms = loop->now_ms();
    loop->arm(c, 30);
    loop->arm(a, 10);
    loop->arm(d, 30);
    loop->arm(b, 20);
    ASSERT_TRUE(turn_until([&] { return order.size() == 4; }));
    EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 4}));
    EXPECT_GE(loop->now_ms() - start_ms, 30u);
    EXPECT_FALSE(a.armed());
}

TEST_F(LoopTest, TimersAreMovedAndCancelled) {
    std::vector<int> order;
    RecordedTimer a(order, 1), b(order, 2), c(order, 3);
    loop->arm(a, 5);
    loop->arm(b, 10);
    loop->arm(c, 20);
    loop->arm(a, 30);
    loop->cancel(b);
    loop->cancel(b);
    ASSERT_TRUE(turn_until([&] { return order.size() == 2; }));
    EXPECT_EQ(order, (std::vector<int>{3, 1}));
}

TEST_F(LoopTest, ATimerMayArmItselfAgainAndCancelAnother) {
    std::vector<int> order;
    RecordedTimer a(order, 1), b(order, 2);
    a.on_fired = [&] {
        loop->cancel(b);
        if (order.size() < 3) loop->arm(a, 0);
    };
    loop->arm(a, 1);
    loop->arm(b, 1);
    ASSERT_TRUE(turn_until([&] { return order.size() == 3; }));
    loop->turn(20);
    EXPECT_EQ(order, (std::vector<int>{1, 1, 1}));
}

TEST_F(LoopTest, ATurnWaitsForTheNextTimerOnly) {
    std::vector<int> order;
    RecordedTimer far(order, 1);
    loop->arm(far, 60'000);
    const uint64_t start_ms = loop->now_ms();
    loop->turn(20);
    EXPECT_GE(loop->now_ms() - start_ms, 20u);
    EXPECT_LT(loop->now_ms() - start_ms, 5000u);
    loop->cancel(far);
}

class Steps final : public TurnHook {
  public:
    explicit Steps(Loop& loop) : next(*this), end(*this), loop_(&loop) { loop.add_hook(*this); }
    ~Steps() { loop_->remove_hook(*this); }
    void turn() override { text += "h"; }
    void ran_next() { text += "n"; }
    void ran_end() { text += "e"; }

    std::string text;
    CallLater<&Steps::ran_next> next;
    CallLater<&Steps::ran_end> end;

  private:
    Loop* loop_;
};

TEST_F(LoopTest, DeferredCallsAndHooksComeInTheDocumentedOrder) {
    Steps steps(*loop);
    loop->end_of_turn(steps.end);
    loop->next_turn(steps.next);
    loop->next_turn(steps.next);
    loop->turn(60'000);  // must not sleep: something is deferred
    EXPECT_EQ(steps.text, "nhe");
    loop->turn(0);
    EXPECT_EQ(steps.text, "nheh");
    loop->next_turn(steps.next);
    loop->cancel(steps.next);
    loop->turn(0);
    EXPECT_EQ(steps.text, "nhehh");
}

TEST_F(LoopTest, AHookMayRemoveItselfAndTheNextOne) {
    struct Remover final : TurnHook {
        Loop* loop = nullptr;
        std::vector<TurnHook*> victims;
        int turns = 0;
        void turn() override {
            ++turns;
            for (TurnHook* victim : victims) loop->remove_hook(*victim);
        }
    };
    Remover first, second, third;
    first.loop = loop.get();
    first.victims = {&first, &second};
    for (Remover* hook : {&first, &second, &third}) loop->add_hook(*hook);
    loop->turn(0);
    loop->turn(0);
    EXPECT_EQ(first.turns, 1);
    EXPECT_EQ(second.turns, 0);
    EXPECT_EQ(third.turns, 2);
    loop->remove_hook(third);
}

// One end of a socket pair, with an operation for each direction.
class End {
  public:
    End(Loop& loop, int fd) : fd_(fd), receive(loop, *this), send(loop, *this), poll(loop, *this) {}
    int fd() const { return fd_.get(); }
    void received(int result) { received_results.push_back(result); }
    void sent(int result) { sent_results.push_back(result); }
    void polled(int result) { poll_results.push_back(result); }

  private:
    Fd fd_;

  public:
    std::vector<int> received_results, sent_results, poll_results;
    On<&End::received> receive;
    On<&End::sent> send;
    On<&End::polled> poll;
};

class PairTest : public LoopTest {
  protected:
    PairTest() {
        int fds[2];
        ensure(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
        a = std::make_unique<End>(*loop, fds[0]);
        b = std::make_unique<End>(*loop, fds[1]);
    }
    std::unique_ptr<End> a, b;
};

TEST_F(PairTest, SendsAndReceives) {
    const uint8_t hello[] = {1, 2, 3};
    uint8_t buffer[16] = {};
    b->receive.recv(b->fd(), buffer);
    EXPECT_TRUE(b->receive.busy());
    loop->turn(0);
    EXPECT_TRUE(b->received_results.empty());
    a->send.send(a->fd(), hello);
    ASSERT_TRUE(turn_until([&] { return !b->received_results.empty(); }));
    EXPECT_EQ(b->received_results[0], 3);
    EXPECT_EQ(buffer[2], 3);
    EXPECT_EQ(a->sent_results, std::vector<int>{3});
    EXPECT_FALSE(b->receive.busy());
}

TEST_F(PairTest, CancelEndsAnOperationWithItsOwnCompletion) {
    uint8_t buffer[16];
    b->receive.recv(b->fd(), buffer);
    loop->turn(0);
    b->receive.cancel();
    EXPECT_TRUE(b->receive.busy());
    ASSERT_TRUE(turn_until([&] { return !b->receive.busy(); }));
    EXPECT_EQ(b->received_results, std::vector<int>{-ECANCELED});
    b->receive.cancel();  // harmless
    EXPECT_EQ(loop->in_flight(), 0u);
}

TEST_F(PairTest, AnOperationStartedRightAfterACancelledOneIsNotHitByTheCancel) {
    const uint8_t byte[] = {7};
    uint8_t buffer[16];
    a->send.send(a->fd(), byte);
    b->receive.recv(b->fd(), buffer);
    b->receive.cancel();
    ASSERT_TRUE(turn_until([&] { return !b->receive.busy(); }));
    b->receive.recv(b->fd(), buffer);
    loop->turn(20);
    const size_t expected = b->received_results[0] == 1 ? 1 : 2;  // whichever came first
    EXPECT_EQ(b->received_results.size(), expected);
    EXPECT_EQ(b->received_results.back(), 1);
    if (b->receive.busy()) b->receive.cancel();
    ASSERT_TRUE(turn_until([&] { return !b->receive.busy(); }));
}

TEST_F(PairTest, MultishotPollReportsEachEdgeUntilCancelled) {
    b->poll.poll_multishot(b->fd(), POLLIN);
    const uint8_t byte[] = {7};
    for (size_t i = 1; i <= 3; ++i) {
        a->send.send(a->fd(), byte);
        ASSERT_TRUE(turn_until([&] { return b->poll_results.size() >= i && !a->send.busy(); }));
        EXPECT_TRUE(b->poll_results.back() & POLLIN);
        EXPECT_TRUE(b->poll.busy());
        uint8_t buffer[16];
        ASSERT_EQ(::recv(b->fd(), buffer, sizeof buffer, MSG_DONTWAIT), 1);
    }
    b->poll.cancel();
    ASSERT_TRUE(turn_until([&] { return !b->poll.busy(); }));
}

TEST_F(PairTest, TheEndOfTheStreamIsResultZero) {
    uint8_t buffer[16];
    b->receive.recv(b->fd(), buffer);
    a.reset();
    ASSERT_TRUE(turn_until([&] { return !b->received_results.empty(); }));
    EXPECT_EQ(b->received_results, std::vector<int>{0});
}

// More operations than the submission queue has entries, and than fit into one slice of completions.
TEST(Loop, TakesMoreOperationsAtOnceThanItHasEntries) {
    auto made = Loop::create({.entries = 8, .completion_entries = 16});
    ASSERT_TRUE(made) << made.error().text;
    Loop& loop = **made;
    struct Nop final : Completion {
        void complete(int result, uint32_t) override {
            EXPECT_EQ(result, 0);
            ++*count;
        }
        int* count = nullptr;
    };
    int completed = 0;
    std::vector<Nop> nops(500);
    for (Nop& nop : nops) {
        nop.count = &completed;
        io_uring_prep_nop(&loop.prepare(nop));
    }
    EXPECT_EQ(loop.in_flight(), 500u);
    loop.drain();
    EXPECT_EQ(completed, 500);
}

TEST_F(LoopTest, SignalsArriveAsEvents) {
    struct Recorder final : SignalEvents {
        std::vector<int> seen;
        void signalled(int signal_number) override { seen.push_back(signal_number); }
    } recorder;
    sigset_t before;
    pthread_sigmask(SIG_SETMASK, nullptr, &before);
    auto signals = Signals::open(*loop, {SIGUSR1, SIGUSR2}, recorder);
    ASSERT_TRUE(signals) << signals.error().text;
    loop->turn(0);
    raise(SIGUSR1);
    ASSERT_TRUE(turn_until([&] { return recorder.seen.size() == 1; }));
    raise(SIGUSR2);
    raise(SIGUSR1);
    ASSERT_TRUE(turn_until([&] { return recorder.seen.size() == 3; }));
    EXPECT_EQ(recorder.seen[0], SIGUSR1);
    EXPECT_EQ(recorder.seen[1] + recorder.seen[2], SIGUSR1 + SIGUSR2);
    (*signals)->close();
    loop->drain();
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

// Makes io_uring_setup fail with `code` for the calling process, as a container's seccomp profile does.
void forbid_io_uring(unsigned code) {
    sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | code),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog filter{sizeof program / sizeof program[0], program};
    ensure(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
}

TEST(LoopDeathTest, SaysWhyThereIsNoRing) {
    for (const auto& [code, words] :
         {std::pair{EPERM, "forbidden.*seccomp"}, std::pair{ENOSYS, "no io_uring"},
          std::pair{ENOMEM, "locked memory"}, std::pair{EINVAL, "too old"}}) {
        EXPECT_EXIT(
            {
                forbid_io_uring(static_cast<unsigned>(code));
                const auto loop = Loop::create();
                fprintf(stderr, "%s\n", loop ? "a loop was made" : loop.error().text.c_str());
                _exit(loop ? 1 : 0);
            },
            testing::ExitedWithCode(0), words);
    }
}

}  // namespace
}  // namespace duplex::runtime
