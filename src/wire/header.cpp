#include "wire/header.hpp"

#include "base/byte_order.hpp"
#include "base/ensure.hpp"

namespace duplex::wire {

namespace {

constexpr uint32_t magic80 = 0x83740267;
constexpr uint16_t magic95 = 0x835a;
constexpr uint32_t magic100 = 0x8620ec20;

Result<Header> decode_header80(const uint8_t* at) {
    const auto magic = load_be<uint32_t>(at);
    if (magic != magic80) return error("packet header: magic {:08x}, expected {:08x}", magic, magic80);
    return Header{static_cast<Command>(load_be<uint16_t>(at + 4)), 0, load_be<uint16_t>(at + 6)};
}

Result<Header> decode_header95(const uint8_t* at) {
    const auto magic = load_be<uint16_t>(at);
    if (magic != magic95) return error("packet header: magic {:04x}, expected {:04x}", magic, magic95);
    return Header{static_cast<Command>(load_be<uint16_t>(at + 2)), 0, load_be<uint32_t>(at + 4)};
}

Result<Header> decode_header100(const uint8_t* at) {
    const auto magic = load_be<uint32_t>(at);
    if (magic != magic100) return error("packet header: magic {:08x}, expected {:08x}", magic, magic100);
    const Header header{static_cast<Command>(load_be<uint16_t>(at + 6)), load_be<uint16_t>(at + 4),
                        load_be<uint32_t>(at + 8)};
    const auto pad = load_be<uint32_t>(at + 12);
    if (pad != 0)
        return error("{} (0x{:x}), volume {}: pad of the header is 0x{:x}, must be 0",
                     name_of(header.command), static_cast<unsigned>(header.command), header.volume, pad);
    return header;
}

}  // namespace

size_t encode_header(HeaderFormat format, const Header& header, uint8_t* out) {
    const auto command = static_cast<uint16_t>(header.command);
    switch (format) {
        case HeaderFormat::header80:
            ensure(header.length <= UINT16_MAX);
            store_be(out, magic80);
            store_be(out + 4, command);
            store_be(out + 6, static_cast<uint16_t>(header.length));
            break;
        case HeaderFormat::header95:
            store_be(out, magic95);
            store_be(out + 2, command);
            store_be(out + 4, header.length);
            break;
        case HeaderFormat::header100:
            store_be(out, magic100);
            store_be(out + 4, header.volume);
            store_be(out + 6, command);
            store_be(out + 8, header.length);
            store_be(out + 12, uint32_t{0});
            break;
    }
    return header_bytes(format);
}

Result<Header> decode_header(HeaderFormat format, std::span<const uint8_t> bytes) {
    ensure(bytes.size() >= header_bytes(format));
    switch (format) {
        case HeaderFormat::header80:
            return decode_header80(bytes.data());
        case HeaderFormat::header95:
            return decode_header95(bytes.data());
        case HeaderFormat::header100:
            break;
    }
    return decode_header100(bytes.data());
}

}  // namespace duplex::wire
