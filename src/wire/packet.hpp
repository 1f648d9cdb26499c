// The packets as plain structs in host byte order (wire protocol 4). A struct is a packet's fixed part, plus
// the short texts some packets end with; digests and data blocks are never in here.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/byte_order.hpp"
#include "base/units.hpp"
#include "wire/state.hpp"

namespace duplex::wire {

enum class Command : uint16_t {
    data = 0x00,
    data_reply = 0x01,
    rs_data_reply = 0x02,
    barrier = 0x03,
    bitmap = 0x04,
    become_sync_target = 0x05,  // never sent, an error if received
    become_sync_source = 0x06,  // likewise
    unplug_remote = 0x07,
    data_request = 0x08,
    rs_data_request = 0x09,
    sync_param = 0x0a,  // protocol 88 and below; never sent, an error if received
    protocol = 0x0b,
    uuids = 0x0c,
    sizes = 0x0d,
    state = 0x0e,
    sync_uuid = 0x0f,
    auth_challenge = 0x10,
    auth_response = 0x11,
    state_chg_req = 0x12,
    ping = 0x13,
    ping_ack = 0x14,
    recv_ack = 0x15,
    write_ack = 0x16,
    rs_write_ack = 0x17,
    superseded = 0x18,
    neg_ack = 0x19,
    neg_dreply = 0x1a,
    neg_rs_dreply = 0x1b,
    barrier_ack = 0x1c,
    state_chg_reply = 0x1d,
    ov_request = 0x1e,
    ov_reply = 0x1f,
    ov_result = 0x20,
    csum_rs_request = 0x21,
    rs_is_in_sync = 0x22,
    sync_param89 = 0x23,
    compressed_bitmap = 0x24,
    delay_probe = 0x27,
    out_of_sync = 0x28,
    rs_cancel = 0x29,
    conn_st_chg_req = 0x2a,
    conn_st_chg_reply = 0x2b,
    retry_write = 0x2c,
    protocol_update = 0x2d,
    trim = 0x31,
    rs_thin_req = 0x32,
    rs_deallocated = 0x33,
    wsame = 0x34,  // never sent, an error if received
    zeroes = 0x36,
    initial_meta = 0xfff1,
    initial_data = 0xfff2,
    connection_features = 0xfffe,
};

// "P_DATA", ...; "unknown" for a code that is not in the table.
std::string_view name_of(Command command);

inline constexpr uint32_t protocol_min = 100;
inline constexpr uint32_t protocol_max = 101;

// Features that both sides announced hold (wire protocol 5.3).
namespace feature {
inline constexpr uint32_t trim = 1;
inline constexpr uint32_t thin_resync = 2;
inline constexpr uint32_t wsame = 4;  // no P_WSAME: means the P_SIZES trailer and trims of up to 128 MiB
inline constexpr uint32_t wzeroes = 8;
inline constexpr uint32_t all = 15;
}  // namespace feature

namespace dp_flag {
inline constexpr uint32_t hardbarrier = 1;
inline constexpr uint32_t rw_sync = 2;
inline constexpr uint32_t may_set_in_sync = 4;
inline constexpr uint32_t unplug = 8;
inline constexpr uint32_t fua = 16;
inline constexpr uint32_t flush = 32;
inline constexpr uint32_t discard = 64;
inline constexpr uint32_t send_receive_ack = 128;
inline constexpr uint32_t send_write_ack = 256;
inline constexpr uint32_t wsame = 512;
inline constexpr uint32_t zeroes = 1024;
inline constexpr uint32_t known = 0x7ff;
}  // namespace dp_flag

inline constexpr uint32_t data_bytes_max = 1u << 20;    // of one P_DATA or read
inline constexpr uint32_t trim_bytes_max = 128u << 20;  // of one P_TRIM or P_ZEROES with feature wsame
inline constexpr uint32_t trim_bytes_max_without_wsame = 4u << 20;
inline constexpr uint64_t size_sectors_max = uint64_t{1} << 51;  // no device is larger

// The requester's handle, sent back as the same bytes; it has no byte order and says nothing to the other
// node (wire protocol 7.7).
struct BlockId {
    uint64_t raw = 0;
    constexpr bool operator==(const BlockId&) const = default;
};
inline constexpr BlockId block_id_resync{~uint64_t{0}};
// In P_OV_RESULT the field carries a big-endian verdict instead.
inline constexpr BlockId block_id_in_sync{byte_swap(uint64_t{4711})};
inline constexpr BlockId block_id_out_of_sync{byte_swap(uint64_t{4712})};

// A NUL-padded name of an algorithm, 63 characters at most.
struct AlgorithmName {
    std::array<char, 64> text{};

