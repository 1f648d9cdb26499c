// Writing packets. Each encode() writes a packet's fixed part (X::bytes bytes, with its text or trailer at
// most X::bytes_max) into the caller's buffer and returns the number of bytes written.
#pragma once

#include <cstddef>
#include <cstdint>

#include "wire/header.hpp"
#include "wire/packet.hpp"

namespace duplex::wire {

size_t encode(const Data& packet, uint8_t* out);
size_t encode(const Trim& packet, uint8_t* out);
size_t encode(const BlockAck& packet, uint8_t* out);
size_t encode(const BlockRequest& packet, uint8_t* out);
size_t encode(const BlockDesc& packet, uint8_t* out);
size_t encode(const Barrier& packet, uint8_t* out);
size_t encode(const BarrierAck& packet, uint8_t* out);
size_t encode(const Features& packet, uint8_t* out);
size_t encode(const Protocol& packet, uint8_t* out);  // with integrity_alg and its NUL
size_t encode(const SyncParam& packet, uint8_t* out);
size_t encode(const Sizes& packet, uint8_t* out);  // with the trailer iff packet.limits
size_t encode(const Uuids& packet, uint8_t* out);
size_t encode(const StatePacket& packet, uint8_t* out);
size_t encode(const StateChangeRequest& packet, uint8_t* out);
size_t encode(const StateChangeReply& packet, uint8_t* out);
size_t encode(const SyncUuid& packet, uint8_t* out);
size_t encode(const DelayProbe& packet, uint8_t* out);

// Room that encode_packet() needs at most, for any packet.
inline constexpr size_t packet_head_bytes_max = header_bytes_max + SyncParam::bytes;

// Header and fixed part in one piece; `following_bytes` (digest, data block) are counted in the header's
// length and are the caller's to send behind it. Returns the bytes written.
template <typename Packet>
size_t encode_packet(HeaderFormat format, Command command, uint16_t volume, const Packet& packet,
                     uint8_t* out, uint32_t following_bytes = 0) {
    const size_t head = header_bytes(format);
    const size_t fixed = encode(packet, out + head);
    encode_header(format, {command, volume, static_cast<uint32_t>(fixed) + following_bytes}, out);
    return head + fixed;
}

template <typename Packet>
size_t encode_packet(Command command, uint16_t volume, const Packet& packet, uint8_t* out,
                     uint32_t following_bytes = 0) {
    return encode_packet(HeaderFormat::header100, command, volume, packet, out, following_bytes);
}

// A packet without fixed part: P_PING, P_UNPLUG_REMOTE, the header of a bitmap packet or a challenge.
inline size_t encode_packet(Command command, uint16_t volume, uint8_t* out, uint32_t following_bytes = 0) {
    return encode_header(HeaderFormat::header100, {command, volume, following_bytes}, out);
}

}  // namespace duplex::wire
