#include "wire/vli.hpp"

#include <array>
#include <cstring>

#include "base/byte_order.hpp"
#include "base/ensure.hpp"

namespace duplex::wire {

namespace {

struct Level {
    uint64_t min;
    uint8_t prefix;
    uint8_t prefix_bits;
    uint8_t total_bits;
};

constexpr std::array<Level, 10> levels{{
    {1, 0x00, 1, 2},
    {3, 0x01, 2, 3},
    {5, 0x03, 3, 5},
    {9, 0x07, 4, 7},
    {17, 0x0f, 5, 10},
    {49, 0x1f, 6, 14},
    {305, 0x3f, 8, 21},
    {8497, 0x7f, 8, 29},
    {2105649, 0xbf, 8, 42},
    {17181974833, 0xff, 8, 64},
}};

constexpr uint64_t run_max = (uint64_t{1} << 56) - 1 + levels.back().min;

// No prefix is longer than 8 bits, so the next byte of the stream names the level.
constexpr auto level_of_byte = [] {
    std::array<uint8_t, 256> table{};
    for (size_t byte = 0; byte < table.size(); ++byte)
        for (size_t level = levels.size(); level-- > 0;)
            if ((byte & ((1u << levels[level].prefix_bits) - 1)) == levels[level].prefix)
                table[byte] = static_cast<uint8_t>(level);
    return table;
}();

}  // namespace

VliCode vli_encode(uint64_t run) {
    ensure(run >= 1 && run <= run_max);
    size_t level = 0;
    while (level + 1 < levels.size() && run >= levels[level + 1].min) ++level;
    const Level& row = levels[level];
    return {(run - row.min) << row.prefix_bits | row.prefix, row.total_bits};
}

std::optional<VliRun> vli_decode(uint64_t window, uint64_t valid_bits) {
    const Level& row = levels[level_of_byte[window & 0xff]];
    if (row.total_bits > valid_bits) return std::nullopt;
    const uint64_t code = row.total_bits == 64 ? window : window & ((uint64_t{1} << row.total_bits) - 1);
    return VliRun{row.min + (code >> row.prefix_bits), row.total_bits};
}

bool BitWriter::put(VliCode code) {
    if (code.bits > out_.size() * 8 - position_) return false;
    const auto used = static_cast<unsigned>(position_ % 64);
    pending_ |= code.word << used;
    if (used + code.bits >= 64) {
        store_le(&out_[position_ / 64 * 8], pending_);
        pending_ = used == 0 ? 0 : code.word >> (64 - used);
    }
    position_ += code.bits;
    return true;
}

void BitWriter::finish() {
    const uint64_t stored = position_ / 64 * 8;
    if (bytes() > stored) std::memcpy(&out_[stored], &pending_, bytes() - stored);
}

uint64_t BitReader::window() const {
    const size_t first = position_ / 8;
    const unsigned shift = static_cast<unsigned>(position_ % 8);
    const size_t left = bytes_.size() - first;
    if (left > 8) {
        const auto low = load_le<uint64_t>(&bytes_[first]);
        return shift == 0 ? low : low >> shift | uint64_t{bytes_[first + 8]} << (64 - shift);
    }
    uint64_t low = 0;
    if (left > 0) std::memcpy(&low, &bytes_[first], left);
    return low >> shift;
}

}  // namespace duplex::wire
