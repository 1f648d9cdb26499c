// Which packet is legal on which socket, in which phase of the connection and with which length: the table of
// wire protocol 4 as data, and the check that every received header passes before anything behind it is read
// (wire protocol 3.3, 17.1, 17.3).
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.hpp"
#include "wire/header.hpp"
#include "wire/packet.hpp"

namespace duplex::wire {

enum class Socket : uint8_t { data, meta };
std::string_view name_of(Socket socket);

// How far the connection is. Meta-socket bytes are not parsed before Phase::protocol (wire protocol 3.2).
enum class Phase : uint8_t {
    first_packet,    // an accepted socket that has yet to say which one it is
    features,        // data socket: P_CONNECTION_FEATURES expected
    auth_challenge,  // data socket: P_AUTH_CHALLENGE expected
    auth_response,   // data socket: P_AUTH_RESPONSE expected
    protocol,        // data socket: P_PROTOCOL expected; the meta socket is open
    established,
};

constexpr HeaderFormat header_format(Phase phase) {
    return phase <= Phase::features ? HeaderFormat::header80 : HeaderFormat::header100;
}

// What both nodes agreed on, as far as it decides which packets are legal and how long they are. A digest
// size of 0 means that no such algorithm is agreed. Change it only between two packets of the data socket.
struct Agreement {
    Phase phase = Phase::first_packet;
    uint32_t features = 0;
    uint8_t integrity_digest_bytes = 0;  // of the peer's data-integrity-alg
    uint8_t csums_digest_bytes = 0;
    uint8_t verify_digest_bytes = 0;
    uint8_t auth_digest_bytes = 0;  // of cram-hmac-alg
};

// A header that passed the check, and where the bytes behind it belong:
// header.length = fixed_bytes + digest_bytes + variable_bytes, in this order on the wire.
struct PacketInfo {
    Header header{};
    uint16_t fixed_bytes = 0;
    uint16_t digest_bytes = 0;    // also the HMAC of P_AUTH_RESPONSE
    uint32_t variable_bytes = 0;  // data block, bitmap, challenge, or text

    Command command() const { return header.command; }
    uint16_t volume() const { return header.volume; }
};

// The error names the packet, the volume, and what is wrong with it. Not judged: whether the volume exists,
// and what needs the state of the volume.
Result<PacketInfo> check_packet(Socket socket, const Header& header, const Agreement& agreement);

// Whether the volume number in the header means something (column "vol" of wire protocol 4).
bool concerns_volume(Command command);
// Whether a data block follows that the receiver wants in a buffer of its own: P_DATA, P_DATA_REPLY,
// P_RS_DATA_REPLY.
constexpr bool carries_data_block(Command command) {
    return command == Command::data || command == Command::data_reply || command == Command::rs_data_reply;
}

}  // namespace duplex::wire
