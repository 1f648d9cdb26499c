#include "engine/link.hpp"

#include <optional>
#include <vector>

#include <gtest/gtest.h>

namespace duplex::engine {
namespace {

struct TestClock final : Clock {
    uint64_t now_ms() const override { return now; }
    void arm(Timer& timer, uint64_t delay_ms) override {
        cancel(timer);
        timer.deadline_ms = now + delay_ms;
        timers.push_back(timer);
    }
    void cancel(Timer& timer) override {
        if (timer.linked()) timers.remove(timer);
    }
    void advance_to(uint64_t time_ms) {
        while (now < time_ms) {
            ++now;
            std::vector<Timer*> due;
            for (Timer& timer : timers)
                if (timer.deadline_ms <= now) due.push_back(&timer);
            for (Timer* timer : due) {
                cancel(*timer);
                timer->fired();
            }
        }
    }

    uint64_t now = 0;
    List<Timer, Timer> timers;
};

// Takes packets, and hands to TCP what the test says.
struct TestSocket final : Socket {
    void set_events(SocketEvents&) override {}
    void send(OutPacket& packet) override {
        queued_bytes += packet.head_bytes + packet.payload_bytes;
        packet.done(true);
        if (at_once) hand_over();
    }
    void resume() override {}
    void close(bool) override {}
    uint64_t sent_bytes() const override { return taken_bytes; }
    // What the test does not look at is taken at once.
    void send_at_once() { at_once = true; }
    void hand_over() { taken_bytes = queued_bytes; }

    uint64_t queued_bytes = 0;
    uint64_t taken_bytes = 0;
    bool at_once = false;
};

struct TestNetwork final : Network {
    void configure(const Endpoint&, const Endpoint&, const SocketLimits&, NetworkEvents&) override {}
    Status listen() override { return Ok{}; }
    void stop_listening() override {}
    Status connect() override { return Ok{}; }
    void cancel_connect() override {}
};

struct TestHost final : Host {
    void log(LogLevel, std::string_view) override {}
    uint64_t random64() override { return 0; }
    void random_bytes(std::span<uint8_t>) override {}
    Result<Disk*> open_disk(const std::string&, std::optional<uint32_t>) override { return error("no disk"); }
    void close_disk(Disk&) override {}
    void run_handler(std::string_view, int, std::function<void(int)>) override {}
    void changed(int) override {}
};

class LinkTest : public testing::Test, public LinkUser {
  protected:
    LinkTest() {
        options.timeout_ds = 20;
        options.ping_int_s = 100;
        options.ping_timeout_ds = 300;
        options.ko_count = 3;
        link.open(data, meta, options);
    }
    ~LinkTest() override { link.close(false); }

    bool packet_arrived(Channel, const wire::PacketReader&) override { return true; }
    Result<std::span<uint8_t>> data_block_follows(const wire::PacketReader&) override {
        return error("no room");
    }
    bool close_expected() override { return false; }
    void link_failed(wire::ConnState why, const std::string&) override { failed = why; }

    void send(Channel channel) { ASSERT_TRUE(link.send_bytes(channel, wire::Command::ping, 0, {})); }

    TestClock clock;
    TestNetwork network;
    TestHost host;
    Ports ports{clock, network, host};
    PacketPool packets{16};
    Executor executor;
    TestSocket data, meta;
    config::NetOptions options;
    Link link{ports, packets, *this, executor};
    std::optional<wire::ConnState> failed;
};

TEST_F(LinkTest, WhatIsQueuedJustBeforeALookHasItsWholeTimeout) {
    clock.advance_to(1999);
    send(Channel::meta);
    clock.advance_to(2001);
    EXPECT_FALSE(failed);
    meta.hand_over();
    clock.advance_to(3999);
    send(Channel::data);
    clock.advance_to(4001);
    data.hand_over();
    clock.advance_to(20'000);
    EXPECT_FALSE(failed);
}

TEST_F(LinkTest, AMetaSocketThatTakesNothingEndsTheConnection) {
    clock.advance_to(100);
    send(Channel::meta);
    clock.advance_to(2099);
    EXPECT_FALSE(failed);
    clock.advance_to(4001);
    EXPECT_EQ(failed, wire::ConnState::timeout);
}

TEST_F(LinkTest, ADataSocketThatTakesNothingEndsItAfterKoCountTimeouts) {
    meta.send_at_once();
    clock.advance_to(100);
    send(Channel::data);
    clock.advance_to(6000);
    EXPECT_FALSE(failed);
    clock.advance_to(8001);
    EXPECT_EQ(failed, wire::ConnState::timeout);
}

TEST_F(LinkTest, EveryByteThatIsTakenStartsTheCountAgain) {
    meta.send_at_once();
    send(Channel::data);
    for (uint64_t now = 5000; now < 30'000; now += 5000) {
        clock.advance_to(now);
        data.hand_over();
        send(Channel::data);
    }
    EXPECT_FALSE(failed);
}

TEST_F(LinkTest, ChangedTimesHoldFromTheNextWaitOn) {
    meta.send_at_once();
    options.timeout_ds = 600;
    link.set_times(options);
    clock.advance_to(2100);
    send(Channel::data);
    clock.advance_to(100'000);
    EXPECT_FALSE(failed);
}

}  // namespace
}  // namespace duplex::engine
