#include "runtime/network.hpp"

#include <cstring>
#include <deque>
#include <memory>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <vector>

#include "base/random.hpp"
#include "runtime/test_loop.hpp"

namespace duplex::runtime {
namespace {

// A stream of bytes anyone can compute: what byte number n must be.
uint8_t byte_at(uint64_t n) {
    return static_cast<uint8_t>((n * 2654435761u) >> 13);
}

class Packet final : public engine::OutPacket {
  public:
    void done(bool was_sent) override {
        ++times_done;
        sent = was_sent;
    }
    int times_done = 0;
    bool sent = false;
    std::vector<uint8_t> content;
};

// Reads a socket: checks every byte, and takes only part of what it is offered as often as asked to.
class Reader final : public engine::SocketEvents {
  public:
    explicit Reader(uint64_t seed) : random(seed) {}

    size_t received(engine::Socket& socket, std::span<const uint8_t> bytes) override {
        EXPECT_FALSE(closed_seen);
        EXPECT_FALSE(bytes.empty());
        const size_t take = random.chance(pause_percent) ? random.below(bytes.size()) : bytes.size();
        for (size_t i = 0; i < take; ++i) wrong_bytes += bytes[i] != byte_at(count + i);
        count += take;
        if (take < bytes.size()) {
            ++pauses;
            if (random.chance(30))
                socket.resume();  // from inside: as when memory became free meanwhile
            else
                paused = true;
        }
        return take;
    }
    void closed(engine::Socket&, int result) override {
        EXPECT_FALSE(closed_seen);
        closed_seen = true;
        error = result;
    }

    Random random;
    unsigned pause_percent = 0;
    uint64_t count = 0;
    uint64_t wrong_bytes = 0;
    int pauses = 0;
    bool paused = false;
    bool closed_seen = false;
    int error = -1;
};

class NetworkEnd final : public engine::NetworkEvents {
  public:
    void connected(engine::Socket& socket) override { connected_socket = &socket; }
    void connect_failed(std::string_view why) override { failure = why; }
    void accepted(engine::Socket& socket) override { accepted_sockets.push_back(&socket); }

    engine::Socket* connected_socket = nullptr;
    std::vector<engine::Socket*> accepted_sockets;
    std::string failure;
};

// 0: the address cannot be used on this machine.
uint16_t free_port(const char* family, const char* address) {
    const Result<SocketAddress> parsed = parse_address({family, address, 0});
    ensure(parsed.ok());
    Fd fd(::socket(parsed->family(), SOCK_STREAM, 0));
    SocketAddress bound = *parsed;
    if (::bind(fd.get(), bound.get(), bound.bytes) != 0) return 0;
    ensure(::getsockname(fd.get(), bound.get(), &bound.bytes) == 0);
    return ntohs(reinterpret_cast<sockaddr_in*>(bound.get())->sin_port);
}

// Two nodes on the loopback network: 127.0.0.1 and 127.0.0.2.
class NetworkTest : public LoopTest {
  protected:
    void SetUp() override {
        a_endpoint = {"ipv4", "127.0.0.1", free_port("ipv4", "127.0.0.1")};
        b_endpoint = {"ipv4", "127.0.0.2", free_port("ipv4", "127.0.0.2")};
        a.configure(a_endpoint, b_endpoint, {}, a_events);
        b.configure(b_endpoint, a_endpoint, {}, b_events);
    }
    void TearDown() override {
        a.close_all();
        b.close_all();
        loop->drain();
    }

    void make_pair() {
        ASSERT_TRUE(a.listen());
        ASSERT_TRUE(b.connect());
        ASSERT_TRUE(
            turn_until([&] { return b_events.connected_socket && !a_events.accepted_sockets.empty(); }));
        left = a_events.accepted_sockets[0];
        right = b_events.connected_socket;
        left->set_events(left_reader);
        right->set_events(right_reader);
    }