    AlgorithmName() = default;
    // Longer names are cut; the configuration does not let one through.
    explicit AlgorithmName(std::string_view name) {
        std::copy_n(name.begin(), std::min(name.size(), text.size() - 1), text.begin());
    }
    std::string_view view() const {
        const auto end = std::find(text.begin(), text.end(), '\0');
        return {text.data(), static_cast<size_t>(end - text.begin())};
    }
    bool operator==(const AlgorithmName& other) const { return view() == other.view(); }
};

// P_DATA, P_DATA_REPLY, P_RS_DATA_REPLY.
struct Data {
    static constexpr size_t bytes = 24;
    Sector sector{};
    BlockId block_id{};
    uint32_t seq_num = 0;
    uint32_t dp_flags = 0;
    bool operator==(const Data&) const = default;
};

// P_TRIM, P_ZEROES.
struct Trim {
    static constexpr size_t bytes = 28;
    Sector sector{};
    BlockId block_id{};
    uint32_t seq_num = 0;
    uint32_t dp_flags = 0;
    uint32_t size_bytes = 0;
    bool operator==(const Trim&) const = default;
};

// Every acknowledgement and negative reply, P_OV_RESULT, P_RS_IS_IN_SYNC, P_RS_CANCEL (wire protocol 4.2).
struct BlockAck {
    static constexpr size_t bytes = 24;
    Sector sector{};
    BlockId block_id{};
    uint32_t size_bytes = 0;
    uint32_t seq_num = 0;
    bool operator==(const BlockAck&) const = default;
};

// P_DATA_REQUEST, P_RS_DATA_REQUEST, P_RS_THIN_REQ, P_CSUM_RS_REQUEST, P_OV_REQUEST, P_OV_REPLY.
struct BlockRequest {
    static constexpr size_t bytes = 24;
    Sector sector{};
    BlockId block_id{};
    uint32_t size_bytes = 0;
    bool operator==(const BlockRequest&) const = default;
};

// P_OUT_OF_SYNC, P_RS_DEALLOCATED.
struct BlockDesc {
    static constexpr size_t bytes = 16;
    Sector sector{};
    uint32_t size_bytes = 0;
    bool operator==(const BlockDesc&) const = default;
};

struct Barrier {
    static constexpr size_t bytes = 8;
    uint32_t barrier = 0;  // opaque: the same four bytes come back in the P_BARRIER_ACK
    bool operator==(const Barrier&) const = default;
};

struct BarrierAck {
    static constexpr size_t bytes = 8;
    uint32_t barrier = 0;
    uint32_t set_size = 0;  // writes in the epoch
    bool operator==(const BarrierAck&) const = default;
};

// P_CONNECTION_FEATURES (wire protocol 5.2).
struct Features {
    static constexpr size_t bytes = 72;
    uint32_t protocol_min = wire::protocol_min;
    uint32_t feature_flags = feature::all;
    uint32_t protocol_max = wire::protocol_max;
    bool operator==(const Features&) const = default;
};

enum class ReplicationProtocol : uint8_t { a = 1, b = 2, c = 3 };

// How an automatic recovery from split brain goes about it; 5 and 6 change places in the peer's view.
enum class AfterSplitBrain : uint8_t {
    disconnect = 0,
    discard_younger_primary = 1,
    discard_older_primary = 2,
    discard_zero_changes = 3,
    discard_least_changes = 4,
    discard_local = 5,
    discard_remote = 6,
    consensus = 7,
    discard_secondary = 8,
    call_pri_lost_after_sb = 9,
    violently_as0p = 10,
};
constexpr AfterSplitBrain in_peers_view(AfterSplitBrain policy) {
    if (policy == AfterSplitBrain::discard_local) return AfterSplitBrain::discard_remote;
    if (policy == AfterSplitBrain::discard_remote) return AfterSplitBrain::discard_local;
    return policy;
}

// P_PROTOCOL, P_PROTOCOL_UPDATE (wire protocol 5.5).
struct Protocol {
    static constexpr size_t bytes = 24;
    static constexpr size_t bytes_max = bytes + 64;  // with integrity_alg and its NUL
    ReplicationProtocol protocol = ReplicationProtocol::c;
    AfterSplitBrain after_sb_0p = AfterSplitBrain::disconnect;
    AfterSplitBrain after_sb_1p = AfterSplitBrain::disconnect;
    AfterSplitBrain after_sb_2p = AfterSplitBrain::disconnect;
    bool discard_my_data = false;
    bool dry_run = false;
    bool two_primaries = false;
    AlgorithmName integrity_alg{};  // "" = none
    bool operator==(const Protocol&) const = default;
};

// P_SYNC_PARAM89 (wire protocol 5.7).
struct SyncParam {
    static constexpr size_t bytes = 148;
    uint32_t resync_rate_kib_s = 250;
    AlgorithmName verify_alg{};
    AlgorithmName csums_alg{};
    uint32_t c_plan_ahead_ds = 20;    // tenths of a second
    uint32_t c_delay_target_ds = 10;  // tenths of a second
    uint32_t c_fill_target_sectors = 100;
    uint32_t c_max_rate_kib_s = 102400;
    bool operator==(const SyncParam&) const = default;
};

struct QueueLimits {
    static constexpr size_t bytes = 24;
    uint32_t physical_block_size_bytes = 512;
    uint32_t logical_block_size_bytes = 512;
    uint32_t alignment_offset_bytes = 0;
    uint32_t io_min_bytes = 512;
    uint32_t io_opt_bytes = 0;
    uint8_t discard_enabled = 0;
    uint8_t discard_zeroes_data = 0;  // send 0
    uint8_t write_same_capable = 0;   // send 0, so that no peer ever sends P_WSAME
    bool operator==(const QueueLimits&) const = default;
};

// P_SIZES (wire protocol 5.8). The trailer is on the wire exactly when feature wsame is agreed.
struct Sizes {
    static constexpr size_t bytes = 32;
    static constexpr size_t bytes_max = bytes + QueueLimits::bytes;
    static constexpr uint16_t forced_resize = 1;  // dds_flags
    static constexpr uint16_t no_resync = 2;
    uint64_t d_size_sectors = 0;  // what the backing disk offers, 0 = no disk
    uint64_t u_size_sectors = 0;  // configured limit, 0 = none
    uint64_t c_size_sectors = 0;  // current size; 0 asks the peer for its sizes
    uint32_t max_bio_size_bytes = data_bytes_max;
    uint16_t queue_order_type = 0;
    uint16_t dds_flags = 0;
    // Absent without the feature, and after decoding a trailer whose block sizes make no sense (17.3).
    std::optional<QueueLimits> limits = std::nullopt;
    bool operator==(const Sizes&) const = default;
};

// P_UUIDS (wire protocol 5.9).
struct Uuids {
    static constexpr size_t bytes = 48;
    static constexpr uint64_t flag_discard_my_data = 1;
    static constexpr uint64_t flag_crashed_primary = 2;
    static constexpr uint64_t flag_inconsistent = 4;
    static constexpr uint64_t flag_skip_initial_sync = 8;
    uint64_t current = 0;
    uint64_t bitmap = 0;
    std::array<uint64_t, 2> history{};
    uint64_t bits_set = 0;
    uint64_t flags = 0;
    bool operator==(const Uuids&) const = default;
};
inline constexpr uint64_t uuid_just_created = 4;

// P_STATE.
struct StatePacket {
    static constexpr size_t bytes = 4;
    State state{};
    bool operator==(const StatePacket&) const = default;
};

// P_STATE_CHG_REQ, P_CONN_ST_CHG_REQ: words laid out as the state word, from the requester's point of view.
// Not a State: what a request may ask for is a whitelist (state_change.hpp).
struct StateChangeRequest {
    static constexpr size_t bytes = 8;
    uint32_t mask = 0;
    uint32_t value = 0;
    bool operator==(const StateChangeRequest&) const = default;
};

// P_STATE_CHG_REPLY, P_CONN_ST_CHG_REPLY: a StateChangeResult (state_change.hpp).
struct StateChangeReply {
    static constexpr size_t bytes = 4;
    int32_t retcode = 0;
    bool operator==(const StateChangeReply&) const = default;
};

struct SyncUuid {
    static constexpr size_t bytes = 8;
    uint64_t uuid = 0;
    bool operator==(const SyncUuid&) const = default;
};

struct DelayProbe {
    static constexpr size_t bytes = 8;
    uint32_t seq_num = 0;
    uint32_t offset_us = 0;
    bool operator==(const DelayProbe&) const = default;
};

// P_AUTH_CHALLENGE is these random bytes alone, P_AUTH_RESPONSE the HMAC alone (wire protocol 5.4).
inline constexpr size_t auth_challenge_bytes = 64;
inline constexpr size_t auth_challenge_bytes_max = 128;

}  // namespace duplex::wire
