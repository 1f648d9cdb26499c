// The variable-length integers of P_COMPRESSED_BITMAP: run lengths as code words in a bit stream, least
// significant bit of the first byte first (wire protocol 11.3).
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace duplex::wire {

struct VliCode {
    uint64_t word = 0;  // prefix in the low bits, data above
    uint8_t bits = 0;
};

// 1 <= run <= 2^56 + 17181974832 - 1, which no bitmap exceeds.
VliCode vli_encode(uint64_t run);

struct VliRun {
    uint64_t run = 0;
    uint8_t bits = 0;  // of its code word
};

// The run whose code word starts at bit 0 of `window`, of which bits from `valid_bits` on are 0 and not part
// of the stream. nullopt: the code word does not fit into the valid bits.
std::optional<VliRun> vli_decode(uint64_t window, uint64_t valid_bits);

class BitWriter {
  public:
    explicit BitWriter(std::span<uint8_t> out) : out_(out) {}

    // False, and nothing written, if the code does not fit.
    bool put(VliCode code);
    // Writes what is not a whole word yet; nothing may be put behind it.
    void finish();
    uint64_t bits() const { return position_; }
    uint64_t bytes() const { return (position_ + 7) / 8; }

  private:
    std::span<uint8_t> out_;
    uint64_t position_ = 0;
    uint64_t pending_ = 0;  // the bits from the last multiple of 64 on
};

class BitReader {
  public:
    // Of `bytes`, only the first `bits` bits are the stream.
    BitReader(std::span<const uint8_t> bytes, uint64_t bits) : bytes_(bytes), bits_(bits) {}

    uint64_t remaining() const { return bits_ - position_; }
    // The next 64 bits, 0 beyond the end of the bytes.
    uint64_t window() const;
    void skip(uint64_t bits) { position_ += bits; }

  private:
    std::span<const uint8_t> bytes_;
    uint64_t bits_;
    uint64_t position_ = 0;
};

}  // namespace duplex::wire
