// The bitmap on the wire (wire protocol 11): a transfer is a run of P_BITMAP and P_COMPRESSED_BITMAP packets
// of one volume with an implicit position. Sender and receiver here keep that position; the bitmap itself is
// the caller's, as 64-bit words with bit n of the bitmap in bit n % 64 of word n / 64.
#pragma once

#include <cstdint>
#include <span>

#include "base/result.hpp"
#include "wire/rules.hpp"

namespace duplex::wire {

inline constexpr size_t bitmap_payload_bytes_max = 4080;

constexpr uint64_t bitmap_words(uint64_t bits) {
    return (bits + 63) / 64;
}

class BitmapSender {
  public:
    struct Chunk {
        Command command;        // bitmap or compressed_bitmap
        uint32_t length_bytes;  // of the payload; 0 is the mandatory end of a plain transfer
    };

    // For a bitmap of `bits` bits; use_rle as configured.
    BitmapSender(uint64_t bits, bool use_rle) : bits_(bits), use_rle_(use_rle) {}

    bool done() const { return done_; }
    uint64_t bits_sent() const { return bit_; }

    // The next packet's payload, into `out` of at least bitmap_payload_bytes_max bytes. Not after done().
    // `words` is the whole bitmap (bitmap_words(bits) words); bits beyond the end are sent as 0 whatever they
    // are.
    Chunk next(std::span<const uint64_t> words, std::span<uint8_t> out);

  private:
    Chunk next_plain(std::span<const uint64_t> words, std::span<uint8_t> out);

    uint64_t bits_;
    uint64_t bit_ = 0;   // next bit to send
    uint64_t word_ = 0;  // next word of a plain packet
    bool use_rle_;
    bool done_ = false;
};

class BitmapReceiver {
  public:
    explicit BitmapReceiver(uint64_t bits) : bits_(bits) {}

    bool done() const { return done_; }
    uint64_t bits_received() const { return bit_; }
    uint64_t newly_set() const { return newly_set_; }  // bits that were clear in `words` before
    // The word range touched by the last receive(), for marking what has to be written to disk.
    uint64_t first_word() const { return first_word_; }
    uint64_t end_word() const { return end_word_; }

    // ORs one packet into `words` (the whole bitmap). Never sets a bit at or beyond `bits`. After an error
    // the transfer is void; runs before the offending one may already be in the bitmap, which only asks for
    // more resync.
    Status receive(const PacketInfo& info, std::span<const uint8_t> payload, std::span<uint64_t> words);

  private:
    Status receive_plain(const PacketInfo& info, std::span<const uint8_t> payload, std::span<uint64_t> words);
    Status receive_compressed(const PacketInfo& info, std::span<const uint8_t> payload,
                              std::span<uint64_t> words);

    uint64_t bits_;
    uint64_t bit_ = 0;
    uint64_t word_ = 0;
    uint64_t newly_set_ = 0;
    uint64_t first_word_ = 0;
    uint64_t end_word_ = 0;
    bool done_ = false;
};

}  // namespace duplex::wire
