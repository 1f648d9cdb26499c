#include "meta/bitmap.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/byte_order.hpp"
#include "base/ensure.hpp"

namespace duplex::meta {

namespace {

// The words of a page that exist in memory; fewer than a page's worth for the last one.
uint64_t words_of_page(uint64_t page, uint64_t bits) {
    ensure(page < bitmap_pages(bits));
    return std::min(words_per_bitmap_page, bitmap_words(bits) - page * words_per_bitmap_page);
}

}  // namespace

void load_bitmap_page(ConstBitmapPage bytes, uint64_t page, std::span<uint64_t> words, uint64_t bits) {
    ensure(words.size() == bitmap_words(bits));
    const uint64_t count = words_of_page(page, bits);
    // Little-endian words on a little-endian machine: the bytes are the words.
    std::memcpy(words.data() + page * words_per_bitmap_page, bytes.data(), count * 8);
    if (page + 1 == bitmap_pages(bits)) mask_surplus_bits(words, bits);
}

void store_bitmap_page(std::span<const uint64_t> words, uint64_t page, uint64_t bits, BitmapPage bytes) {
    ensure(words.size() == bitmap_words(bits));
    const uint64_t count = words_of_page(page, bits);
    std::memcpy(bytes.data(), words.data() + page * words_per_bitmap_page, count * 8);
    std::memset(bytes.data() + count * 8, 0, bitmap_page_bytes - count * 8);
}

void mask_surplus_bits(std::span<uint64_t> words, uint64_t bits) {
    ensure(words.size() == bitmap_words(bits));
    // A multiple of 64 has no surplus; masking then would forget the last word (meta data 17, D6).
    if (bits % 64 != 0) words.back() &= (uint64_t{1} << (bits % 64)) - 1;
}

uint64_t count_bits(std::span<const uint64_t> words) {
    uint64_t count = 0;
    for (uint64_t word : words) count += static_cast<uint64_t>(std::popcount(word));
    return count;
}

std::optional<uint64_t> mark_al_extent(std::span<uint8_t> bitmap_bytes_on_disk, AlExtent extent) {
    const uint64_t first = extent.value * bitmap_bytes_per_al_extent;
    if (first >= bitmap_bytes_on_disk.size()) return std::nullopt;
    const auto part = bitmap_bytes_on_disk.subspan(
        first, std::min(bitmap_bytes_per_al_extent, bitmap_bytes_on_disk.size() - first));
    uint64_t newly_set = 0;
    for (uint8_t& byte : part) {
        newly_set += 8 - static_cast<uint64_t>(std::popcount(byte));
        byte = 0xFF;
    }
    return newly_set;
}

}  // namespace duplex::meta
