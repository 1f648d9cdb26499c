// The vectors of wire protocol 18, and what every decoder must refuse (17.3, 17.5).
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "wire/decode.hpp"
#include "wire/encode.hpp"
#include "wire/state_change.hpp"
#include "wire/test_support.hpp"

namespace duplex::wire {
namespace {

using testing::HasSubstr;

Agreement agreed(Phase phase) {
    return {.phase = phase,
            .features = feature::all,
            .integrity_digest_bytes = 0,
            .csums_digest_bytes = 16,
            .verify_digest_bytes = 16,
            .auth_digest_bytes = 20};
}

struct Vector {
    const char* name;
    Socket socket;
    Phase phase;
    std::string hex;
};

const std::vector<Vector> vectors{
    {"P_INITIAL_DATA", Socket::data, Phase::first_packet, "83740267 fff20000"},
    {"P_INITIAL_META", Socket::data, Phase::first_packet, "83740267 fff10000"},
    {"P_CONNECTION_FEATURES", Socket::data, Phase::features,
     "83740267 fffe0048 00000056 0000000f 00000065 00000000" + std::string(112, '0')},
    {"P_PROTOCOL", Socket::data, Phase::protocol,
     "8620ec20 0000000b 00000019 00000000 00000003 00000000 00000000 00000000 00000000 00000000 00"},
    {"P_SIZES", Socket::data, Phase::established,
     "8620ec20 0000000d 00000038 00000000 0000000000013fb0 0000000000000000 0000000000013fb0 0001fe00 0000 "
     "0000"
     "00000200 00000200 00000000 00000200 00000000 01 00 00 00"},
    {"P_UUIDS", Socket::data, Phase::established,
     "8620ec20 0000000c 00000030 00000000 0000000000000004 0000000000000000 0000000000000000 0000000000000000"
     "00000000000027f6 0000000000000000"},
    {"P_STATE", Socket::data, Phase::established, "8620ec20 0007000e 00000004 00000000 0000c882"},
    {"P_PING", Socket::meta, Phase::protocol, "8620ec20 00000013 00000000 00000000"},
    {"P_PING_ACK", Socket::meta, Phase::established, "8620ec20 00000014 00000000 00000000"},
    {"P_WRITE_ACK", Socket::meta, Phase::established,
     "8620ec20 00000016 00000018 00000000 0000000000004000 c071e27300000000 0001fe00 00000002"},
    {"P_BARRIER", Socket::data, Phase::established, "8620ec20 00000003 00000008 00000000 01000000 00000000"},
    {"P_BARRIER_ACK", Socket::meta, Phase::established,
     "8620ec20 0000001c 00000008 00000000 01000000 00000009"},
    {"P_TRIM", Socket::data, Phase::established,
     "8620ec20 00000031 0000001c 00000000 0000000000004000 80c3ea7600000000 00000315 00000142 00008000"},
    {"P_ZEROES", Socket::data, Phase::established,
     "8620ec20 00000036 0000001c 00000000 0000000000008000 60a4eb7600000000 00000415 00000502 00400000"},
    {"P_RS_DATA_REQUEST", Socket::data, Phase::established,
     "8620ec20 00000009 00000018 00000000 0000000000000000 ffffffffffffffff 00007000 00000000"},
    {"P_RS_WRITE_ACK", Socket::meta, Phase::established,
     "8620ec20 00000017 00000018 00000000 0000000000000320 ffffffffffffffff 00004000 00000001"},
    {"P_RS_THIN_REQ", Socket::data, Phase::established,
     "8620ec20 00000032 00000018 00000000 0000000000000040 ffffffffffffffff 00008000 00000000"},
    {"P_RS_DEALLOCATED", Socket::data, Phase::established,
     "8620ec20 00000033 00000010 00000000 0000000000000040 00008000 00000000"},
    {"P_CSUM_RS_REQUEST", Socket::data, Phase::established,
     "8620ec20 00000021 00000028 00000000 0000000000000000 ffffffffffffffff 00007000 00000000"
     "cf845a781c107ec1346e849c9dd1b7e8"},
    {"P_OV_REPLY", Socket::data, Phase::established,
     "8620ec20 0000001f 00000028 00000000 0000000000000000 ffffffffffffffff 00001000 00000000"
     "620f0b67a91f7f74151bc5be745b7110"},
    {"P_OV_RESULT", Socket::meta, Phase::established,
     "8620ec20 00000020 00000018 00000000 0000000000000000 0000000000001267 00001000 00000001"},
    {"P_OUT_OF_SYNC", Socket::data, Phase::established,
     "8620ec20 00000028 00000010 00000000 0000000000000078 00001000 00000000"},
    {"P_STATE_CHG_REQ", Socket::data, Phase::established,
     "8620ec20 00000012 00000008 00000000 00001e03 00001001"},
    {"P_STATE_CHG_REPLY", Socket::meta, Phase::established, "8620ec20 0000001d 00000004 00000000 00000001"},
    {"P_CONN_ST_CHG_REQ", Socket::data, Phase::established,
     "8620ec20 0000002a 00000008 00000000 000001f0 00000010"},
    {"P_CONN_ST_CHG_REPLY", Socket::meta, Phase::established, "8620ec20 0000002b 00000004 00000000 00000001"},
    {"P_COMPRESSED_BITMAP", Socket::data, Phase::established,
     "8620ec20 00000024 00000005 00000000 b27fc50600"},
    {"P_SYNC_UUID", Socket::data, Phase::established, "8620ec20 0000000f 00000008 00000000 568cf89e4df726e2"},
};

// Feeds bytes that must be exactly one packet.
Result<PacketReader::Event> feed_all(PacketReader& reader, const std::vector<uint8_t>& bytes) {
    auto fed = reader.feed(bytes);
    if (!fed) return fed.error();
    EXPECT_EQ(fed->consumed_bytes, bytes.size());
    return fed->event;
}

TEST(Packet, RecordedVectorsDecodeAndEncodeAgain) {
    for (const auto& vector : vectors) {
        PacketReader reader(vector.socket);
        reader.set_agreement(agreed(vector.phase));
        const auto bytes = from_hex(vector.hex);
        const auto event = feed_all(reader, bytes);
        ASSERT_TRUE(event) << vector.name << ": " << event.error().text;
        ASSERT_EQ(*event, PacketReader::Event::packet) << vector.name;
        EXPECT_EQ(name_of(reader.info().command()), vector.name);
        const auto again = reencode(reader);
        ASSERT_TRUE(again) << vector.name << ": " << again.error().text;
        EXPECT_EQ(to_hex(*again), to_hex(bytes)) << vector.name;
    }
}

TEST(Packet, DataHeadDecodesBeforeItsBlock) {
    PacketReader reader(Socket::data);
    reader.set_agreement(agreed(Phase::established));
    const auto head =
        from_hex("8620ec20 00000000 0001fe18 00000000 0000000000004000 c071e27300000000 00000303 00000102");
    const auto event = feed_all(reader, head);
    ASSERT_TRUE(event);
    ASSERT_EQ(*event, PacketReader::Event::head);
    EXPECT_TRUE(reader.wanted().empty());
    const auto data = decode_data(reader.info(), reader.body());
    ASSERT_TRUE(data);
    EXPECT_EQ(data->sector, Sector(0x4000));
    EXPECT_EQ(data->seq_num, 0x303u);
    EXPECT_EQ(data->dp_flags, dp_flag::rw_sync | dp_flag::send_write_ack);
    EXPECT_EQ(reader.info().variable_bytes, 130560u);

    std::vector<uint8_t> buffer(130560);
    reader.set_data_buffer(buffer);
    EXPECT_EQ(reader.wanted().data(), buffer.data());
    const auto last = reader.arrived(130560);
    ASSERT_TRUE(last);
    EXPECT_EQ(*last, PacketReader::Event::packet);
    EXPECT_EQ(reader.variable().data(), buffer.data());
    EXPECT_TRUE(reader.at_packet_start());
}

TEST(Packet, FieldsOfTheHandshakeVectors) {
    const PacketInfo info{.header = {Command::sizes, 0, 56}, .fixed_bytes = 56};
    const auto bytes = from_hex(vectors[4].hex);
    const auto sizes = decode_sizes(info, std::span(bytes).subspan(16));
    ASSERT_TRUE(sizes);
    EXPECT_EQ(sizes->d_size_sectors, 81840u);
    EXPECT_EQ(sizes->max_bio_size_bytes, 130560u);
    ASSERT_TRUE(sizes->limits);
    EXPECT_EQ(sizes->limits->discard_enabled, 1);

    const auto word = from_hex("0000c882");
    const auto state = decode_state({.header = {Command::state, 7, 4}, .fixed_bytes = 4}, word);
    ASSERT_TRUE(state);
    EXPECT_EQ(state->state.conn, ConnState::wf_connection);
    EXPECT_EQ(state->state.disk, DiskState::inconsistent);
}

TEST(Packet, Header95AndHeader80) {
    std::array<uint8_t, header_bytes_max> out{};
    ASSERT_EQ(encode_header(HeaderFormat::header95, {Command::trim, 0, 70000}, out.data()), 8u);
    EXPECT_EQ(to_hex(std::span(out).first(8)), "835a003100011170");
    const auto header = decode_header(HeaderFormat::header95, out);
    ASSERT_TRUE(header);
    EXPECT_EQ(*header, (Header{Command::trim, 0, 70000}));
    EXPECT_FALSE(decode_header(HeaderFormat::header80, out));
    EXPECT_FALSE(decode_header(HeaderFormat::header100, out));
}

TEST(Packet, HeaderPadMustBeZero) {
    const auto bytes = from_hex("8620ec20 00030013 00000000 00000001");
    const auto header = decode_header(HeaderFormat::header100, bytes);
    ASSERT_FALSE(header);
    EXPECT_THAT(header.error().text, HasSubstr("P_PING"));
    EXPECT_THAT(header.error().text, HasSubstr("pad"));
}

// A packet as the peer would have to send it for one check to fail, and a part of the error that must name
// it.
struct Refusal {
    Command command;
    Socket socket;
    Phase phase;
    uint32_t length;
    const char* error;
};

TEST(Rules, RefusesByTable) {
    constexpr Phase open = Phase::established;
    const std::vector<Refusal> refusals{
        {static_cast<Command>(0x37), Socket::data, open, 0, "unknown command 0x37 on the data socket"},
        {static_cast<Command>(0x101), Socket::meta, open, 0, "unknown command 0x101 on the meta socket"},
        {static_cast<Command>(0xffff), Socket::data, open, 0, "unknown command 0xffff"},
        {Command::wsame, Socket::data, open, 28 + 512, "P_WSAME"},
        {Command::sync_param, Socket::data, open, 148, "P_SYNC_PARAM"},
        {Command::become_sync_target, Socket::data, open, 0, "not part of protocol"},
        {Command::ping, Socket::data, open, 0, "not legal on the data socket"},
        {Command::data, Socket::meta, open, 24 + 512, "not legal on the meta socket"},
        {Command::state_chg_req, Socket::meta, open, 8, "not legal on the meta socket"},
        {Command::protocol, Socket::data, open, 25, "P_PROTOCOL: not legal in an established connection"},
        {Command::state, Socket::data, Phase::protocol, 4, "where P_PROTOCOL is expected"},
        {Command::protocol, Socket::data, Phase::auth_challenge, 25, "where P_AUTH_CHALLENGE is expected"},
        {Command::auth_challenge, Socket::data, open, 64, "P_AUTH_CHALLENGE: not legal"},
        {Command::auth_challenge, Socket::data, Phase::auth_challenge, 63, "length 63, must be 64 to 128"},
        {Command::auth_challenge, Socket::data, Phase::auth_challenge, 129, "length 129"},
        {Command::auth_response, Socket::data, Phase::auth_response, 16, "length 16, must be 20"},
        {Command::connection_features, Socket::data, Phase::features, 80, "length 80, must be 72"},
        {Command::initial_data, Socket::data, Phase::first_packet, 1, "length 1, must be 0"},
        {Command::ping, Socket::meta, open, 1, "P_PING: length 1, must be 0"},
        {Command::write_ack, Socket::meta, open, 23, "length 23, must be 24"},
        {Command::data, Socket::data, open, 24, "P_DATA, volume 5: length 24, must be 536 to 1048600"},
        {Command::data, Socket::data, open, 24 + 513,
         "513 bytes behind the fixed part are no multiple of 512"},
        {Command::data, Socket::data, open, 24 + (1 << 20) + 512, "must be 536 to 1048600"},
        {Command::data, Socket::data, open, 0xffffffff, "length 4294967295"},
        {Command::bitmap, Socket::data, open, 4088, "must be 0 to 4080"},
        {Command::bitmap, Socket::data, open, 4079, "no multiple of 8"},
        {Command::compressed_bitmap, Socket::data, open, 1, "must be 2 to 4080"},
        {Command::sizes, Socket::data, open, 32, "length 32, must be 56"},
        {Command::sync_param89, Socket::data, open, 147, "length 147, must be 148"},
        {Command::csum_rs_request, Socket::data, open, 24, "length 24, must be 40"},
        {Command::ov_reply, Socket::data, open, 24 + 20, "length 44, must be 40"},
        {Command::protocol_update, Socket::data, open, 24 + 65, "must be 24 to 88"},
        {Command::unplug_remote, Socket::data, open, 8, "length 8, must be 0"},
    };
    for (const auto& refusal : refusals) {
        const auto info =
            check_packet(refusal.socket, {refusal.command, 5, refusal.length}, agreed(refusal.phase));
        ASSERT_FALSE(info) << refusal.error;
        EXPECT_THAT(info.error().text, HasSubstr(refusal.error));
    }
}

TEST(Rules, RefusesWhatWasNotAgreed) {
    Agreement none{.phase = Phase::established};
    EXPECT_FALSE(check_packet(Socket::data, {Command::trim, 0, 28}, none));
    EXPECT_FALSE(check_packet(Socket::data, {Command::zeroes, 0, 28}, none));
    EXPECT_FALSE(check_packet(Socket::data, {Command::rs_thin_req, 0, 24}, none));
    EXPECT_FALSE(check_packet(Socket::data, {Command::rs_deallocated, 0, 16}, none));
    const auto csums = check_packet(Socket::data, {Command::csum_rs_request, 0, 24}, none);
    ASSERT_FALSE(csums);
    EXPECT_THAT(csums.error().text, HasSubstr("no csums-alg is agreed"));
    EXPECT_FALSE(check_packet(Socket::data, {Command::ov_reply, 0, 24}, none));
    const auto sizes = check_packet(Socket::data, {Command::sizes, 0, 32}, none);
    ASSERT_TRUE(sizes);
    EXPECT_EQ(sizes->fixed_bytes, 32);
}

TEST(Rules, SplitsTheLength) {
    Agreement sha1 = agreed(Phase::established);
    sha1.integrity_digest_bytes = 20;
    const auto info = check_packet(Socket::data, {Command::data, 3, 24 + 20 + 4096}, sha1);
    ASSERT_TRUE(info);
    EXPECT_EQ(info->fixed_bytes, 24);
    EXPECT_EQ(info->digest_bytes, 20);
    EXPECT_EQ(info->variable_bytes, 4096u);
    EXPECT_FALSE(check_packet(Socket::data, {Command::data, 3, 24 + 20}, sha1));
    EXPECT_FALSE(check_packet(Socket::data, {Command::data, 3, 24 + 4096}, sha1));
    // P_TRIM and P_ZEROES never carry a digest (wire protocol 7.2).
    EXPECT_TRUE(check_packet(Socket::data, {Command::zeroes, 3, 28}, sha1));
}

// Decodes one packet whose body is `hex`; returns the error's text, or "" if it decodes.
std::string refusal_of(Socket socket, Command command, const std::string& hex,
                       Phase phase = Phase::established) {
    PacketReader reader(socket);
    reader.set_agreement(agreed(phase));
    const auto body = from_hex(hex);
    std::vector<uint8_t> bytes(header_bytes_max);
    const bool block = carries_data_block(command);
    bytes.resize(encode_header(header_format(phase),
                               {command, 5, static_cast<uint32_t>(body.size()) + (block ? 512u : 0)},
                               bytes.data()));
    bytes.insert(bytes.end(), body.begin(), body.end());
    const auto event = feed_all(reader, bytes);
    if (!event) return event.error().text;
    EXPECT_NE(*event, PacketReader::Event::none);
    const auto again = reencode(reader);
    return again ? "" : again.error().text;
}

TEST(Decode, DataRangeAndFlags) {
    const auto refusal = [](const std::string& hex, Command command = Command::data) {
        return refusal_of(Socket::data, command, hex);
    };
    EXPECT_EQ(refusal("0000000000000000 0100000000000000 00000001 00000102"), "");
    EXPECT_THAT(refusal("ffffffffffffffff 0100000000000000 00000001 00000102"),
                HasSubstr("P_DATA, volume 5: sector 18446744073709551615, 512 bytes: beyond the end"));
    EXPECT_THAT(refusal("0000000000000000 0100000000000000 00000001 00000142"),
                HasSubstr("dp_flags 0x142: 0x40"));
    EXPECT_THAT(refusal("0000000000000000 0100000000000000 00000001 00000200"),
                HasSubstr("0x200 are not legal"));
    EXPECT_THAT(refusal("0000000000000000 0100000000000000 00000001 00000800"),
                HasSubstr("0x800 are not legal"));
    EXPECT_THAT(refusal("0000000000000000 0100000000000000 00000000 00000000", Command::rs_data_reply),
                HasSubstr("block_id 0100000000000000 (as sent) is not all ones"));
    EXPECT_EQ(refusal("0000000000000000 ffffffffffffffff 00000000 00000000", Command::rs_data_reply), "");
}

TEST(Decode, TrimAndZeroes) {
    const auto trim = [](const std::string& tail) {
        return refusal_of(Socket::data, Command::trim, "0000000000000000 0100000000000000 00000001" + tail);
    };
    EXPECT_EQ(trim("00000142 08000000"), "");
    EXPECT_THAT(trim("00000142 08000200"), HasSubstr("size 134218240 bytes, at most 134217728 allowed"));
    EXPECT_THAT(trim("00000142 00000000"), HasSubstr("size 0 bytes"));
    EXPECT_THAT(trim("00000142 00000201"), HasSubstr("size 513 bytes"));
    EXPECT_THAT(trim("00000102 00000200"), HasSubstr("dp_flags 0x102"));
    EXPECT_THAT(trim("00000542 00000200"), HasSubstr("0x400 must not"));
    EXPECT_THAT(refusal_of(Socket::data, Command::zeroes,
                           "0000000000000000 0100000000000000 00000001 00000142 00001000"),
                HasSubstr("P_ZEROES"));
    const auto small = from_hex("0000000000000000 0100000000000000 00000001 00000142 00400200");
    EXPECT_FALSE(decode_trim({.header = {Command::trim, 0, 28}, .fixed_bytes = 28}, small, feature::trim));
    EXPECT_TRUE(decode_trim({.header = {Command::trim, 0, 28}, .fixed_bytes = 28}, small, feature::all));
}

TEST(Decode, Requests) {
    const auto request = [](Command command, const std::string& sector, const std::string& size) {
        return refusal_of(Socket::data, command, sector + "0100000000000000" + size + "deadbeef");
    };
    EXPECT_EQ(request(Command::data_request, "0000000000000001", "00000200"), "");
    EXPECT_THAT(request(Command::data_request, "0000000000000001", "00000000"), HasSubstr("size 0"));
    EXPECT_THAT(request(Command::data_request, "0000000000000001", "00100200"), HasSubstr("at most 1048576"));
    EXPECT_THAT(request(Command::rs_data_request, "0000000000000001", "00001000"), HasSubstr("not aligned"));
    EXPECT_THAT(request(Command::rs_thin_req, "0000000000007ff8", "00002000"),
                HasSubstr("cross a 16 MiB boundary"));
    EXPECT_EQ(request(Command::rs_data_request, "0000000000007ff8", "00001000"), "");
}

TEST(Decode, Acknowledgements) {
    const auto ack = [](Command command, const std::string& block_id, const std::string& size) {
        return refusal_of(Socket::meta, command, "0000000000000008" + block_id + size + "00000001");
    };
    EXPECT_EQ(ack(Command::recv_ack, "0100000000000000", "00001000"), "");
    EXPECT_THAT(ack(Command::recv_ack, "ffffffffffffffff", "00001000"),
                HasSubstr("P_RECV_ACK, volume 5: block_id"));
    EXPECT_THAT(ack(Command::write_ack, "0100000000000000", "00000001"), HasSubstr("size 1 bytes"));
    EXPECT_THAT(ack(Command::write_ack, "0100000000000000", "ffffff00"), HasSubstr("at most"));
    // The reference's refusal of a trim for lack of a disk (19, quirk 9).
    EXPECT_EQ(ack(Command::neg_ack, "0100000000000000", "00000000"), "");
    EXPECT_EQ(ack(Command::neg_ack, "0100000000000000", "ffffffec"), "");
    EXPECT_EQ(ack(Command::ov_result, "0000000000001268", "00001000"), "");
    EXPECT_THAT(ack(Command::ov_result, "0000000000001269", "00001000"),
                HasSubstr("result 4713, must be 4711 or 4712"));
}

TEST(Decode, ProtocolValuesAndText) {
    const auto protocol = [](const std::string& hex) {
        return refusal_of(Socket::data, Command::protocol, hex, Phase::protocol);
    };
    EXPECT_EQ(protocol("00000003 00000003 00000005 00000000 00000001 00000001 6d643500"), "");
    EXPECT_THAT(protocol("00000004 00000000 00000000 00000000 00000000 00000000 00"),
                HasSubstr("protocol is 4"));
    EXPECT_THAT(protocol("00000003 0000000b 00000000 00000000 00000000 00000000 00"),
                HasSubstr("after_sb_0p is 11"));
    EXPECT_THAT(protocol("00000003 00000000 00000000 ffffffff 00000000 00000000 00"),
                HasSubstr("after_sb_2p"));
    EXPECT_THAT(protocol("00000003 00000000 00000000 00000000 00000004 00000000 00"),
                HasSubstr("conn_flags is 4"));
    EXPECT_THAT(protocol("00000003 00000000 00000000 00000000 00000000 00000002 00"),
                HasSubstr("two_primaries is 2"));
    EXPECT_THAT(protocol("00000003 00000000 00000000 00000000 00000000 00000000 6d6435"),
                HasSubstr("has no NUL"));
    EXPECT_THAT(protocol("00000003 00000000 00000000 00000000 00000000 00000000 6d1b3500"),
                HasSubstr("byte 0x1b at 1"));
    EXPECT_THAT(refusal_of(Socket::data, Command::protocol_update,
                           "00000001 00000000 00000000 00000000 00000000 00000001 00"),
                HasSubstr("two_primaries needs protocol C"));
    const auto bare = from_hex("00000003 00000000 00000000 00000000 00000000 00000000");
    const auto decoded = decode_protocol({.header = {Command::protocol, 0, 24}, .fixed_bytes = 24}, bare);
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->integrity_alg.view(), "");
}

TEST(Decode, SyncParamClipsNumbersAndChecksTexts) {
    std::array<uint8_t, SyncParam::bytes> body{};
    encode(SyncParam{.resync_rate_kib_s = 0,
                     .verify_alg = AlgorithmName("md5"),
                     .c_plan_ahead_ds = 301,
                     .c_delay_target_ds = 0,
                     .c_fill_target_sectors = 2000000,
                     .c_max_rate_kib_s = 1},
           body.data());
    const PacketInfo info{.header = {Command::sync_param89, 0, 148}, .fixed_bytes = 148};
    const auto param = decode_sync_param(info, body);
    ASSERT_TRUE(param);
    EXPECT_EQ(*param, (SyncParam{.resync_rate_kib_s = 1,
                                 .verify_alg = AlgorithmName("md5"),
                                 .c_plan_ahead_ds = 300,
                                 .c_delay_target_ds = 1,
                                 .c_fill_target_sectors = 1048576,
                                 .c_max_rate_kib_s = 250}));
    std::fill_n(body.begin() + 68, 64, uint8_t{'a'});
    const auto endless = decode_sync_param(info, body);
    ASSERT_FALSE(endless);
    EXPECT_THAT(endless.error().text, HasSubstr("csums_alg has no NUL within its 64 bytes"));
}

TEST(Decode, SizesUuidsAndState) {
    const PacketInfo info{.header = {Command::sizes, 1, 56}, .fixed_bytes = 56};
    std::array<uint8_t, Sizes::bytes_max> body{};
    encode(Sizes{.d_size_sectors = size_sectors_max + 1, .limits = QueueLimits{}}, body.data());
    EXPECT_THAT(decode_sizes(info, body).error().text,
                HasSubstr("P_SIZES, volume 1: d_size is 2251799813685249"));
    encode(Sizes{.dds_flags = 4, .limits = QueueLimits{}}, body.data());
    EXPECT_THAT(decode_sizes(info, body).error().text, HasSubstr("dds_flags is 4"));
    encode(Sizes{.max_bio_size_bytes = 1, .limits = QueueLimits{.logical_block_size_bytes = 513}},
           body.data());
    const auto odd = decode_sizes(info, body);
    ASSERT_TRUE(odd);
    EXPECT_FALSE(odd->limits);
    EXPECT_EQ(odd->max_bio_size_bytes, 4096u);

    const std::string zero(16, '0');
    EXPECT_THAT(
        refusal_of(Socket::data, Command::uuids, zero + zero + zero + zero + zero + "0000000000000010"),
        HasSubstr("flags is 16"));
    EXPECT_THAT(
        refusal_of(Socket::data, Command::uuids, zero + zero + zero + zero + "ffffffffffffffff" + zero),
        HasSubstr("bits_set"));
    EXPECT_THAT(refusal_of(Socket::data, Command::sync_uuid, "0000000000000004"),
                HasSubstr("is no generation"));
    EXPECT_THAT(refusal_of(Socket::data, Command::state, "0000c880"), HasSubstr("role is Unknown"));
    EXPECT_THAT(refusal_of(Socket::data, Command::state, "00000ca2"), HasSubstr("disk is DUnknown"));
    EXPECT_THAT(refusal_of(Socket::data, Command::state, "00001e02"), HasSubstr("state word 0x00001e02"));
    EXPECT_EQ(refusal_of(Socket::meta, Command::state_chg_reply, "ffffffea"), "");
    EXPECT_THAT(refusal_of(Socket::meta, Command::state_chg_reply, "ffffffe9"), HasSubstr("return code -23"));
    EXPECT_THAT(refusal_of(Socket::meta, Command::conn_st_chg_reply, "00000005"), HasSubstr("return code 5"));
}

TEST(Decode, FeaturesWithoutMaximum) {
    std::array<uint8_t, Features::bytes> body{};
    encode(Features{.protocol_min = 86, .protocol_max = 0}, body.data());
    const PacketInfo info{.header = {Command::connection_features, 0, 72}, .fixed_bytes = 72};
    const auto features = decode_features(info, body);
    ASSERT_TRUE(features);
    EXPECT_EQ(features->protocol_max, 86u);
    encode(Features{.protocol_min = 101, .protocol_max = 100}, body.data());
    EXPECT_FALSE(decode_features(info, body));
}

TEST(Decode, RangeAgainstTheDevice) {
    const PacketInfo info{.header = {Command::data, 0, 536}, .fixed_bytes = 24};
    EXPECT_TRUE(check_range(info, Sector(92), 4096, 100));
    EXPECT_FALSE(check_range(info, Sector(93), 4096, 100));
    EXPECT_FALSE(check_range(info, Sector(101), 512, 100));
    EXPECT_FALSE(check_range(info, Sector(~uint64_t{0}), 512, 100));
    EXPECT_FALSE(check_range(info, Sector(0), 0, 100));
}

}  // namespace
}  // namespace duplex::wire
