#include "wire/encode.hpp"

#include <cstring>

#include "base/byte_order.hpp"

namespace duplex::wire {

namespace {

// Fields in the order of the wire; handles keep their bytes (wire protocol 1).
class Writer {
  public:
    explicit Writer(uint8_t* out) : start_(out), at_(out) {}

    template <typename T>
    Writer& number(T value) {
        store_be(at_, value);
        at_ += sizeof value;
        return *this;
    }
    Writer& byte(uint8_t value) {
        *at_++ = value;
        return *this;
    }
    template <typename T>
    Writer& opaque(T value) {
        store_le(at_, value);
        at_ += sizeof value;
        return *this;
    }
    Writer& zeroes(size_t count_bytes) {
        std::memset(at_, 0, count_bytes);
        at_ += count_bytes;
        return *this;
    }
    // NUL-padded to field_bytes.
    Writer& text(std::string_view value, size_t field_bytes) {
        std::memcpy(at_, value.data(), value.size());
        at_ += value.size();
        return zeroes(field_bytes - value.size());
    }

    size_t written() const { return static_cast<size_t>(at_ - start_); }

  private:
    uint8_t* start_;
    uint8_t* at_;
};

constexpr uint32_t conn_flag_discard_my_data = 1;
constexpr uint32_t conn_flag_dry_run = 2;

}  // namespace

size_t encode(const Data& packet, uint8_t* out) {
    return Writer(out)
        .number(packet.sector.value)
        .opaque(packet.block_id.raw)
        .number(packet.seq_num)
        .number(packet.dp_flags)
        .written();
}

size_t encode(const Trim& packet, uint8_t* out) {
    return Writer(out)
        .number(packet.sector.value)
        .opaque(packet.block_id.raw)
        .number(packet.seq_num)
        .number(packet.dp_flags)
        .number(packet.size_bytes)
        .written();
}

size_t encode(const BlockAck& packet, uint8_t* out) {
    return Writer(out)
        .number(packet.sector.value)
        .opaque(packet.block_id.raw)
        .number(packet.size_bytes)
        .number(packet.seq_num)
        .written();
}

size_t encode(const BlockRequest& packet, uint8_t* out) {
    return Writer(out)
        .number(packet.sector.value)
        .opaque(packet.block_id.raw)
        .number(packet.size_bytes)
        .zeroes(4)
        .written();
}

size_t encode(const BlockDesc& packet, uint8_t* out) {
    return Writer(out).number(packet.sector.value).number(packet.size_bytes).zeroes(4).written();
}

size_t encode(const Barrier& packet, uint8_t* out) {
    return Writer(out).opaque(packet.barrier).zeroes(4).written();
}

size_t encode(const BarrierAck& packet, uint8_t* out) {
    return Writer(out).opaque(packet.barrier).number(packet.set_size).written();
}

size_t encode(const Features& packet, uint8_t* out) {
    return Writer(out)
        .number(packet.protocol_min)
        .number(packet.feature_flags)
        .number(packet.protocol_max)
        .zeroes(60)
        .written();
}

size_t encode(const Protocol& packet, uint8_t* out) {
    const uint32_t conn_flags =
        (packet.discard_my_data ? conn_flag_discard_my_data : 0) | (packet.dry_run ? conn_flag_dry_run : 0);
    const std::string_view integrity_alg = packet.integrity_alg.view();
    return Writer(out)
        .number(static_cast<uint32_t>(packet.protocol))
        .number(static_cast<uint32_t>(packet.after_sb_0p))
        .number(static_cast<uint32_t>(packet.after_sb_1p))
        .number(static_cast<uint32_t>(packet.after_sb_2p))
        .number(conn_flags)
        .number(static_cast<uint32_t>(packet.two_primaries))
        .text(integrity_alg, integrity_alg.size() + 1)
        .written();
}

size_t encode(const SyncParam& packet, uint8_t* out) {
    return Writer(out)
        .number(packet.resync_rate_kib_s)
        .text(packet.verify_alg.view(), 64)
        .text(packet.csums_alg.view(), 64)
        .number(packet.c_plan_ahead_ds)
        .number(packet.c_delay_target_ds)
        .number(packet.c_fill_target_sectors)
        .number(packet.c_max_rate_kib_s)
        .written();
}

size_t encode(const Sizes& packet, uint8_t* out) {
    Writer writer(out);
    writer.number(packet.d_size_sectors)
        .number(packet.u_size_sectors)
        .number(packet.c_size_sectors)
        .number(packet.max_bio_size_bytes)
        .number(packet.queue_order_type)
        .number(packet.dds_flags);
    if (packet.limits)
        writer.number(packet.limits->physical_block_size_bytes)
            .number(packet.limits->logical_block_size_bytes)
            .number(packet.limits->alignment_offset_bytes)
            .number(packet.limits->io_min_bytes)
            .number(packet.limits->io_opt_bytes)
            .byte(packet.limits->discard_enabled)
            .byte(packet.limits->discard_zeroes_data)
            .byte(packet.limits->write_same_capable)
            .zeroes(1);
    return writer.written();
}

size_t encode(const Uuids& packet, uint8_t* out) {
    return Writer(out)
        .number(packet.current)
        .number(packet.bitmap)
        .number(packet.history[0])
        .number(packet.history[1])
        .number(packet.bits_set)
        .number(packet.flags)
        .written();
}

size_t encode(const StatePacket& packet, uint8_t* out) {
    return Writer(out).number(packet.state.pack()).written();
}

size_t encode(const StateChangeRequest& packet, uint8_t* out) {
    return Writer(out).number(packet.mask).number(packet.value).written();
}

size_t encode(const StateChangeReply& packet, uint8_t* out) {
    return Writer(out).number(static_cast<uint32_t>(packet.retcode)).written();
}

size_t encode(const SyncUuid& packet, uint8_t* out) {
    return Writer(out).number(packet.uuid).written();
}

size_t encode(const DelayProbe& packet, uint8_t* out) {
    return Writer(out).number(packet.seq_num).number(packet.offset_us).written();
}

}  // namespace duplex::wire
