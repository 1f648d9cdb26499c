// The watch on the cable: what it lets pass, and each lie that it has to notice.
#include "sim/wire_watch.hpp"

#include <gtest/gtest.h>

#include "sim/two_nodes.hpp"
#include "wire/encode.hpp"

namespace duplex::sim {
namespace {

using config::Protocol;
using engine::ConnState;

constexpr uint32_t sectors = 16;

class WireWatchTest : public testing::Test {
  protected:
    void set_up(Protocol protocol, const std::function<void(Scenario&)>& adjust = {}) {
        nodes_.reset();
        watch_ = std::make_unique<WireWatch>(verdict_, protocol);
        nodes_ = std::make_unique<TwoNodes>(8, [&](Scenario& s) {
            s.net.protocol = protocol;
            if (adjust) adjust(s);
        });
        watch_->watch({&nodes_->node(0), &nodes_->node(1)});
        nodes_->cable().watch = watch_.get();
        nodes_->mirrored();
    }
    static uint64_t place_of(WriteId id) { return uint64_t{id} * 64; }
    // An application's write, and what it is told: that the engine has it, and that the engine has reported
    // it.
    void issued(unsigned side, WriteId id, bool has_tag = true) {
        Write write;
        write.node = side;
        write.tag = has_tag ? id * uint64_t{0x0101010101010101} : 0;
        write.sector = Sector(place_of(id));
        write.size_sectors = sectors;
        watch_->issued(0, id, write);
    }
    void start(WriteId id) {
        issued(0, id);
        nodes_->start_write(0, place_of(id), sectors, static_cast<uint8_t>(id));
    }
    void completed(WriteId id) { watch_->completed(0, id); }
    // One write from end to end.
    void write(WriteId id) {
        issued(0, id);
        ASSERT_EQ(nodes_->write(0, place_of(id), sectors, static_cast<uint8_t>(id)), 0);
        completed(id);
    }
    void expect_fine() { EXPECT_FALSE(verdict_.failed()) << verdict_.text(); }
    void expect(std::string_view invariant) {
        EXPECT_TRUE(verdict_.text().starts_with(invariant)) << verdict_.text();
    }

    Verdict verdict_;
    std::unique_ptr<WireWatch> watch_;
    std::unique_ptr<TwoNodes> nodes_;
};

// ---- I19

TEST_F(WireWatchTest, WritesThatTheEngineReports) {
    for (const Protocol protocol : {Protocol::a, Protocol::b, Protocol::c}) {
        set_up(protocol);
        for (const WriteId id : {1, 2, 3}) write(id);
        issued(0, 4, false);
        ASSERT_EQ(nodes_->discard(0, place_of(4), sectors), 0);
        completed(4);
        EXPECT_EQ(watch_->completions_checked(), 4u);
        expect_fine();
    }
}

TEST_F(WireWatchTest, CompletedWhileItIsOnItsWay) {
    for (const Protocol protocol : {Protocol::a, Protocol::b, Protocol::c}) {
        verdict_ = {};
        set_up(protocol);
        nodes_->cable().cut();
        start(1);
        nodes_->run_for(5);
        ASSERT_EQ(watch_->packets_known(), 1u);
        completed(1);
        if (protocol == Protocol::a)
            expect_fine();
        else
            expect("I19: node 0: a write of 64s +16 completed, but its last");
    }
}

TEST_F(WireWatchTest, CompletedWhileTcpHasNotTakenIt) {
    set_up(Protocol::a, [](Scenario& s) { s.network.window_bytes = 4096; });
    nodes_->cable().cut();
    start(1);
    nodes_->run_for(5);
    ASSERT_EQ(watch_->packets_known(), 1u);
    completed(1);
    expect("I19");
}

TEST_F(WireWatchTest, CompletedAndNeverSent) {
    set_up(Protocol::c);
    issued(0, 1);
    completed(1);
    expect("I19: node 0: a write of 64s +16 completed, and was never sent");
}

TEST_F(WireWatchTest, WithoutThePeerNothingIsAsked) {
    set_up(Protocol::b);
    nodes_->cable().cut();
    start(1);
    nodes_->run_for(5);
    nodes_->cable().reset_all();
    ASSERT_TRUE(nodes_->run_until([this] { return nodes_->ended() == 1; }));
    ASSERT_LT(nodes_->state(0).conn, ConnState::connected);
    completed(1);
    // It began without the peer; that the peer is back when it is reported means nothing.
    issued(0, 2);
    nodes_->cable().mend();
    ASSERT_TRUE(nodes_->run_until([this] { return nodes_->in_sync(); }));
    completed(2);
    EXPECT_EQ(watch_->completions_checked(), 0u);
    expect_fine();
}

TEST_F(WireWatchTest, OfTwoDiscardsInOnePlaceNoneIsJudged) {
    set_up(Protocol::c);
    Write blank;
    blank.sector = Sector(64);
    blank.size_sectors = sectors;
    watch_->issued(0, 1, blank);
    watch_->issued(0, 2, blank);
    watch_->completed(0, 1);
    watch_->completed(0, 2);
    expect_fine();
}

// ---- I25

TEST_F(WireWatchTest, AWriteInTheEpochOfOneThatHadCompleted) {
    set_up(Protocol::a);
    write(3);  // its extent is in the activity log
    nodes_->node(0).data_disk().hang();
    start(1);
    nodes_->run_for(5);
    completed(1);  // the peer's part is over, but the engine has reported nothing
    expect_fine();
    start(2);
    nodes_->run_for(5);
    expect("I25");
}

TEST_F(WireWatchTest, WritesThatAreUnderWayTogetherShareAnEpoch) {
    set_up(Protocol::a);
    write(3);  // its extent is in the activity log
    nodes_->node(0).data_disk().hang();
    start(1);
    start(2);
    nodes_->run_for(5);
    completed(1);
    completed(2);
    EXPECT_EQ(watch_->packets_known(), 3u);
    expect_fine();
}

// ---- I10

TEST_F(WireWatchTest, AWriteThatIsAdmittedWhileTheBitmapsAreExchanged) {
    struct Packet final : engine::OutPacket {
        void done(bool) override {}
    };
    set_up(Protocol::c, [](Scenario& s) { s.network.latency_us_min = s.network.latency_us_max = 20'000; });
    nodes_->start_command(1,
                          [](engine::Resource& r, engine::Done done) { r.invalidate(0, std::move(done)); });
    ASSERT_TRUE(nodes_->run_until([this] { return nodes_->state(1).conn == ConnState::wf_sync_uuid; }));
    issued(1, 1);
    std::array<uint8_t, sectors * sector_bytes> data;
    data.fill(1);
    Packet packet;
    packet.head_bytes = static_cast<uint32_t>(wire::encode_packet(
        wire::Command::data, 0, wire::Data{Sector(place_of(1)), {}, 1, 0}, packet.head, data.size()));
    packet.payload = data.data();
    packet.payload_bytes = data.size();
    TcpConnection connection(nodes_->cable());
    watch_->queued(1, connection.sockets[1], packet);
    expect("I10");
}

}  // namespace
}  // namespace duplex::sim
