// The NBD protocol's numbers and fixed structures (the public protocol document of the Network Block Device
// project, "newstyle" negotiation only). All integers on the wire are big-endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/byte_order.hpp"

namespace duplex::exports::nbd {

// ---- handshake
inline constexpr uint64_t init_magic = 0x4e42444d41474943;    // "NBDMAGIC"
inline constexpr uint64_t option_magic = 0x49484156454f5054;  // "IHAVEOPT"
inline constexpr uint64_t option_reply_magic = 0x0003e889045565a9;

inline constexpr uint16_t flag_fixed_newstyle = 1 << 0;
inline constexpr uint16_t flag_no_zeroes = 1 << 1;
inline constexpr uint32_t client_flag_fixed_newstyle = 1 << 0;
inline constexpr uint32_t client_flag_no_zeroes = 1 << 1;

enum class Option : uint32_t {
    export_name = 1,
    abort = 2,
    list = 3,
    starttls = 5,
    info = 6,
    go = 7,
    structured_reply = 8,
    list_meta_context = 9,
    set_meta_context = 10,
};

enum class OptionReply : uint32_t {
    ack = 1,
    server = 2,
    info = 3,
    error_unsupported = (1u << 31) + 1,
    error_policy = (1u << 31) + 2,
    error_invalid = (1u << 31) + 3,
    error_unknown = (1u << 31) + 6,
    error_shutdown = (1u << 31) + 7,
    error_too_big = (1u << 31) + 9,
};

enum class Info : uint16_t { export_ = 0, name = 1, description = 2, block_size = 3 };

inline constexpr size_t name_bytes_max = 4096;  // of any string, says the protocol

// ---- the export's flags, sent at the end of the handshake
inline constexpr uint16_t export_has_flags = 1 << 0;
inline constexpr uint16_t export_read_only = 1 << 1;
inline constexpr uint16_t export_send_flush = 1 << 2;
inline constexpr uint16_t export_send_fua = 1 << 3;
inline constexpr uint16_t export_send_trim = 1 << 5;
inline constexpr uint16_t export_send_write_zeroes = 1 << 6;
inline constexpr uint16_t export_send_df = 1 << 7;
inline constexpr uint16_t export_can_multi_conn = 1 << 8;

// ---- transmission
inline constexpr uint32_t request_magic = 0x25609513;
inline constexpr uint32_t simple_reply_magic = 0x67446698;
inline constexpr uint32_t structured_reply_magic = 0x668e33ef;

enum class Command : uint16_t {
    read = 0,
    write = 1,
    disconnect = 2,
    flush = 3,
    trim = 4,
    cache = 5,
    write_zeroes = 6,
    block_status = 7
};

inline constexpr uint16_t command_flag_fua = 1 << 0;
inline constexpr uint16_t command_flag_no_hole = 1 << 1;
inline constexpr uint16_t command_flag_df = 1 << 2;

inline constexpr uint16_t chunk_flag_done = 1 << 0;
enum class Chunk : uint16_t { none = 0, offset_data = 1, error = (1 << 15) + 1 };

enum class WireError : uint32_t {
    none = 0,
    permission = 1,
    io = 5,
    no_memory = 12,
    invalid = 22,
    no_space = 28,
    overflow = 75,
    not_supported = 95,
    shutdown = 108,
};

// The protocol knows ten errors; the rest become EIO. EROFS and EMEDIUMTYPE (a Secondary) are EPERM.
WireError wire_error_of(int error_number);

struct RequestHeader {
    static constexpr size_t size_bytes = 28;
    uint32_t magic = 0;
    uint16_t flags = 0;
    Command command = Command::read;
    uint64_t cookie = 0;
    uint64_t offset_bytes = 0;
    uint32_t length_bytes = 0;

    static RequestHeader decode(const uint8_t* at) {
        return {load_be<uint32_t>(at),     load_be<uint16_t>(at + 4),  Command{load_be<uint16_t>(at + 6)},
                load_be<uint64_t>(at + 8), load_be<uint64_t>(at + 16), load_be<uint32_t>(at + 24)};
    }
};

inline constexpr size_t simple_reply_bytes = 16;
inline constexpr size_t chunk_header_bytes = 20;

inline size_t put_simple_reply(uint8_t* at, uint64_t cookie, WireError error) {
    store_be(at, simple_reply_magic);
    store_be(at + 4, static_cast<uint32_t>(error));
    store_be(at + 8, cookie);
    return simple_reply_bytes;
}

inline size_t put_chunk_header(uint8_t* at, uint64_t cookie, Chunk type, bool done, uint32_t payload_bytes) {
    store_be(at, structured_reply_magic);
    store_be(at + 4, done ? chunk_flag_done : uint16_t{0});
    store_be(at + 6, static_cast<uint16_t>(type));
    store_be(at + 8, cookie);
    store_be(at + 16, payload_bytes);
    return chunk_header_bytes;
}

std::string_view name_of(Command command);

}  // namespace duplex::exports::nbd