    // Packets of random sizes that together are bytes [0, total) of the stream.
    std::deque<Packet> make_packets(uint64_t total_bytes, uint32_t payload_bytes_max, uint64_t seed) {
        Random random(seed);
        std::deque<Packet> packets;
        for (uint64_t at = 0; at < total_bytes;) {
            Packet& packet = packets.emplace_back();
            packet.head_bytes = static_cast<uint32_t>(random.between(8, 64));
            for (uint32_t i = 0; i < packet.head_bytes; ++i) packet.head[i] = byte_at(at++);
            const uint64_t payload_bytes = payload_bytes_max ? random.below(payload_bytes_max) : 0;
            packet.content.resize(payload_bytes);
            for (uint8_t& byte : packet.content) byte = byte_at(at++);
            packet.payload = packet.content.data();
            packet.payload_bytes = static_cast<uint32_t>(payload_bytes);
        }
        return packets;
    }
    static uint64_t bytes_of(const std::deque<Packet>& packets) {
        uint64_t bytes = 0;
        for (const Packet& packet : packets) bytes += packet.head_bytes + packet.payload_bytes;
        return bytes;
    }
    // Both readers go on, if they paused.
    void resume_paused() {
        if (std::exchange(left_reader.paused, false)) left->resume();
        if (std::exchange(right_reader.paused, false)) right->resume();
    }

