// A capture of two kernels as a transcript: the engine takes one node's part. It gets the recorded bytes of
// the other node at their place, is given the recorded commands and the application's requests, and what it
// sends is held against what the kernel sent.
//
// What of a packet is not determined, and therefore not compared:
//   nonces           the engine is given the recorded challenge as its random bytes; the answer to the peer's
//                    is compared
//   UUIDs            a new one is random. The first of the engine's that stands where the kernel's stood is
//                    from then on that one's name, in what is compared and in what the peer says (which of
//                    them are equal is compared, and bit 0 of the current one)
//   block ids        of own requests, like UUIDs; those of the peer have to come back as they are
//   barriers         where one epoch ends depends on what was complete when the next write came; the peer's
//                    barrier acks are written for the engine's own epochs. The engine's barrier acks are
//                    compared: number and size
//   pings            when they are due depends on when something was heard last; each is answered, and the
//                    peer's have to be answered
//   P_UNPLUG_REMOTE  a hint of the block layer that has no counterpart here, like the hints "sync" and
//                    "unplug" in the flags of a write
//   order            of acknowledgements and of resync and verify blocks among each other: it depends on how
//                    fast the disk is. Everything else has to come in the recorded order
//   sequence numbers with two Primaries acks and writes draw from one row, and which comes first depends on
//   the
//                    disk; else they are compared
//   goodbyes         whether anything but the answer still goes out when the peer has said that it
//   disconnects conflicts        a capture ends for the transcript at its first P_SUPERSEDED: which of two
//   crossing writes
//                    comes first on which node is in no capture, and the kernels part over it (states 23.1)
//   P_CONNECTION_FEATURES: Duplex speaks protocol 100 and 101, the kernel 86 and up
//   P_RS_IS_IN_SYNC  the kernel puts an address of its own where other acks have the block id
//   P_SIZES          what a disk can do (largest request, queue limits) describes the disk, not the engine
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/resource.hpp"
#include "engine/volume.hpp"
#include "sim/capture.hpp"
#include "sim/clock.hpp"
#include "sim/disk.hpp"
#include "sim/host.hpp"
#include "sim/meta_data.hpp"
#include "sim/recorded_peer.hpp"
#include "sim/scheduler.hpp"

namespace duplex::sim {

class Transcript final : public Turn, public engine::User {
  public:
    Transcript(const Capture& capture, unsigned side);
    ~Transcript();

    // Everything the kernel said was said.
    bool play();
    const std::string& failure() const { return failure_; }
    uint64_t compared() const { return compared_; }
    bool cut_short() const { return cut_short_; }
    Journal& journal() { return journal_; }

  private:
    using Packet = Capture::Packet;
    class ReplayHost;

    // ---- the node
    void start();
    void stop();
    void turn() override;
    void completed(engine::Request& request) override;
    void room() override {}
    engine::State state() const;

    // ---- the administrator
    void issue(const std::string& step);
    void administer(const std::string& words);
    void answer(const char* what, const engine::Reply& reply);
    void write_while_alone(const std::string& dd);
    void steps_before_session();
    bool explains_next_command(const WirePacket& packet);
    void next_command();

    // ---- the play
    bool play_session(size_t number);
    bool end_session(size_t number);
    bool open_channel(const Capture::Session& session, const Packet& packet);
    bool node_says(const Packet& expected);
    void peer_says(const Packet& packet);
    void begin_requests(const Packet& expected);
    void begin_request(const Packet& expected);
    void fill_from_resync(Sector sector, std::span<uint8_t> bytes) const;
    bool find(const Packet& expected);
    void absorb();
    bool matches(const WirePacket& expected, const WirePacket& said, std::string& difference);
    void acknowledge_epochs();
    // With two Primaries acks and writes draw from one row of numbers, and their order is not determined.
    bool same_sequence(uint32_t recorded, uint32_t said) const {
        return net_.allow_two_primaries || recorded == said;
    }
    bool same_uuid(uint64_t recorded, uint64_t said);
    uint64_t translated_uuid(uint64_t recorded);
    std::vector<uint8_t> translated(const WirePacket& packet);

    template <typename Condition>
    bool run_until(Condition condition, uint64_t until_us);
    void pause(uint64_t us);
    void fail(std::string text);

    const Capture& capture_;
    unsigned side_;
    Scheduler scheduler_{1};
    Journal journal_{scheduler_};
    Clock clock_;
    RecordedPeer peer_;
    std::unique_ptr<ReplayHost> host_;
    Disk disk_;
    MetaData meta_data_;
    config::NetOptions net_;
    config::DiskOptions disk_options_;
    std::unique_ptr<engine::Resource> resource_;
    Scheduler::EventId run_event_ = 0;
    bool running_ = false;
    bool open_ = false;

    std::deque<std::string> steps_;
    std::string pattern_;
    size_t commands_under_way_ = 0;
    size_t requests_under_way_ = 0;

    std::array<RecordedPeer::End*, 2> ends_{};
    std::array<std::deque<WirePacket>, 2> said_;  // by the node, and not yet compared
    std::map<uint64_t, uint64_t> uuids_;          // without bit 0
    std::map<uint64_t, uint64_t> block_ids_;      // recorded, said
    // The node's writes: how many the peer's barrier acks cover, as recorded; and its epochs as it said them.
    uint64_t writes_recorded_ = 0, writes_said_ = 0, writes_stable_ = 0, writes_in_epochs_ = 0;
    std::map<uint32_t, uint64_t> recorded_barriers_;
    struct Epoch {
        uint32_t number;
        uint64_t size, end;
    };
    std::deque<Epoch> epochs_;
    uint64_t pings_ = 0, ping_answers_ = 0;
    const Capture::Session* session_ = nullptr;
    bool writes_ = false;     // in this session, on this node
    bool begun_ = false;      // all of them
    bool cut_short_ = false;  // the rest is not determined
    bool peer_disconnects_ = false;
    uint64_t compared_ = 0;
    std::string failure_;
};

}  // namespace duplex::sim
