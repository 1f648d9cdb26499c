// The applications' writes as they cross the cable: when a write completes, how far has its packet come
// (I19), and in which epoch is it (I25)?
//
// A write is known by the tag in its data; a discard, which has none, by its place. What counts is the packet
// that was queued on a connection that is still there: a write that was not replicated has none, and one
// whose connection is lost waits for nobody. That a write has no packet although it needed one can be told
// where the node replicated all the time from its issue to its completion.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <vector>

#include "config/options.hpp"
#include "sim/network.hpp"
#include "sim/node.hpp"
#include "sim/oracle.hpp"
#include "sim/verdict.hpp"

namespace duplex::sim {

class WireWatch final : public CableWatch {
  public:
    WireWatch(Verdict& verdict, config::Protocol protocol) : verdict_(verdict), protocol_(protocol) {}

    void watch(std::array<Node*, 2> nodes) { nodes_ = nodes; }
    // A turn of the node has ended.
    void after_run(unsigned side);

    // ---- the applications
    void issued(unsigned volume, WriteId id, const Write& write);
    void completed(unsigned volume, WriteId id);
    void failed(unsigned volume, WriteId id);
    // What this node had under way ends no more.
    void node_died(unsigned side);

    // Where the packet of a write with a tag is: on which connection, behind how many barriers.
    struct Place {
        uint64_t stream;
        uint64_t epoch;
    };
    std::optional<Place> place_of(unsigned side, unsigned volume, Sector sector, uint32_t size_sectors,
                                  uint64_t tag);

    // ---- the cable
    void queued(unsigned side, const Socket& socket, const engine::OutPacket& packet) override;
    void closed(const Socket& socket) override { streams_.erase(&socket); }

    uint64_t packets_known() const { return packets_known_; }
    uint64_t completions_checked() const { return completions_checked_; }

  private:
    // One direction of a data connection.
    struct Stream {
        uint64_t serial = 0;
        uint64_t epoch = 0;                     // barriers so far
        uint64_t first_completed = UINT64_MAX;  // of the writes of this epoch
    };
    struct Record {
        unsigned side = 0;
        Sector sector;
        uint32_t size_sectors = 0;
        uint64_t issued = 0;
        uint64_t completed = 0;
        uint64_t moments_apart = 0;  // at its issue
        uint64_t moments_open = 0;
        const Socket* socket = nullptr;  // that its packet was queued on last
        uint64_t stream = 0;             // its serial number
        uint64_t end_byte = 0;           // of the packet, in the stream
        uint64_t epoch = 0;
        bool ambiguous = false;  // another one cannot be told from it
    };
    // Of a node's view of a volume: the moments in which it did not replicate, and in which it admitted
    // requests.
    struct Moments {
        uint64_t apart = 0;
        uint64_t open = 0;
    };
    struct Volume {
        std::vector<Record> writes;  // by their ids
        std::unordered_map<uint64_t, WriteId> by_tag;
        std::vector<WriteId> blank;  // under way, without a tag
        std::array<Moments, 2> moments;
    };

    Volume& volume(unsigned number);
    Stream& stream(const Socket& socket);
    Record* find(Volume& in, unsigned side, Sector sector, uint32_t size_sectors, uint64_t tag);
    Stream* stream_of(const Record& write);
    void follow(unsigned side, unsigned volume);
    void check_progress(const Record& write, unsigned volume);
    void check_admission(const Record& write, unsigned volume);
    void take_place(Record& write, const Socket& socket);

    Verdict& verdict_;
    config::Protocol protocol_;
    std::array<Node*, 2> nodes_{};
    std::deque<Volume> volumes_;
    std::unordered_map<const Socket*, Stream> streams_;
    uint64_t sequence_ = 0;
    uint64_t last_stream_ = 0;
    uint64_t packets_known_ = 0;
    uint64_t completions_checked_ = 0;
};

}  // namespace duplex::sim
