// The three header formats and which of them is in use when (wire protocol 3.1, 3.2).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.hpp"
#include "wire/packet.hpp"

namespace duplex::wire {

enum class HeaderFormat : uint8_t { header80, header95, header100 };

inline constexpr size_t header_bytes_max = 16;

constexpr size_t header_bytes(HeaderFormat format) {
    return format == HeaderFormat::header100 ? 16 : 8;
}

struct Header {
    Command command = Command::data;
    uint16_t volume = 0;  // only header100 transmits it; 0 for packets of the whole connection
    uint32_t length = 0;  // bytes behind the header
    bool operator==(const Header&) const = default;
};

// Writes header_bytes(format) bytes and returns their number. With header80 the length must be below 65536.
size_t encode_header(HeaderFormat format, const Header& header, uint8_t* out);

// `bytes` holds header_bytes(format) bytes. Errors: wrong magic, pad not 0. The command is not judged here;
// it may be a value without an enumerator.
Result<Header> decode_header(HeaderFormat format, std::span<const uint8_t> bytes);

}  // namespace duplex::wire
