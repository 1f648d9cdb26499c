#include "wire/rules.hpp"

#include <array>

#include "wire/bitmap_codec.hpp"
#include "wire/packet_error.hpp"

namespace duplex::wire {

namespace {

enum class DigestKind : uint8_t { none, integrity, csums, verify, auth };

constexpr uint8_t on_data = 1;
constexpr uint8_t on_meta = 2;
constexpr uint8_t on_both = on_data | on_meta;
constexpr uint8_t never = 0;

constexpr uint8_t phase_bit(Phase phase) {
    return static_cast<uint8_t>(1u << static_cast<unsigned>(phase));
}
constexpr uint8_t established = phase_bit(Phase::established);
// A ping can come as soon as the peer is through with the authentication (wire protocol 14.1).
constexpr uint8_t from_protocol = phase_bit(Phase::protocol) | established;

struct Variable {
    uint32_t min_bytes = 0;
    uint32_t max_bytes = 0;
    uint32_t unit_bytes = 1;
};
constexpr Variable nothing{};
constexpr Variable data_block{512, data_bytes_max, 512};
constexpr Variable text{0, Protocol::bytes_max - Protocol::bytes, 1};

struct Rule {
    Command command;
    std::string_view name;
    uint8_t sockets;
    uint8_t phases;
    bool volume;  // the header's volume number means something
    uint16_t fixed_bytes;
    DigestKind digest = DigestKind::none;
    Variable variable = nothing;
    uint32_t needs_feature = 0;
};

using enum DigestKind;

constexpr std::array rules{
    // Data socket (wire protocol 4.1).
    Rule{Command::data, "P_DATA", on_data, established, true, Data::bytes, integrity, data_block},
    Rule{Command::data_reply, "P_DATA_REPLY", on_data, established, true, Data::bytes, integrity, data_block},
    Rule{Command::rs_data_reply, "P_RS_DATA_REPLY", on_data, established, true, Data::bytes, integrity,
         data_block},
    Rule{Command::barrier, "P_BARRIER", on_data, established, false, Barrier::bytes},
    Rule{Command::bitmap, "P_BITMAP", on_data, established, true, 0, none, {0, bitmap_payload_bytes_max, 8}},
    Rule{Command::become_sync_target, "P_BECOME_SYNC_TARGET", never, 0, true, 0},
    Rule{Command::become_sync_source, "P_BECOME_SYNC_SOURCE", never, 0, true, 0},
    Rule{Command::unplug_remote, "P_UNPLUG_REMOTE", on_data, established, false, 0},
    Rule{Command::data_request, "P_DATA_REQUEST", on_data, established, true, BlockRequest::bytes},
    Rule{Command::rs_data_request, "P_RS_DATA_REQUEST", on_data, established, true, BlockRequest::bytes},
    Rule{Command::sync_param, "P_SYNC_PARAM", never, 0, true, 0},
    Rule{Command::protocol, "P_PROTOCOL", on_data, phase_bit(Phase::protocol), false, Protocol::bytes, none,
         text},
    Rule{Command::uuids, "P_UUIDS", on_data, established, true, Uuids::bytes},
    Rule{Command::sizes, "P_SIZES", on_data, established, true, Sizes::bytes},
    Rule{Command::state, "P_STATE", on_data, established, true, StatePacket::bytes},
    Rule{Command::sync_uuid, "P_SYNC_UUID", on_data, established, true, SyncUuid::bytes},
    Rule{Command::auth_challenge,
         "P_AUTH_CHALLENGE",
         on_data,
         phase_bit(Phase::auth_challenge),
         false,
         0,
         none,
         {auth_challenge_bytes, auth_challenge_bytes_max, 1}},
    Rule{Command::auth_response, "P_AUTH_RESPONSE", on_data, phase_bit(Phase::auth_response), false, 0, auth},
    Rule{Command::state_chg_req, "P_STATE_CHG_REQ", on_data, established, true, StateChangeRequest::bytes},
    Rule{Command::ov_request, "P_OV_REQUEST", on_data, established, true, BlockRequest::bytes},
    Rule{Command::ov_reply, "P_OV_REPLY", on_data, established, true, BlockRequest::bytes, verify},
    Rule{Command::csum_rs_request, "P_CSUM_RS_REQUEST", on_data, established, true, BlockRequest::bytes,
         csums},
    Rule{Command::sync_param89, "P_SYNC_PARAM89", on_data, established, true, SyncParam::bytes},
    Rule{Command::compressed_bitmap,
         "P_COMPRESSED_BITMAP",
         on_data,
         established,
         true,
         0,
         none,
         {2, bitmap_payload_bytes_max, 1}},
    Rule{Command::delay_probe, "P_DELAY_PROBE", on_both, established, false, DelayProbe::bytes},
    Rule{Command::out_of_sync, "P_OUT_OF_SYNC", on_data, established, true, BlockDesc::bytes},
    Rule{Command::conn_st_chg_req, "P_CONN_ST_CHG_REQ", on_data, established, false,
         StateChangeRequest::bytes},
    Rule{Command::protocol_update, "P_PROTOCOL_UPDATE", on_data, established, false, Protocol::bytes, none,
         text},
    Rule{Command::trim, "P_TRIM", on_data, established, true, Trim::bytes, none, nothing, feature::trim},
    Rule{Command::rs_thin_req, "P_RS_THIN_REQ", on_data, established, true, BlockRequest::bytes, none,
         nothing, feature::thin_resync},
    Rule{Command::rs_deallocated, "P_RS_DEALLOCATED", on_data, established, true, BlockDesc::bytes, none,
         nothing, feature::thin_resync},
    Rule{Command::wsame, "P_WSAME", never, 0, true, Trim::bytes},
    Rule{Command::zeroes, "P_ZEROES", on_data, established, true, Trim::bytes, none, nothing,
         feature::wzeroes},
    Rule{Command::initial_data, "P_INITIAL_DATA", on_both, phase_bit(Phase::first_packet), false, 0},
    Rule{Command::connection_features, "P_CONNECTION_FEATURES", on_data, phase_bit(Phase::features), false,
         Features::bytes},
    // Meta socket (wire protocol 4.2).
    Rule{Command::ping, "P_PING", on_meta, from_protocol, false, 0},
    Rule{Command::ping_ack, "P_PING_ACK", on_meta, from_protocol, false, 0},
    Rule{Command::recv_ack, "P_RECV_ACK", on_meta, from_protocol, true, BlockAck::bytes},
    Rule{Command::write_ack, "P_WRITE_ACK", on_meta, from_protocol, true, BlockAck::bytes},
    Rule{Command::rs_write_ack, "P_RS_WRITE_ACK", on_meta, from_protocol, true, BlockAck::bytes},
    Rule{Command::superseded, "P_SUPERSEDED", on_meta, from_protocol, true, BlockAck::bytes},
    Rule{Command::neg_ack, "P_NEG_ACK", on_meta, from_protocol, true, BlockAck::bytes},
    Rule{Command::neg_dreply, "P_NEG_DREPLY", on_meta, from_protocol, true, BlockAck::bytes},
    Rule{Command::neg_rs_dreply, "P_NEG_RS_DREPLY", on_meta, from_protocol, true, BlockAck::bytes},
    Rule{Command::barrier_ack, "P_BARRIER_ACK", on_meta, from_protocol, false, BarrierAck::bytes},
    Rule{Command::state_chg_reply, "P_STATE_CHG_REPLY", on_meta, from_protocol, true,
         StateChangeReply::bytes},
    Rule{Command::ov_result, "P_OV_RESULT", on_meta, from_protocol, true, BlockAck::bytes},
    Rule{Command::rs_is_in_sync, "P_RS_IS_IN_SYNC", on_meta, from_protocol, true, BlockAck::bytes},
    Rule{Command::rs_cancel, "P_RS_CANCEL", on_meta, from_protocol, true, BlockAck::bytes},
    Rule{Command::conn_st_chg_reply, "P_CONN_ST_CHG_REPLY", on_meta, from_protocol, false,
         StateChangeReply::bytes},
    Rule{Command::retry_write, "P_RETRY_WRITE", on_meta, from_protocol, true, BlockAck::bytes},
    Rule{Command::initial_meta, "P_INITIAL_META", on_both, phase_bit(Phase::first_packet), false, 0},
};

constexpr size_t low_codes = 0x37;

// Row of each command below low_codes, or rules.size(); the three codes above are looked for one by one.
constexpr auto low_rows = [] {
    std::array<uint8_t, low_codes> rows{};
    rows.fill(static_cast<uint8_t>(rules.size()));
    for (size_t row = 0; row < rules.size(); ++row)
        if (const auto code = static_cast<size_t>(rules[row].command); code < low_codes)
            rows[code] = static_cast<uint8_t>(row);
    return rows;
}();

const Rule* rule_of(Command command) {
    const auto code = static_cast<size_t>(command);
    if (code < low_codes) return low_rows[code] < rules.size() ? &rules[low_rows[code]] : nullptr;
    for (const Rule& rule : rules)
        if (rule.command == command) return &rule;
    return nullptr;
}

std::string_view name_of(Phase phase) {
    switch (phase) {
        case Phase::first_packet:
            return "as the first packet of a socket";
        case Phase::features:
            return "before P_CONNECTION_FEATURES";
        case Phase::auth_challenge:
            return "where P_AUTH_CHALLENGE is expected";
        case Phase::auth_response:
            return "where P_AUTH_RESPONSE is expected";
        case Phase::protocol:
            return "where P_PROTOCOL is expected";
        case Phase::established:
            return "in an established connection";
    }
    return "in an unknown phase";
}

uint16_t fixed_bytes(const Rule& rule, const Agreement& agreement) {
    const bool trailer = rule.command == Command::sizes && (agreement.features & feature::wsame) != 0;
    return trailer ? uint16_t{Sizes::bytes_max} : rule.fixed_bytes;
}

uint8_t digest_bytes(DigestKind kind, const Agreement& agreement) {
    switch (kind) {
        case none:
            return 0;
        case integrity:
            return agreement.integrity_digest_bytes;
        case csums:
            return agreement.csums_digest_bytes;
        case verify:
            return agreement.verify_digest_bytes;
        case auth:
            return agreement.auth_digest_bytes;
    }
    return 0;
}

Status check_legal_now(Socket socket, const Header& header, const Rule* rule, const Agreement& agreement) {
    if (rule == nullptr)
        return error("unknown command 0x{:x} on the {} socket, volume {}, length {}",
                     static_cast<unsigned>(header.command), name_of(socket), header.volume, header.length);
    if (rule->sockets == never)
        return packet_error(header, "this packet is not part of protocol 100 and 101");
    if ((rule->sockets & (socket == Socket::data ? on_data : on_meta)) == 0)
        return packet_error(header, "not legal on the {} socket", name_of(socket));
    if ((rule->phases & phase_bit(agreement.phase)) == 0)
        return packet_error(header, "not legal {}", name_of(agreement.phase));
    if ((rule->needs_feature & ~agreement.features) != 0)
        return packet_error(header, "needs feature 0x{:x}, agreed are 0x{:x}", rule->needs_feature,
                            agreement.features);
    if ((rule->digest == csums || rule->digest == verify || rule->digest == auth) &&
        digest_bytes(rule->digest, agreement) == 0)
        return packet_error(
            header, "no {} is agreed",
            rule->digest == csums ? "csums-alg" : (rule->digest == verify ? "verify-alg" : "cram-hmac-alg"));
    return Ok{};
}

Status check_length(const PacketInfo& info, const Variable& variable) {
    const uint32_t before = uint32_t{info.fixed_bytes} + info.digest_bytes;
    const uint32_t length = info.header.length;
    if (variable.max_bytes == 0) {
        if (length == before) return Ok{};
        return packet_error(info.header, "length {}, must be {}", length, before);
    }
    if (length < before + variable.min_bytes || length > before + variable.max_bytes)
        return packet_error(info.header, "length {}, must be {} to {}", length, before + variable.min_bytes,
                            before + variable.max_bytes);
    if ((length - before) % variable.unit_bytes != 0)
        return packet_error(info.header, "length {}: {} bytes behind the fixed part are no multiple of {}",
                            length, length - before, variable.unit_bytes);
    return Ok{};
}

}  // namespace

std::string_view name_of(Socket socket) {
    return socket == Socket::data ? "data" : "meta";
}

std::string_view name_of(Command command) {
    const Rule* rule = rule_of(command);
    return rule == nullptr ? "unknown" : rule->name;
}

bool concerns_volume(Command command) {
    const Rule* rule = rule_of(command);
    return rule != nullptr && rule->volume;
}

Result<PacketInfo> check_packet(Socket socket, const Header& header, const Agreement& agreement) {
    const Rule* rule = rule_of(header.command);
    if (const auto legal = check_legal_now(socket, header, rule, agreement); !legal) return legal.error();
    PacketInfo info{.header = header,
                    .fixed_bytes = fixed_bytes(*rule, agreement),
                    .digest_bytes = digest_bytes(rule->digest, agreement)};
    if (const auto fits = check_length(info, rule->variable); !fits) return fits.error();
    info.variable_bytes = header.length - info.fixed_bytes - info.digest_bytes;
    return info;
}

}  // namespace duplex::wire
