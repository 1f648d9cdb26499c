// What a packet of the transcript has to have in common with the kernel's, and what of the peer's is written
// anew for this engine.
#include <algorithm>

#include "sim/transcript.hpp"
#include "wire/decode.hpp"
#include "wire/encode.hpp"

namespace duplex::sim {

using wire::Command;

namespace {

constexpr uint32_t hints = wire::dp_flag::rw_sync | wire::dp_flag::unplug;

bool refers_to_request(Command command) {
    return command == Command::recv_ack || command == Command::write_ack ||
           command == Command::rs_write_ack || command == Command::superseded ||
           command == Command::neg_ack || command == Command::retry_write || command == Command::data_reply ||
           command == Command::neg_dreply;
}

size_t tail_bytes(const WirePacket& packet) {
    return packet.bytes.size() - packet.head_bytes - packet.info.fixed_bytes;
}

std::span<const uint8_t> tail(const WirePacket& packet) {
    return std::span(packet.bytes).last(tail_bytes(packet));
}

// The packet with another fixed part.
template <typename Packed>
std::vector<uint8_t> rewritten(const WirePacket& packet, const Packed& fixed) {
    std::vector<uint8_t> bytes(wire::packet_head_bytes_max);
    bytes.resize(wire::encode_packet(packet.command(), packet.info.volume(), fixed, bytes.data(),
                                     static_cast<uint32_t>(tail_bytes(packet))));
    bytes.insert(bytes.end(), tail(packet).begin(), tail(packet).end());
    return bytes;
}

}  // namespace

// ---- names
// ---------------------------------------------------------------------------------------------------------

bool Transcript::same_uuid(uint64_t recorded, uint64_t said) {
    recorded &= ~uint64_t{1};
    said &= ~uint64_t{1};
    if (recorded <= wire::uuid_just_created || said <= wire::uuid_just_created) return recorded == said;
    return uuids_.try_emplace(recorded, said).first->second == said;
}

uint64_t Transcript::translated_uuid(uint64_t recorded) {
    const uint64_t name = recorded & ~uint64_t{1};
    if (name <= wire::uuid_just_created) return recorded;
    return uuids_.try_emplace(name, name).first->second | (recorded & 1);
}

// ---- the node's packets
// ------------------------------------------------------------------------------------------------

bool Transcript::matches(const WirePacket& expected, const WirePacket& said, std::string& difference) {
    const auto differs = [&](const char* what) {
        difference = what;
        return false;
    };
    if (expected.command() != said.command()) return differs("another packet");
    if (expected.info.volume() != said.info.volume()) return differs("another volume");
    const auto tails_equal = [&] { return std::ranges::equal(tail(expected), tail(said)); };
    switch (said.command()) {
        case Command::data: {
            const auto theirs = *wire::decode_data(expected.info, expected.body());
            const auto ours = *wire::decode_data(said.info, said.body());
            if (theirs.sector != ours.sector || !same_sequence(theirs.seq_num, ours.seq_num))
                return differs("other write");
            if ((theirs.dp_flags & ~hints) != (ours.dp_flags & ~hints)) return differs("other flags");
            if (!tails_equal()) return differs("other data or digest");
            block_ids_[theirs.block_id.raw] = ours.block_id.raw;
            return true;
        }
        case Command::trim:
        case Command::zeroes: {
            const auto theirs = *wire::decode_trim(expected.info, expected.body(), wire::feature::all);
            const auto ours = *wire::decode_trim(said.info, said.body(), wire::feature::all);
            if (theirs.sector != ours.sector || theirs.size_bytes != ours.size_bytes ||
                !same_sequence(theirs.seq_num, ours.seq_num))
                return differs("another range");
            if ((theirs.dp_flags & ~hints) != (ours.dp_flags & ~hints)) return differs("other flags");
            block_ids_[theirs.block_id.raw] = ours.block_id.raw;
            return true;
        }
        case Command::data_request:
        case Command::rs_data_request:
        case Command::rs_thin_req:
        case Command::csum_rs_request:
        case Command::ov_request:
        case Command::ov_reply: {
            const auto theirs = *wire::decode_block_request(expected.info, expected.body());
            const auto ours = *wire::decode_block_request(said.info, said.body());
            if (theirs.sector != ours.sector || theirs.size_bytes != ours.size_bytes)
                return differs("another block");
            if (!tails_equal()) return differs("another digest");
            block_ids_[theirs.block_id.raw] = ours.block_id.raw;
            return said.command() == Command::data_request || theirs.block_id == ours.block_id ||
                   differs("another block id");
        }
        case Command::uuids: {
            const auto theirs = *wire::decode_uuids(expected.info, expected.body());
            const auto ours = *wire::decode_uuids(said.info, said.body());
            return ((theirs.current & 1) == (ours.current & 1) && same_uuid(theirs.current, ours.current) &&
                    same_uuid(theirs.bitmap, ours.bitmap) && same_uuid(theirs.history[0], ours.history[0]) &&
                    same_uuid(theirs.history[1], ours.history[1]) && theirs.bits_set == ours.bits_set &&
                    theirs.flags == ours.flags) ||
                   differs("other generations");
        }
        case Command::rs_is_in_sync:
        case Command::recv_ack:
        case Command::write_ack:
        case Command::rs_write_ack:
        case Command::superseded:
        case Command::neg_ack: {
            const auto theirs = *wire::decode_block_ack(expected.info, expected.body());
            const auto ours = *wire::decode_block_ack(said.info, said.body());
            // The kernel names the block with an address of its own there, which nobody looks at.
            const bool named = said.command() != Command::rs_is_in_sync;
            return (theirs.sector == ours.sector && theirs.size_bytes == ours.size_bytes &&
                    (!named || theirs.block_id == ours.block_id) &&
                    same_sequence(theirs.seq_num, ours.seq_num)) ||
                   differs("another ack");
        }
        case Command::sync_uuid:
            return same_uuid(wire::decode_sync_uuid(expected.info, expected.body())->uuid,
                             wire::decode_sync_uuid(said.info, said.body())->uuid) ||
                   differs("another generation");
        case Command::connection_features: {
            // Duplex speaks 100 and 101 (wire protocol 5.2).
            const auto theirs = *wire::decode_features(expected.info, expected.body());
            const auto ours = *wire::decode_features(said.info, said.body());
            return (theirs.feature_flags == ours.feature_flags && theirs.protocol_max == ours.protocol_max &&
                    ours.protocol_min == wire::protocol_min) ||
                   differs("other features");
        }
        case Command::sizes: {
            const auto theirs = *wire::decode_sizes(expected.info, expected.body());
            const auto ours = *wire::decode_sizes(said.info, said.body());
            return (theirs.d_size_sectors == ours.d_size_sectors &&
                    theirs.u_size_sectors == ours.u_size_sectors &&
                    theirs.c_size_sectors == ours.c_size_sectors && theirs.dds_flags == ours.dds_flags &&
                    theirs.queue_order_type == ours.queue_order_type) ||
                   differs("other sizes");
        }
        default:
            return expected.bytes == said.bytes || differs("other contents");
    }
}

// ---- the peer's packets
// ------------------------------------------------------------------------------------------------

std::vector<uint8_t> Transcript::translated(const WirePacket& packet) {
    const auto body = packet.body();
    const auto id = [this](wire::BlockId recorded) {
        const auto found = block_ids_.find(recorded.raw);
        return found == block_ids_.end() ? recorded : wire::BlockId{found->second};
    };
    if (packet.command() == Command::uuids) {
        auto uuids = *wire::decode_uuids(packet.info, body);
        for (uint64_t* uuid : {&uuids.current, &uuids.bitmap, &uuids.history[0], &uuids.history[1]})
            *uuid = translated_uuid(*uuid);
        return rewritten(packet, uuids);
    }
    if (packet.command() == Command::sync_uuid) {
        auto sync = *wire::decode_sync_uuid(packet.info, body);
        sync.uuid = translated_uuid(sync.uuid);
        return rewritten(packet, sync);
    }
    if (!refers_to_request(packet.command())) return packet.bytes;
    if (packet.command() == Command::data_reply) {
        auto reply = *wire::decode_data(packet.info, body);
        reply.block_id = id(reply.block_id);
        return rewritten(packet, reply);
    }
    auto ack = *wire::decode_block_ack(packet.info, body);
    ack.block_id = id(ack.block_id);
    return rewritten(packet, ack);
}

void Transcript::peer_says(const Packet& packet) {
    RecordedPeer::End& end = *ends_[static_cast<size_t>(packet.wire.channel)];
    switch (packet.wire.command()) {
        case Command::ping_ack:
            return;  // comes when the node asks
        case Command::ping:
            ++pings_;
            break;
        case Command::conn_st_chg_req:
            peer_disconnects_ = true;
            break;
        case Command::barrier_ack: {
            const auto ack = *wire::decode_barrier_ack(packet.wire.info, packet.wire.body());
            const auto barrier = recorded_barriers_.find(ack.barrier);
            if (barrier != recorded_barriers_.end())
                writes_stable_ = std::max(writes_stable_, barrier->second);
            return acknowledge_epochs();
        }
        default:
            break;
    }
    end.deliver(translated(packet.wire));
}

// The peer's barrier acks for the epochs as this node cut them.
void Transcript::acknowledge_epochs() {
    RecordedPeer::End* const meta = ends_[static_cast<size_t>(wire::Socket::meta)];
    for (; meta && !epochs_.empty() && epochs_.front().end <= writes_stable_; epochs_.pop_front()) {
        const wire::BarrierAck ack{epochs_.front().number, static_cast<uint32_t>(epochs_.front().size)};
        std::vector<uint8_t> bytes(wire::packet_head_bytes_max);
        bytes.resize(wire::encode_packet(Command::barrier_ack, 0, ack, bytes.data()));
        meta->deliver(bytes);
    }
}

}  // namespace duplex::sim
