#include "wire/decode.hpp"

#include <algorithm>
#include <bit>

#include "base/byte_order.hpp"
#include "base/ensure.hpp"
#include "wire/packet_error.hpp"
#include "wire/state_change.hpp"

namespace duplex::wire {

namespace {

// Fields in the order of the wire. The caller has made sure that they are there.
class Reader {
  public:
    Reader(Bytes body, size_t needed_bytes) : at_(body.data()) { ensure(body.size() >= needed_bytes); }

    template <typename T>
    T number() {
        const T value = load_be<T>(at_);
        at_ += sizeof value;
        return value;
    }
    uint8_t byte() { return *at_++; }
    template <typename T>
    T opaque() {
        const T value = load_le<T>(at_);
        at_ += sizeof value;
        return value;
    }
    Bytes raw(size_t count_bytes) {
        const Bytes bytes(at_, count_bytes);
        at_ += count_bytes;
        return bytes;
    }
    Sector sector() { return Sector(number<uint64_t>()); }
    BlockId block_id() { return BlockId{opaque<uint64_t>()}; }

  private:
    const uint8_t* at_;
};

bool is_name_char(uint8_t c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '(' || c == ')' || c == '-' || c == ',';
}

Result<AlgorithmName> decode_name(const PacketInfo& info, std::string_view field, Bytes bytes) {
    if (bytes.empty()) return AlgorithmName{};
    const auto end = std::find(bytes.begin(), bytes.end(), uint8_t{0});
    if (end == bytes.end())
        return packet_error(info.header, "{} has no NUL within its {} bytes", field, bytes.size());
    const auto length = static_cast<size_t>(end - bytes.begin());
    for (size_t i = 0; i < length; ++i)
        if (!is_name_char(bytes[i]))
            return packet_error(info.header, "{} has byte 0x{:02x} at {}, not part of an algorithm's name",
                                field, bytes[i], i);
    AlgorithmName name;
    std::copy_n(bytes.begin(), length, name.text.begin());
    return name;
}

// The range must make sense on the largest possible device; the device at hand is for check_range().
Status check_size(const PacketInfo& info, Sector sector, uint32_t size_bytes, uint32_t max_bytes) {
    if (size_bytes > max_bytes)
        return packet_error(info.header, "size {} bytes, at most {} allowed", size_bytes, max_bytes);
    return check_range(info, sector, size_bytes, size_sectors_max);
}

Status check_at_most(const PacketInfo& info, std::string_view field, uint64_t value, uint64_t max) {
    if (value > max) return packet_error(info.header, "{} is {}, at most {} allowed", field, value, max);
    return Ok{};
}

// Resync works in whole 4 KiB blocks, and the source locks only the 16 MiB of the first sector (12.3).
Status check_resync_request(const PacketInfo& info, const BlockRequest& request) {
    if (request.sector.value % sectors_per_bit != 0)
        return packet_error(info.header, "sector {} is not aligned to 4096 bytes", request.sector.value);
    const uint64_t into_extent = request.sector.value % sectors_per_resync_extent;
    if (request.size_bytes / sector_bytes > sectors_per_resync_extent - into_extent)
        return packet_error(info.header, "sector {}, {} bytes cross a 16 MiB boundary", request.sector.value,
                            request.size_bytes);
    return Ok{};
}

bool is_block_size(uint32_t bytes) {
    return std::has_single_bit(bytes) && bytes >= 512 && bytes <= 65536;
}

}  // namespace

Status check_range(const PacketInfo& info, Sector sector, uint64_t size_bytes, uint64_t capacity_sectors) {
    if (size_bytes == 0 || size_bytes % sector_bytes != 0)
        return packet_error(info.header, "size {} bytes at sector {} is not a multiple of 512 above 0",
                            size_bytes, sector.value);
    if (sector.value > capacity_sectors || size_bytes / sector_bytes > capacity_sectors - sector.value)
        return packet_error(info.header, "sector {}, {} bytes: beyond the end of the device at sector {}",
                            sector.value, size_bytes, capacity_sectors);
    return Ok{};
}

Result<Data> decode_data(const PacketInfo& info, Bytes body) {
    Reader reader(body, Data::bytes);
    Data packet{.sector = reader.sector(), .block_id = reader.block_id()};
    packet.seq_num = reader.number<uint32_t>();
    packet.dp_flags = reader.number<uint32_t>();
    if (auto fits = check_size(info, packet.sector, info.variable_bytes, data_bytes_max); !fits)
        return fits.error();
    constexpr uint32_t illegal = ~dp_flag::known | dp_flag::discard | dp_flag::wsame | dp_flag::zeroes;
    if (info.command() == Command::data && (packet.dp_flags & illegal) != 0)
        return packet_error(info.header, "dp_flags 0x{:x}: 0x{:x} are not legal here", packet.dp_flags,
                            packet.dp_flags & illegal);
    if (info.command() == Command::rs_data_reply && packet.block_id != block_id_resync)
        return packet_error(info.header, "block_id {:016x} (as sent) is not all ones",
                            byte_swap(packet.block_id.raw));
    return packet;
}

Result<Trim> decode_trim(const PacketInfo& info, Bytes body, uint32_t features) {
    Reader reader(body, Trim::bytes);
    Trim packet{.sector = reader.sector(), .block_id = reader.block_id()};
    packet.seq_num = reader.number<uint32_t>();
    packet.dp_flags = reader.number<uint32_t>();
    packet.size_bytes = reader.number<uint32_t>();
    const uint32_t max_bytes =
        (features & feature::wsame) != 0 ? trim_bytes_max : trim_bytes_max_without_wsame;
    if (auto fits = check_size(info, packet.sector, packet.size_bytes, max_bytes); !fits) return fits.error();
    const bool is_trim = info.command() == Command::trim;
    const uint32_t needed = is_trim ? dp_flag::discard : dp_flag::zeroes;
    const uint32_t illegal = ~dp_flag::known | dp_flag::wsame | (is_trim ? dp_flag::zeroes : 0);
    if ((packet.dp_flags & needed) == 0 || (packet.dp_flags & illegal) != 0)
        return packet_error(info.header, "dp_flags 0x{:x}: 0x{:x} must be set, 0x{:x} must not",
                            packet.dp_flags, needed, packet.dp_flags & illegal);
    return packet;
}

Result<BlockAck> decode_block_ack(const PacketInfo& info, Bytes body) {
    Reader reader(body, BlockAck::bytes);
    BlockAck packet{.sector = reader.sector(), .block_id = reader.block_id()};
    packet.size_bytes = reader.number<uint32_t>();
    packet.seq_num = reader.number<uint32_t>();
    if (info.command() == Command::neg_ack) return packet;
    if (auto fits = check_size(info, packet.sector, packet.size_bytes, trim_bytes_max); !fits)
        return fits.error();
    if (info.command() == Command::recv_ack && packet.block_id == block_id_resync)
        return packet_error(info.header,
                            "block_id is all ones, but a resync write is never acknowledged on receipt");
    if (info.command() == Command::ov_result && packet.block_id != block_id_in_sync &&
        packet.block_id != block_id_out_of_sync)
        return packet_error(info.header, "result {}, must be 4711 or 4712", byte_swap(packet.block_id.raw));
    return packet;
}

Result<BlockRequest> decode_block_request(const PacketInfo& info, Bytes body) {
    Reader reader(body, BlockRequest::bytes);
    BlockRequest packet{.sector = reader.sector(), .block_id = reader.block_id()};
    packet.size_bytes = reader.number<uint32_t>();
    if (auto fits = check_size(info, packet.sector, packet.size_bytes, data_bytes_max); !fits)
        return fits.error();
    const Command command = info.command();
    if (command == Command::rs_data_request || command == Command::rs_thin_req ||
        command == Command::csum_rs_request)
        if (auto sound = check_resync_request(info, packet); !sound) return sound.error();
    return packet;
}

Result<BlockDesc> decode_block_desc(const PacketInfo& info, Bytes body) {
    Reader reader(body, BlockDesc::bytes);
    BlockDesc packet{.sector = reader.sector()};
    packet.size_bytes = reader.number<uint32_t>();
    const uint32_t max_bytes = info.command() == Command::rs_deallocated ? data_bytes_max : trim_bytes_max;
    if (auto fits = check_size(info, packet.sector, packet.size_bytes, max_bytes); !fits) return fits.error();
    return packet;
}

Result<Barrier> decode_barrier(const PacketInfo& /*info*/, Bytes body) {
    return Barrier{Reader(body, Barrier::bytes).opaque<uint32_t>()};
}

Result<BarrierAck> decode_barrier_ack(const PacketInfo& /*info*/, Bytes body) {
    Reader reader(body, BarrierAck::bytes);
    BarrierAck packet{.barrier = reader.opaque<uint32_t>()};
    packet.set_size = reader.number<uint32_t>();
    return packet;
}

Result<Features> decode_features(const PacketInfo& info, Bytes body) {
    Reader reader(body, Features::bytes);
    Features packet{.protocol_min = reader.number<uint32_t>()};
    packet.feature_flags = reader.number<uint32_t>();
    packet.protocol_max = reader.number<uint32_t>();
    if (packet.protocol_max == 0) packet.protocol_max = packet.protocol_min;
    if (packet.protocol_max < packet.protocol_min)
        return packet_error(info.header, "protocol_max {} is below protocol_min {}", packet.protocol_max,
                            packet.protocol_min);
    return packet;
}

Result<Protocol> decode_protocol(const PacketInfo& info, Bytes body) {
    Reader reader(body, size_t{Protocol::bytes} + info.variable_bytes);
    const auto protocol = reader.number<uint32_t>();
    const auto after_sb_0p = reader.number<uint32_t>();
    const auto after_sb_1p = reader.number<uint32_t>();
    const auto after_sb_2p = reader.number<uint32_t>();
    const auto conn_flags = reader.number<uint32_t>();
    const auto two_primaries = reader.number<uint32_t>();
    if (protocol < 1 || protocol > 3)
        return packet_error(info.header, "protocol is {}, must be 1 (A), 2 (B) or 3 (C)", protocol);
    constexpr auto last_policy = static_cast<uint32_t>(AfterSplitBrain::violently_as0p);
    if (auto fits = check_at_most(info, "after_sb_0p", after_sb_0p, last_policy); !fits) return fits.error();
    if (auto fits = check_at_most(info, "after_sb_1p", after_sb_1p, last_policy); !fits) return fits.error();
    if (auto fits = check_at_most(info, "after_sb_2p", after_sb_2p, last_policy); !fits) return fits.error();
    if (auto fits = check_at_most(info, "conn_flags", conn_flags, 3); !fits) return fits.error();
    if (auto fits = check_at_most(info, "two_primaries", two_primaries, 1); !fits) return fits.error();
    if (info.command() == Command::protocol_update && two_primaries == 1 && protocol != 3)
        return packet_error(info.header, "two_primaries needs protocol C, got protocol {}", protocol);
    auto integrity_alg = decode_name(info, "integrity_alg", reader.raw(info.variable_bytes));
    if (!integrity_alg) return integrity_alg.error();
    return Protocol{.protocol = static_cast<ReplicationProtocol>(protocol),
                    .after_sb_0p = static_cast<AfterSplitBrain>(after_sb_0p),
                    .after_sb_1p = static_cast<AfterSplitBrain>(after_sb_1p),
                    .after_sb_2p = static_cast<AfterSplitBrain>(after_sb_2p),
                    .discard_my_data = (conn_flags & 1) != 0,
                    .dry_run = (conn_flags & 2) != 0,
                    .two_primaries = two_primaries == 1,
                    .integrity_alg = *integrity_alg};
}

Result<SyncParam> decode_sync_param(const PacketInfo& info, Bytes body) {
    Reader reader(body, SyncParam::bytes);
    SyncParam packet{.resync_rate_kib_s = std::clamp(reader.number<uint32_t>(), 1u, 4194304u)};
    auto verify_alg = decode_name(info, "verify_alg", reader.raw(64));
    if (!verify_alg) return verify_alg.error();
    auto csums_alg = decode_name(info, "csums_alg", reader.raw(64));
    if (!csums_alg) return csums_alg.error();
    packet.verify_alg = *verify_alg;
    packet.csums_alg = *csums_alg;
    packet.c_plan_ahead_ds = std::clamp(reader.number<uint32_t>(), 0u, 300u);
    packet.c_delay_target_ds = std::clamp(reader.number<uint32_t>(), 1u, 100u);
    packet.c_fill_target_sectors = std::clamp(reader.number<uint32_t>(), 0u, 1048576u);
    packet.c_max_rate_kib_s = std::clamp(reader.number<uint32_t>(), 250u, 4194304u);
    return packet;
}

Result<Sizes> decode_sizes(const PacketInfo& info, Bytes body) {
    Reader reader(body, info.fixed_bytes);
    Sizes packet{.d_size_sectors = reader.number<uint64_t>()};
    packet.u_size_sectors = reader.number<uint64_t>();
    packet.c_size_sectors = reader.number<uint64_t>();
    packet.max_bio_size_bytes = std::clamp(reader.number<uint32_t>(), 4096u, data_bytes_max);
    packet.queue_order_type = reader.number<uint16_t>();
    packet.dds_flags = reader.number<uint16_t>();
    if (auto fits = check_at_most(info, "d_size", packet.d_size_sectors, size_sectors_max); !fits)
        return fits.error();
    if (auto fits = check_at_most(info, "u_size", packet.u_size_sectors, size_sectors_max); !fits)
        return fits.error();
    if (auto fits = check_at_most(info, "c_size", packet.c_size_sectors, size_sectors_max); !fits)
        return fits.error();
    if (auto fits = check_at_most(info, "dds_flags", packet.dds_flags, 3); !fits) return fits.error();
    if (info.fixed_bytes < Sizes::bytes_max) return packet;

    QueueLimits limits{.physical_block_size_bytes = reader.number<uint32_t>()};
    limits.logical_block_size_bytes = reader.number<uint32_t>();
    limits.alignment_offset_bytes = reader.number<uint32_t>();
    limits.io_min_bytes = reader.number<uint32_t>();
    limits.io_opt_bytes = reader.number<uint32_t>();
    limits.discard_enabled = reader.byte();
    limits.discard_zeroes_data = reader.byte();
    limits.write_same_capable = reader.byte();
    if (is_block_size(limits.physical_block_size_bytes) && is_block_size(limits.logical_block_size_bytes))
        packet.limits = limits;
    return packet;
}

Result<Uuids> decode_uuids(const PacketInfo& info, Bytes body) {
    Reader reader(body, Uuids::bytes);
    Uuids packet{.current = reader.number<uint64_t>()};
    packet.bitmap = reader.number<uint64_t>();
    packet.history[0] = reader.number<uint64_t>();
    packet.history[1] = reader.number<uint64_t>();
    packet.bits_set = reader.number<uint64_t>();
    packet.flags = reader.number<uint64_t>();
    if (auto fits = check_at_most(info, "bits_set", packet.bits_set, bits_for(size_sectors_max)); !fits)
        return fits.error();
    if (auto fits = check_at_most(info, "flags", packet.flags, 0xf); !fits) return fits.error();
    return packet;
}

Result<StatePacket> decode_state(const PacketInfo& info, Bytes body) {
    const auto word = Reader(body, StatePacket::bytes).number<uint32_t>();
    const auto state = State::unpack(word);
    if (!state) return packet_error(info.header, "state word 0x{:08x} has a field that names no state", word);
    if (state->role == Role::unknown)
        return packet_error(info.header, "state word 0x{:08x}: the sender's role is Unknown", word);
    if (state->disk == DiskState::d_unknown)
        return packet_error(info.header, "state word 0x{:08x}: the sender's disk is DUnknown", word);
    return StatePacket{*state};
}

StateChangeRequest decode_state_change_request(Bytes body) {
    Reader reader(body, StateChangeRequest::bytes);
    StateChangeRequest packet{.mask = reader.number<uint32_t>()};
    packet.value = reader.number<uint32_t>();
    return packet;
}

Result<StateChangeReply> decode_state_change_reply(const PacketInfo& info, Bytes body) {
    const StateChangeReply packet{
        static_cast<int32_t>(Reader(body, StateChangeReply::bytes).number<uint32_t>())};
    if (packet.retcode < -22 || packet.retcode > static_cast<int32_t>(StateChangeResult::cw_no_need))
        return packet_error(info.header, "return code {}, must be -22 to 4", packet.retcode);
    return packet;
}

Result<SyncUuid> decode_sync_uuid(const PacketInfo& info, Bytes body) {
    const SyncUuid packet{Reader(body, SyncUuid::bytes).number<uint64_t>()};
    if (packet.uuid == 0 || packet.uuid == uuid_just_created)
        return packet_error(info.header, "uuid {:016x} is no generation", packet.uuid);
    return packet;
}

DelayProbe decode_delay_probe(Bytes body) {
    Reader reader(body, DelayProbe::bytes);
    DelayProbe packet{.seq_num = reader.number<uint32_t>()};
    packet.offset_us = reader.number<uint32_t>();
    return packet;
}

}  // namespace duplex::wire
