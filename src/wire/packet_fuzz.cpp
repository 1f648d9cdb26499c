// Any bytes as the stream of one socket: the reader and every decoder must end with a packet or an error.
// The first bytes choose the socket, the phase and what was agreed.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/ensure.hpp"
#include "wire/test_support.hpp"

using namespace duplex;
using namespace duplex::wire;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
    if (size < 4) return 0;
    PacketReader reader((bytes[0] & 1) != 0 ? Socket::meta : Socket::data);
    reader.set_agreement({.phase = static_cast<Phase>((bytes[0] >> 1) % 6),
                          .features = bytes[1],
                          .integrity_digest_bytes = static_cast<uint8_t>(bytes[2] & 0x14),
                          .csums_digest_bytes = static_cast<uint8_t>(bytes[2] >> 3),
                          .verify_digest_bytes = static_cast<uint8_t>(bytes[3] & 0x1f),
                          .auth_digest_bytes = static_cast<uint8_t>(bytes[3] >> 2)});
    std::span<const uint8_t> stream(bytes + 4, size - 4);
    std::vector<uint8_t> data;
    while (!stream.empty()) {
        const auto fed = reader.feed(stream);
        if (!fed) {
            ensure(!fed.error().text.empty());
            return 0;
        }
        stream = stream.subspan(fed->consumed_bytes);
        if (fed->event == PacketReader::Event::head) {
            data.resize(reader.info().variable_bytes);
            reader.set_data_buffer(data);
        }
        if (fed->event == PacketReader::Event::packet) {
            const auto again = reencode(reader);
            const auto& header = reader.info().header;
            if (again && !carries_data_block(header.command) && header.command != Command::protocol &&
                header.command != Command::protocol_update && header.command != Command::sizes)
                ensure(again->size() ==
                       header_bytes(header_format(reader.agreement().phase)) + header.length);
        }
    }
    return 0;
}
