#include "wire/test_support.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/ensure.hpp"
#include "wire/decode.hpp"

namespace duplex::wire {

namespace {

uint8_t digit(char c) {
    const std::string_view digits = "0123456789abcdef";
    const auto value = digits.find(c);
    ensure(value != std::string_view::npos);
    return static_cast<uint8_t>(value);
}

using Encoded = Result<std::vector<uint8_t>>;

template <typename Packet>
Encoded whole(const PacketReader& reader, const Result<Packet>& packet) {
    if (!packet) return packet.error();
    std::vector<uint8_t> out(packet_head_bytes_max);
    const auto digest = reader.digest();
    const PacketInfo& info = reader.info();
    const bool data_block = carries_data_block(info.command());
    const auto following = static_cast<uint32_t>(digest.size()) + (data_block ? info.variable_bytes : 0);
    out.resize(encode_packet(header_format(reader.agreement().phase), info.command(), info.volume(), *packet,
                             out.data(), following));
    out.insert(out.end(), digest.begin(), digest.end());
    return out;
}

// Packets that are a header and bytes without structure.
Encoded bare(const PacketReader& reader) {
    std::vector<uint8_t> out(header_bytes_max);
    out.resize(encode_header(header_format(reader.agreement().phase), reader.info().header, out.data()));
    const auto digest = reader.digest();
    const auto variable = reader.variable();
    out.insert(out.end(), digest.begin(), digest.end());
    out.insert(out.end(), variable.begin(), variable.end());
    return out;
}

bool has_block_request(Command command) {
    return command == Command::data_request || command == Command::rs_data_request ||
           command == Command::rs_thin_req || command == Command::csum_rs_request ||
           command == Command::ov_request || command == Command::ov_reply;
}

bool has_block_desc(Command command) {
    return command == Command::out_of_sync || command == Command::rs_deallocated;
}

}  // namespace

std::vector<uint8_t> from_hex(std::string_view hex) {
    std::vector<uint8_t> bytes;
    bool high = true;
    for (const char c : hex) {
        if (c == ' ') continue;
        if (high)
            bytes.push_back(static_cast<uint8_t>(digit(c) << 4));
        else
            bytes.back() = static_cast<uint8_t>(bytes.back() | digit(c));
        high = !high;
    }
    ensure(high);
    return bytes;
}

std::string to_hex(std::span<const uint8_t> bytes) {
    return fmt::format("{:02x}", fmt::join(bytes, ""));
}

void clear_ignored_pad(const PacketInfo& info, std::span<uint8_t> bytes) {
    if (has_block_request(info.command()))
        std::ranges::fill(bytes.subspan(header_bytes_max + 20, 4), uint8_t{0});
    if (has_block_desc(info.command()))
        std::ranges::fill(bytes.subspan(header_bytes_max + 12, 4), uint8_t{0});
}

Encoded reencode(const PacketReader& reader) {
    const PacketInfo& info = reader.info();
    const auto body = reader.body();
    const Command command = info.command();
    if (has_block_request(command)) return whole(reader, decode_block_request(info, body));
    if (has_block_desc(command)) return whole(reader, decode_block_desc(info, body));
    switch (command) {
        case Command::data:
        case Command::data_reply:
        case Command::rs_data_reply:
            return whole(reader, decode_data(info, body));
        case Command::trim:
        case Command::zeroes:
            return whole(reader, decode_trim(info, body, reader.agreement().features));
        case Command::barrier:
            return whole(reader, decode_barrier(info, body));
        case Command::barrier_ack:
            return whole(reader, decode_barrier_ack(info, body));
        case Command::connection_features:
            return whole(reader, decode_features(info, body));
        case Command::protocol:
        case Command::protocol_update:
            return whole(reader, decode_protocol(info, body));
        case Command::sync_param89:
            return whole(reader, decode_sync_param(info, body));
        case Command::sizes:
            return whole(reader, decode_sizes(info, body));
        case Command::uuids:
            return whole(reader, decode_uuids(info, body));
        case Command::state:
            return whole(reader, decode_state(info, body));
        case Command::state_chg_req:
        case Command::conn_st_chg_req:
            return whole(reader, Result(decode_state_change_request(body)));
        case Command::state_chg_reply:
        case Command::conn_st_chg_reply:
            return whole(reader, decode_state_change_reply(info, body));
        case Command::sync_uuid:
            return whole(reader, decode_sync_uuid(info, body));
        case Command::delay_probe:
            return whole(reader, Result(decode_delay_probe(body)));
        case Command::bitmap:
        case Command::compressed_bitmap:
        case Command::auth_challenge:
        case Command::auth_response:
        case Command::initial_data:
        case Command::initial_meta:
        case Command::unplug_remote:
        case Command::ping:
        case Command::ping_ack:
            return bare(reader);
        default:
            return whole(reader, decode_block_ack(info, body));
    }
}

}  // namespace duplex::wire