    engine::Endpoint a_endpoint, b_endpoint;
    Network a{*loop, "a"};
    Network b{*loop, "b"};
    NetworkEnd a_events, b_events;
    Reader left_reader{1}, right_reader{2};
    engine::Socket* left = nullptr;
    engine::Socket* right = nullptr;
};

TEST_F(NetworkTest, CarriesMuchBothWaysWhileReadersPause) {
    make_pair();
    left_reader.pause_percent = right_reader.pause_percent = 40;
    std::deque<Packet> from_left = make_packets(24u << 20, 300'000, 3);
    std::deque<Packet> from_right = make_packets(16u << 20, 9000, 4);
    for (Packet& packet : from_left) left->send(packet);
    for (Packet& packet : from_right) right->send(packet);
    const uint64_t left_bytes = bytes_of(from_left), right_bytes = bytes_of(from_right);
    ASSERT_TRUE(turn_until(
        [&] {
            resume_paused();
            return right_reader.count == left_bytes && left_reader.count == right_bytes;
        },
        60'000));
    EXPECT_EQ(left_reader.wrong_bytes + right_reader.wrong_bytes, 0u);
    EXPECT_GT(left_reader.pauses, 10);
    EXPECT_EQ(left->sent_bytes(), left_bytes);
    for (const std::deque<Packet>* packets : {&from_left, &from_right})
        for (const Packet& packet : *packets) ASSERT_TRUE(packet.times_done == 1 && packet.sent);
}

TEST_F(NetworkTest, CarriesManySmallPackets) {
    make_pair();
    std::deque<Packet> packets = make_packets(2u << 20, 0, 5);
    ASSERT_GT(packets.size(), 40'000u);
    for (Packet& packet : packets) left->send(packet);
    const uint64_t bytes = bytes_of(packets);
    ASSERT_TRUE(turn_until([&] { return right_reader.count == bytes; }));
    EXPECT_EQ(right_reader.wrong_bytes, 0u);
}

TEST_F(NetworkTest, AReaderThatWaitsStopsTheSender) {
    make_pair();
    right_reader.pause_percent = 100;
    std::deque<Packet> packets = make_packets(24u << 20, 300'000, 6);
    for (Packet& packet : packets) left->send(packet);
    while (right_reader.pauses == 0 || left->sent_bytes() == 0) loop->turn(100);
    for (uint64_t before = 0; before != left->sent_bytes();) {
        before = left->sent_bytes();
        const uint64_t until_ms = loop->now_ms() + 300;
        while (loop->now_ms() < until_ms) loop->turn(100);
    }
    EXPECT_LT(left->sent_bytes(), 16u << 20);
    EXPECT_LT(right_reader.count, Socket::receive_bytes);
    // Closing with most of it unsent: every packet is given back, the end one is told so.
    left->close(false);
    ASSERT_TRUE(turn_until([&] { return packets.back().times_done > 0; }));
    for (const Packet& packet : packets) ASSERT_EQ(packet.times_done, 1);
    EXPECT_TRUE(packets.front().sent);
    EXPECT_FALSE(packets.back().sent);
}

TEST_F(NetworkTest, AnOrderlyCloseStillSendsWhatIsQueued) {
    make_pair();
    std::deque<Packet> packets = make_packets(4u << 20, 100'000, 7);
    std::deque<Packet> unread = make_packets(1u << 20, 100'000, 7);  // must not turn the end into a reset
    for (Packet& packet : unread) right->send(packet);
    for (Packet& packet : packets) left->send(packet);
    left->close(true);
    const uint64_t bytes = bytes_of(packets);
    ASSERT_TRUE(turn_until([&] { return right_reader.closed_seen; }));
    EXPECT_EQ(right_reader.count, bytes);
    EXPECT_EQ(right_reader.wrong_bytes, 0u);
    EXPECT_EQ(right_reader.error, 0);
    for (const Packet& packet : packets) ASSERT_TRUE(packet.times_done == 1 && packet.sent);
    right->close(true);
}

TEST_F(NetworkTest, AnOrderlyCloseGivesUpAfterASecond) {
    make_pair();
    right_reader.pause_percent = 100;
    std::deque<Packet> packets = make_packets(24u << 20, 300'000, 8);
    for (Packet& packet : packets) left->send(packet);
    loop->turn(0);  // reads the clock again
    const uint64_t start_ms = loop->now_ms();
    left->close(true);
    ASSERT_TRUE(turn_until([&] { return packets.back().times_done == 1; }));
    EXPECT_FALSE(packets.back().sent);
    EXPECT_GE(loop->now_ms() - start_ms, Socket::linger_ms);
    EXPECT_LT(loop->now_ms() - start_ms, 2 * Socket::linger_ms);
}

TEST_F(NetworkTest, AllBytesComeBeforeTheEnd) {
    make_pair();
    right_reader.pause_percent = 90;
    std::deque<Packet> packets = make_packets(3u << 20, 50'000, 9);
    for (Packet& packet : packets) left->send(packet);
    left->close(true);
    const uint64_t bytes = bytes_of(packets);
    ASSERT_TRUE(turn_until([&] {
        resume_paused();
        if (right_reader.count == bytes / 2) right_reader.pause_percent = 0;
        return right_reader.closed_seen;
    }));
    EXPECT_EQ(right_reader.count, bytes);
}

TEST_F(NetworkTest, AResetIsReportedAsAnError) {
    ASSERT_TRUE(a.listen());
    const Result<SocketAddress> to = parse_address(a_endpoint);
    const Result<SocketAddress> from = parse_address({"ipv4", "127.0.0.2", 0});
    Fd peer(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::bind(peer.get(), from->get(), from->bytes), 0);
    ASSERT_EQ(::connect(peer.get(), to->get(), to->bytes), 0);
    ASSERT_TRUE(turn_until([&] { return !a_events.accepted_sockets.empty(); }));
    left = a_events.accepted_sockets[0];
    left->set_events(left_reader);
    std::deque<Packet> packets = make_packets(24u << 20, 300'000, 10);
    for (Packet& packet : packets) left->send(packet);
    while (left->sent_bytes() == 0) loop->turn(100);
    const linger hard{.l_onoff = 1, .l_linger = 0};
    ASSERT_EQ(setsockopt(peer.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
    peer.close();
    ASSERT_TRUE(turn_until([&] { return left_reader.closed_seen; }));
    EXPECT_TRUE(left_reader.error == ECONNRESET || left_reader.error == EPIPE) << left_reader.error;
    EXPECT_EQ(packets.back().times_done, 0) << "the engine has not closed yet";
    left->close(true);
    ASSERT_TRUE(turn_until([&] { return packets.back().times_done > 0; }));
    EXPECT_FALSE(packets.back().sent);
}

TEST_F(NetworkTest, NothingIsReadBeforeTheEventsAreSet) {
    ASSERT_TRUE(a.listen());
    ASSERT_TRUE(b.connect());
    ASSERT_TRUE(turn_until([&] { return b_events.connected_socket && !a_events.accepted_sockets.empty(); }));
    left = a_events.accepted_sockets[0];
    right = b_events.connected_socket;
    std::deque<Packet> packets = make_packets(1000, 100, 11);
    for (Packet& packet : packets) left->send(packet);
    ASSERT_TRUE(turn_until([&] { return packets.back().times_done == 1; }));
    for (int i = 0; i < 5; ++i) loop->turn(10);
    right->set_events(right_reader);
    const uint64_t bytes = bytes_of(packets);
    ASSERT_TRUE(turn_until([&] { return right_reader.count == bytes; }));
    left->set_events(left_reader);
    // A second set of events takes over, with what the first left.
    Reader first(20), second(21);
    first.pause_percent = 100;
    left->set_events(first);
    std::deque<Packet> more = make_packets(1000, 100, 12);
    for (Packet& packet : more) right->send(packet);
    ASSERT_TRUE(turn_until([&] { return first.pauses > 0; }));
    second.count = first.count;
    left->set_events(second);
    const uint64_t all = bytes_of(more);
    ASSERT_TRUE(turn_until([&] { return second.count == all; }));
    EXPECT_EQ(second.wrong_bytes, 0u);
}

TEST_F(NetworkTest, OnlyThePeerIsAccepted) {
    ASSERT_TRUE(a.listen());
    const Result<SocketAddress> to = parse_address(a_endpoint);
    const Result<SocketAddress> from = parse_address({"ipv4", "127.0.0.3", 0});
    Fd stranger(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::bind(stranger.get(), from->get(), from->bytes), 0);
    ASSERT_EQ(::connect(stranger.get(), to->get(), to->bytes), 0);
    pollfd watched{stranger.get(), POLLIN, 0};
    ASSERT_TRUE(turn_until([&] { return ::poll(&watched, 1, 0) == 1; }));
    char byte = 0;
    EXPECT_EQ(::recv(stranger.get(), &byte, 1, MSG_DONTWAIT), 0);
    EXPECT_TRUE(a_events.accepted_sockets.empty());
    ASSERT_TRUE(b.connect());
    ASSERT_TRUE(turn_until([&] { return a_events.accepted_sockets.size() == 1; }));
}

TEST_F(NetworkTest, TooManyHalfOpenConnectionsAreRefused) {
    ASSERT_TRUE(a.listen());
    for (size_t i = 0; i < Network::sockets_max + 3; ++i) {
        b_events.connected_socket = nullptr;
        ASSERT_TRUE(b.connect());
        ASSERT_TRUE(turn_until([&] { return b_events.connected_socket != nullptr; }));
        loop->turn(0);
    }
    ASSERT_TRUE(turn_until([&] { return a_events.accepted_sockets.size() >= Network::sockets_max; }));
    EXPECT_EQ(a_events.accepted_sockets.size(), Network::sockets_max);
}

TEST_F(NetworkTest, AfterListeningConnectionsAreRefusedAndThePortIsFree) {
    for (int round = 0; round < 3; ++round) {
        ASSERT_TRUE(a.listen());
        loop->turn(0);
        a.stop_listening();
        b_events.failure.clear();
        ASSERT_TRUE(b.connect());
        ASSERT_TRUE(turn_until([&] { return !b_events.failure.empty(); }));
        EXPECT_NE(b_events.failure.find("refused"), std::string::npos) << b_events.failure;
        EXPECT_NE(b_events.failure.find(a_endpoint.address), std::string::npos) << b_events.failure;
        // At once again, although the kernel may still hold the old listener.
        ASSERT_TRUE(a.listen());
        a.stop_listening();
    }
}

TEST_F(NetworkTest, ACancelledAttemptIsSilent) {
    ASSERT_TRUE(a.listen());
    ASSERT_TRUE(b.connect());
    b.cancel_connect();
    ASSERT_TRUE(b.connect());
    ASSERT_TRUE(turn_until([&] { return b_events.connected_socket != nullptr; }));
    EXPECT_TRUE(b_events.failure.empty());
    b.cancel_connect();  // harmless
}

// 192.0.2.1 answers nobody (RFC 5737); where the machine has no route at all the attempt fails at once
// instead.
TEST_F(NetworkTest, AnAttemptThatHangsCanBeCancelled) {
    b.configure({"ipv4", "0.0.0.0", 0}, {"ipv4", "192.0.2.1", 7788}, {}, b_events);
    ASSERT_TRUE(b.connect());
    loop->turn(20);
    b.cancel_connect();
    const uint64_t start_ms = loop->now_ms();
    loop->drain();
    EXPECT_LT(loop->now_ms() - start_ms, 1000u);
}

TEST_F(NetworkTest, LocalErrorsNameTheAddress) {
    for (const engine::Endpoint& local :
         {engine::Endpoint{"ipv4", "192.0.2.77", 7788}, engine::Endpoint{"ipv4", "not-an-address", 7788},
          engine::Endpoint{"ssocks", "127.0.0.1", 7788}, engine::Endpoint{"ipv6", "127.0.0.1", 7788}}) {
        a.configure(local, b_endpoint, {}, a_events);
        const Status listening = a.listen();
        ASSERT_FALSE(listening);
        EXPECT_NE(listening.error().text.find(local.address), std::string::npos) << listening.error().text;
        const Status connecting = a.connect();
        ASSERT_FALSE(connecting);
        EXPECT_NE(connecting.error().text.find(local.address), std::string::npos) << connecting.error().text;
    }
    Network other(*loop, "other");
    NetworkEnd other_events;
    a.configure(a_endpoint, b_endpoint, {}, a_events);
    other.configure(a_endpoint, b_endpoint, {}, other_events);
    ASSERT_TRUE(a.listen());
    const Status taken = other.listen();
    ASSERT_FALSE(taken);
    EXPECT_NE(taken.error().text.find("in use"), std::string::npos) << taken.error().text;
}

TEST_F(NetworkTest, SpeaksIpv6) {
    const engine::Endpoint local{"ipv6", "::1", free_port("ipv6", "::1")};
    if (local.port == 0) GTEST_SKIP() << "no IPv6 on this machine";
    a.configure(local, {"ipv6", "::1", 1}, {.sndbuf_bytes = 1u << 20, .rcvbuf_bytes = 1u << 20}, a_events);
    b.configure({"ipv6", "::1", 2}, local, {}, b_events);
    make_pair();
    std::deque<Packet> packets = make_packets(1u << 20, 10'000, 13);
    for (Packet& packet : packets) right->send(packet);
    const uint64_t bytes = bytes_of(packets);
    ASSERT_TRUE(turn_until([&] { return left_reader.count == bytes; }));
    EXPECT_EQ(left_reader.wrong_bytes, 0u);
}

TEST(Address, ScopesAndTexts) {
    const auto with_scope = parse_address({"ipv6", "fe80::1%lo", 7788});
    ASSERT_TRUE(with_scope) << with_scope.error().text;
    EXPECT_EQ(to_text(*with_scope), "[fe80::1%lo]:7788");
    EXPECT_NE(reinterpret_cast<const sockaddr_in6*>(with_scope->get())->sin6_scope_id, 0u);
    const auto plain = parse_address({"ipv4", "10.0.7.105", 7788});
    ASSERT_TRUE(plain);
    EXPECT_EQ(to_text(*plain), "10.0.7.105:7788");
    EXPECT_TRUE(same_host(*plain, *parse_address({"ipv4", "10.0.7.105", 1})));
    EXPECT_FALSE(same_host(*plain, *parse_address({"ipv4", "10.0.7.106", 7788})));
    EXPECT_FALSE(same_host(*plain, *with_scope));
    SocketAddress other_link = *with_scope;
    reinterpret_cast<sockaddr_in6*>(other_link.get())->sin6_scope_id += 1;
    EXPECT_FALSE(same_host(other_link, *with_scope));
}

}  // namespace
}  // namespace duplex::runtime
