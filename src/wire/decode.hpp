// Reading packets. `info` comes from check_packet() and `body` holds the packet's fixed part (of P_PROTOCOL
// also the text), so its length is known to be right. Every decoder judges all that wire protocol 17.3
// and 17.5 ask for and that can be judged without the volume's state; what needs the device size goes through
// check_range(). An error names packet, volume, field and value.
#pragma once

#include <cstdint>
#include <span>

#include "base/result.hpp"
#include "base/units.hpp"
#include "wire/packet.hpp"
#include "wire/rules.hpp"

namespace duplex::wire {

using Bytes = std::span<const uint8_t>;

// P_DATA, P_DATA_REPLY, P_RS_DATA_REPLY; the size of the block is info.variable_bytes.
Result<Data> decode_data(const PacketInfo& info, Bytes body);
Result<Trim> decode_trim(const PacketInfo& info, Bytes body, uint32_t features);
// All packets with p_block_ack. P_NEG_ACK's size is not judged: the reference sends nonsense in some (19,
// quirk 9).
Result<BlockAck> decode_block_ack(const PacketInfo& info, Bytes body);
Result<BlockRequest> decode_block_request(const PacketInfo& info, Bytes body);
Result<BlockDesc> decode_block_desc(const PacketInfo& info, Bytes body);
Result<Barrier> decode_barrier(const PacketInfo& info, Bytes body);
Result<BarrierAck> decode_barrier_ack(const PacketInfo& info, Bytes body);
// protocol_max 0 comes out as protocol_min, as the peer means it. Compatibility is not judged.
Result<Features> decode_features(const PacketInfo& info, Bytes body);
Result<Protocol> decode_protocol(const PacketInfo& info, Bytes body);
// Numbers outside the configuration's ranges are clipped to them (17.3).
Result<SyncParam> decode_sync_param(const PacketInfo& info, Bytes body);
// max_bio_size is clipped to 4096 ... 1 MiB.
Result<Sizes> decode_sizes(const PacketInfo& info, Bytes body);
Result<Uuids> decode_uuids(const PacketInfo& info, Bytes body);
Result<StatePacket> decode_state(const PacketInfo& info, Bytes body);
// Never fails: requests off the whitelist are answered, not dropped (17.4, state_change.hpp).
StateChangeRequest decode_state_change_request(Bytes body);
Result<StateChangeReply> decode_state_change_reply(const PacketInfo& info, Bytes body);
Result<SyncUuid> decode_sync_uuid(const PacketInfo& info, Bytes body);
DelayProbe decode_delay_probe(Bytes body);

// "Range" of 17.3: size > 0, a multiple of 512, and inside a device of capacity_sectors.
Status check_range(const PacketInfo& info, Sector sector, uint64_t size_bytes, uint64_t capacity_sectors);

}  // namespace duplex::wire
