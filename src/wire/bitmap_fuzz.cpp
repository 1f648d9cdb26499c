// Any bytes as a bitmap transfer: no bit at or beyond the end is ever set, and what arrived can be sent again
// and arrives the same.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/byte_order.hpp"
#include "base/ensure.hpp"
#include "wire/bitmap_codec.hpp"

using namespace duplex;
using namespace duplex::wire;

namespace {

Status receive(BitmapReceiver& receiver, Command command, std::span<const uint8_t> payload,
               std::span<uint64_t> words) {
    const auto length = static_cast<uint32_t>(payload.size());
    return receiver.receive({.header = {command, 0, length}, .variable_bytes = length}, payload, words);
}

void check_round_trip(uint64_t bits, bool use_rle, const std::vector<uint64_t>& words) {
    BitmapSender sender(bits, use_rle);
    BitmapReceiver receiver(bits);
    std::vector<uint64_t> again(words.size());
    std::array<uint8_t, bitmap_payload_bytes_max> out{};
    while (!sender.done()) {
        const auto chunk = sender.next(words, out);
        ensure(receive(receiver, chunk.command, std::span(out).first(chunk.length_bytes), again).ok());
    }
    ensure(receiver.done() && again == words);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
    if (size < 4) return 0;
    const uint64_t bits = 1 + load_le<uint16_t>(bytes) * uint64_t{1 + bytes[2] % 8u};
    const bool use_rle = (bytes[3] & 1) != 0;
    std::vector<uint64_t> words(bitmap_words(bits));
    BitmapReceiver receiver(bits);
    std::span<const uint8_t> rest(bytes + 4, size - 4);
    // Each packet: one byte for its kind and two for its length, then the payload.
    while (rest.size() >= 3 && !receiver.done()) {
        const bool plain = (rest[0] & 1) != 0;
        const uint64_t wished = load_le<uint16_t>(&rest[1]) % (bitmap_payload_bytes_max + 1);
        rest = rest.subspan(3);
        uint64_t length = std::min<uint64_t>(wished, rest.size());
        if (plain) length -= length % 8;
        if (!plain && length < 2) break;
        if (!receive(receiver, plain ? Command::bitmap : Command::compressed_bitmap, rest.first(length),
                     words))
            break;
        rest = rest.subspan(length);
    }
    ensure(receiver.bits_received() <= bits);
    ensure(bits % 64 == 0 || words.back() >> (bits % 64) == 0);
    check_round_trip(bits, use_rle, words);
    return 0;
}
