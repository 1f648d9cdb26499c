#include "wire/bitmap_codec.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/byte_order.hpp"
#include "base/ensure.hpp"
#include "wire/packet_error.hpp"
#include "wire/vli.hpp"

namespace duplex::wire {

namespace {

constexpr uint64_t words_per_packet = bitmap_payload_bytes_max / 8;
constexpr uint8_t code_rle_vli = 2;

constexpr uint64_t ones_from(uint64_t bit) {
    return ~uint64_t{0} << (bit % 64);
}

// The bits of word `word` that exist in a bitmap of `bits` bits.
constexpr uint64_t valid_mask(uint64_t word, uint64_t bits) {
    return bits / 64 > word ? ~uint64_t{0} : ~ones_from(bits);
}

// First bit at or after `from` that is not `value`, or `bits`.
uint64_t run_end(std::span<const uint64_t> words, uint64_t from, bool value, uint64_t bits) {
    const uint64_t flip = value ? ~uint64_t{0} : 0;
    const uint64_t end_word = bitmap_words(bits);
    uint64_t word = from / 64;
    uint64_t other = (words[word] ^ flip) & ones_from(from);
    while (other == 0) {
        if (++word == end_word) return bits;
        other = words[word] ^ flip;
    }
    return std::min(bits, word * 64 + static_cast<uint64_t>(std::countr_zero(other)));
}

// ORs `set` into `word` and returns how many bits that changed.
uint64_t or_into(uint64_t& word, uint64_t set) {
    const auto fresh = static_cast<uint64_t>(std::popcount(set & ~word));
    word |= set;
    return fresh;
}

// Sets [from, to), which is not empty; returns how many of the bits were clear.
uint64_t set_run(std::span<uint64_t> words, uint64_t from, uint64_t to) {
    const uint64_t first = from / 64;
    const uint64_t last = (to - 1) / 64;
    const uint64_t head = ones_from(from);
    const uint64_t tail = ~uint64_t{0} >> (63 - (to - 1) % 64);
    if (first == last) return or_into(words[first], head & tail);
    uint64_t fresh = or_into(words[first], head);
    for (uint64_t word = first + 1; word < last; ++word) fresh += or_into(words[word], ~uint64_t{0});
    return fresh + or_into(words[last], tail);
}

}  // namespace

BitmapSender::Chunk BitmapSender::next(std::span<const uint64_t> words, std::span<uint8_t> out) {
    ensure(!done_ && out.size() >= bitmap_payload_bytes_max && words.size() >= bitmap_words(bits_));
    if (!use_rle_ || bit_ == bits_) return next_plain(words, out);

    BitWriter code(out.subspan(1, bitmap_payload_bytes_max - 1));
    const bool first_value = (words[bit_ / 64] >> (bit_ % 64) & 1) != 0;
    bool value = first_value;
    uint64_t bit = bit_;
    while (bit < bits_) {
        const uint64_t end = run_end(words, bit, value, bits_);
        if (!code.put(vli_encode(end - bit))) break;
        bit = end;
        value = !value;
    }
    if (bit - bit_ < code.bytes() * 8) return next_plain(words, out);

    code.finish();
    const uint64_t pad = code.bytes() * 8 - code.bits();
    out[0] = static_cast<uint8_t>((first_value ? 0x80u : 0u) | pad << 4 | code_rle_vli);
    bit_ = bit;
    word_ = bit / 64;
    done_ = bit_ == bits_;
    return {Command::compressed_bitmap, static_cast<uint32_t>(1 + code.bytes())};
}

BitmapSender::Chunk BitmapSender::next_plain(std::span<const uint64_t> words, std::span<uint8_t> out) {
    const uint64_t count = std::min(words_per_packet, bitmap_words(bits_) - word_);
    for (uint64_t i = 0; i < count; ++i)
        store_le(&out[i * 8], words[word_ + i] & valid_mask(word_ + i, bits_));
    word_ += count;
    bit_ = std::min(word_ * 64, bits_);
    done_ = count == 0;
    return {Command::bitmap, static_cast<uint32_t>(count * 8)};
}

Status BitmapReceiver::receive(const PacketInfo& info, std::span<const uint8_t> payload,
                               std::span<uint64_t> words) {
    ensure(words.size() >= bitmap_words(bits_) && payload.size() == info.variable_bytes);
    if (done_) return packet_error(info.header, "the transfer of {} bits is complete already", bits_);
    if (info.command() == Command::compressed_bitmap) return receive_compressed(info, payload, words);
    ensure(info.command() == Command::bitmap);
    return receive_plain(info, payload, words);
}

Status BitmapReceiver::receive_plain(const PacketInfo& info, std::span<const uint8_t> payload,
                                     std::span<uint64_t> words) {
    const uint64_t count = std::min(words_per_packet, bitmap_words(bits_) - word_);
    if (payload.size() != count * 8)
        return packet_error(info.header, "{} bytes at word {} of {}, must be {}", payload.size(), word_,
                            bitmap_words(bits_), count * 8);
    for (uint64_t i = 0; i < count; ++i)
        newly_set_ +=
            or_into(words[word_ + i], load_le<uint64_t>(&payload[i * 8]) & valid_mask(word_ + i, bits_));
    first_word_ = word_;
    word_ += count;
    end_word_ = word_;
    bit_ = std::min(word_ * 64, bits_);
    done_ = count == 0;
    return Ok{};
}

Status BitmapReceiver::receive_compressed(const PacketInfo& info, std::span<const uint8_t> payload,
                                          std::span<uint64_t> words) {
    const uint8_t encoding = payload[0];
    if ((encoding & 0x0f) != code_rle_vli)
        return packet_error(info.header, "encoding byte 0x{:02x}: code {} is unknown, must be {}", encoding,
                            encoding & 0x0f, code_rle_vli);
    const unsigned pad = encoding >> 4 & 7;
    const auto code = payload.subspan(1);
    if (pad > 0 && code.back() >> (8 - pad) != 0)
        return packet_error(info.header,
                            "encoding byte 0x{:02x}: the {} pad bits of the last byte 0x{:02x} are not 0",
                            encoding, pad, code.back());

    BitReader reader(code, code.size() * 8 - pad);
    bool value = (encoding & 0x80) != 0;
    first_word_ = bit_ / 64;
    while (reader.remaining() > 0) {
        const auto run = vli_decode(reader.window(), reader.remaining());
        if (!run)
            return packet_error(info.header,
                                "the last code word, at bit {} of the bitmap, is cut: {} bits left", bit_,
                                reader.remaining());
        if (run->run > bits_ - bit_)
            return packet_error(info.header, "a run of {} bits at bit {} goes beyond the bitmap's {} bits",
                                run->run, bit_, bits_);
        if (value) newly_set_ += set_run(words, bit_, bit_ + run->run);
        bit_ += run->run;
        value = !value;
        reader.skip(run->bits);
    }
    word_ = bit_ / 64;
    end_word_ = bitmap_words(bit_);
    done_ = bit_ == bits_;
    return Ok{};
}

}  // namespace duplex::wire
