#include "sim/network.hpp"

#include <cstring>
#include <optional>
#include <string>

#include <gtest/gtest.h>

namespace duplex::sim {
namespace {

struct NoTurn final : Turn {
    void turn() override {}
};

struct Packet final : engine::OutPacket {
    explicit Packet(std::string text) : body(std::move(text)) {
        head[0] = '[';
        head_bytes = 1;
        payload = reinterpret_cast<const uint8_t*>(body.data());
        payload_bytes = static_cast<uint32_t>(body.size());
    }
    void done(bool s) override { sent = s; }
    std::string body;
    std::optional<bool> sent;
};

struct Reader final : engine::SocketEvents {
    size_t received(engine::Socket&, std::span<const uint8_t> bytes) override {
        const size_t take = std::min(bytes.size(), appetite);
        text.append(reinterpret_cast<const char*>(bytes.data()), take);
        appetite -= take;
        return take;
    }
    void closed(engine::Socket&, int e) override { error = e; }
    std::string text;
    size_t appetite = SIZE_MAX;
    std::optional<int> error;
};

struct Peer final : engine::NetworkEvents {
    void connected(engine::Socket& socket) override { active = &socket; }
    void connect_failed(std::string_view why) override { failure = why; }
    void accepted(engine::Socket& socket) override { passive = &socket; }
    engine::Socket* active = nullptr;
    engine::Socket* passive = nullptr;
    std::optional<std::string> failure;
};

class NetworkTest : public testing::Test {
  protected:
    NetworkTest() : scheduler(3), cable(scheduler, {}), a(cable, 0, no_turn), b(cable, 1, no_turn) {
        cable.plug(a);
        cable.plug(b);
        a.configure({}, {}, {}, at_a);
        b.configure({}, {}, {}, at_b);
    }
    ~NetworkTest() override {
        cable.power_off(0);
        cable.power_off(1);
    }

    void run(uint64_t us) {
        bool over = false;
        scheduler.after(us, [&over] { over = true; });
        while (!over && scheduler.step()) {
        }
    }
    void join() {
        ASSERT_TRUE(b.listen().ok());
        ASSERT_TRUE(a.connect().ok());
        run(100'000);
        ASSERT_NE(at_a.active, nullptr);
        ASSERT_NE(at_b.passive, nullptr);
        at_a.active->set_events(read_a);
        at_b.passive->set_events(read_b);
    }

    NoTurn no_turn;
    Scheduler scheduler;
    Cable cable;
    Network a, b;
    Peer at_a, at_b;
    Reader read_a, read_b;
};

TEST_F(NetworkTest, BytesArriveInOrderInBothDirections) {
    join();
    Packet one("one"), two("two"), three("three");
    at_a.active->send(one);
    at_a.active->send(two);
    at_b.passive->send(three);
    run(100'000);
    EXPECT_EQ(read_b.text, "[one[two");
    EXPECT_EQ(read_a.text, "[three");
    EXPECT_EQ(one.sent, true);
    EXPECT_EQ(at_a.active->sent_bytes(), 8u);
}

TEST_F(NetworkTest, NobodyListens) {
    ASSERT_TRUE(a.connect().ok());
    run(100'000);
    EXPECT_EQ(at_a.failure, "connection refused");
}

TEST_F(NetworkTest, ACutCableAnswersNothing) {
    ASSERT_TRUE(b.listen().ok());
    cable.cut();
    ASSERT_TRUE(a.connect().ok());
    run(1'000'000);
    EXPECT_FALSE(at_a.failure.has_value());
    a.cancel_connect();
    run(100'000'000);
    EXPECT_FALSE(at_a.failure.has_value());
    EXPECT_EQ(at_b.passive, nullptr);
}

TEST_F(NetworkTest, ACutIsSilentAndWhatWasOnItsWayArrivesLater) {
    join();
    cable.cut();
    Packet packet("late");
    at_a.active->send(packet);
    run(5'000'000);
    EXPECT_EQ(packet.sent, true) << "TCP has taken it";
    EXPECT_EQ(read_b.text, "");
    EXPECT_FALSE(read_b.error.has_value());
    cable.mend();
    run(2'000'000);
    EXPECT_EQ(read_b.text, "[late");
}

TEST_F(NetworkTest, AReaderThatTakesNothingStopsTheSender) {
    cable.model.window_bytes = 10;
    join();
    read_b.appetite = 4;
    Packet packet("0123456789abcdef");
    at_a.active->send(packet);
    run(100'000);
    EXPECT_EQ(read_b.text, "[012");
    EXPECT_FALSE(packet.sent.has_value());
    EXPECT_LT(at_a.active->sent_bytes(), 17u);
    read_b.appetite = SIZE_MAX;
    at_b.passive->resume();
    run(100'000);
    EXPECT_EQ(read_b.text, "[0123456789abcdef");
    EXPECT_EQ(packet.sent, true);
}

TEST_F(NetworkTest, AResetIsSeenByBothAndLeavesAPrefix) {
    join();
    std::string all;
    std::vector<std::unique_ptr<Packet>> packets;
    for (int i = 0; i < 20; ++i) {
        packets.push_back(std::make_unique<Packet>(std::to_string(i)));
        at_a.active->send(*packets.back());
        all += "[" + std::to_string(i);
        run(40);
    }
    cable.reset_all();
    Packet late("late");
    at_a.active->send(late);
    run(1'000'000);
    EXPECT_EQ(read_a.error, ECONNRESET);
    EXPECT_EQ(read_b.error, ECONNRESET);
    EXPECT_EQ(all.substr(0, read_b.text.size()), read_b.text) << "no hole in the stream";
    at_a.active->close(false);
    at_b.passive->close(false);
    run(10);
    EXPECT_TRUE(late.sent.has_value());
}

TEST_F(NetworkTest, AnOrderlyCloseComesAfterWhatWasQueued) {
    join();
    Packet packet("last words");
    at_a.active->send(packet);
    at_a.active->close(true);
    run(100'000);
    EXPECT_EQ(read_b.text, "[last words");
    EXPECT_EQ(read_b.error, 0);
    EXPECT_EQ(packet.sent, true);
    at_b.passive->close(false);
}

TEST_F(NetworkTest, WhatIsQueuedBehindAFullWindowComesBackUnsent) {
    cable.model.window_bytes = 4;
    join();
    read_b.appetite = 0;
    Packet first("0123456789"), second("x");
    at_a.active->send(first);
    at_a.active->send(second);
    run(100'000);
    at_a.active->close(false);
    run(100'000);
    EXPECT_EQ(first.sent, false);
    EXPECT_EQ(second.sent, false);
}

TEST_F(NetworkTest, AMachineWithoutPowerIsSilentUntilItIsBack) {
    join();
    Packet waiting("waits");
    at_b.passive->send(waiting);
    cable.power_off(1);
    EXPECT_FALSE(waiting.linked());
    Packet packet("anybody there?");
    at_a.active->send(packet);
    run(10'000'000);
    EXPECT_FALSE(waiting.sent.has_value()) << "nothing is called back";
    EXPECT_FALSE(read_a.error.has_value());
    cable.power_on(1);
    run(10'000'000);
    EXPECT_EQ(read_a.error, ECONNRESET);
}

TEST_F(NetworkTest, AKilledProcessIsNoticedAtOnce) {
    join();
    cable.kill(1);
    run(1'000'000);
    EXPECT_EQ(read_a.error, ECONNRESET);
}

}  // namespace
}  // namespace duplex::sim
