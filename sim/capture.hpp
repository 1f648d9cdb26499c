// A folder of tests/golden/wire as data: the packets that two kernels exchanged, in the order and at the
// times in which they crossed the cable, and what their administrators typed.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/digest.hpp"
#include "config/options.hpp"
#include "wire/stream.hpp"

namespace duplex::sim {

// A whole packet as it was on the wire.
struct WirePacket {
    wire::Socket channel = wire::Socket::data;
    wire::PacketInfo info;
    size_t head_bytes = 0;
    std::vector<uint8_t> bytes;

    wire::Command command() const { return info.command(); }
    // What decode_...() takes, and the data block, challenge or bitmap behind it.
    std::span<const uint8_t> body() const;
    std::span<const uint8_t> variable() const;
};

// One direction of one socket, cut into packets. Follows the phases of a connection by what it sees.
class StreamSplitter {
  public:
    StreamSplitter(wire::Socket channel, const config::NetOptions& net, bool sender_opened);
    // Packets that became complete with these bytes; an error is final.
    Status feed(std::span<const uint8_t> bytes);
    std::vector<WirePacket> take() { return std::exchange(packets_, {}); }
    bool at_packet_start() const { return reader_.at_packet_start(); }

  private:
    wire::Phase phase_after(wire::Command command) const;

    wire::Socket channel_;
    bool authenticates_;
    wire::Agreement agreement_;
    wire::PacketReader reader_;
    std::vector<uint8_t> current_;
    std::vector<uint8_t> data_;
    std::vector<WirePacket> packets_;
};

struct Capture {
    struct Packet {
        unsigned sender = 0;  // 0: alpha, 1: beta
        unsigned stream = 0;
        // When its first byte left the sender, and when its last had reached the receiver: microseconds since
        // the capture began.
        uint64_t first_byte_us = 0;
        uint64_t last_byte_us = 0;
        WirePacket wire;
    };
    // A data and a meta socket.
    struct Session {
        std::array<unsigned, 2> opener{};  // of the channel: data, meta
        std::vector<Packet> packets;       // in the order of the wire
    };
    struct Step {
        unsigned node = 0;
        std::string command;
    };
    struct Node {
        config::NetOptions net;
        config::DiskOptions disk;
        std::string final_state;  // "cs:... ro:... ds:..." of /proc/drbd; empty: down
    };

    std::string name;
    std::array<Node, 2> nodes;
    std::vector<Step> steps;
    std::vector<Session> sessions;
    uint64_t disk_sectors = 0;
};

Result<Capture> read_capture(const std::filesystem::path& folder);

}  // namespace duplex::sim
