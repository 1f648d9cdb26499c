// The bitmap on disk: a little-endian bit stream in 4 KiB pages; bit n covers sectors [8n, 8n+8), 1 = out of
// sync (meta data 10). In memory it is an array of 64-bit words, bit n in word n/64; such an array has
// exactly bitmap_words(bits) words and its surplus bits (>= bits) are zero.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/units.hpp"

namespace duplex::meta {

inline constexpr uint64_t bitmap_page_bytes = 4096;
inline constexpr uint64_t words_per_bitmap_page = bitmap_page_bytes / 8;
inline constexpr uint64_t bits_per_bitmap_page = bitmap_page_bytes * 8;
inline constexpr uint64_t al_extents_per_bitmap_page = bits_per_bitmap_page / bits_per_al_extent;
inline constexpr uint64_t bitmap_bytes_per_al_extent = bits_per_al_extent / 8;

using BitmapPage = std::span<uint8_t, bitmap_page_bytes>;
using ConstBitmapPage = std::span<const uint8_t, bitmap_page_bytes>;

constexpr uint64_t bitmap_words(uint64_t bits) {
    return bits / 64 + (bits % 64 != 0);
}
// What is read and written for `bits`: whole pages.
constexpr uint64_t bitmap_pages(uint64_t bits) {
    return bits / bits_per_bitmap_page + (bits % bits_per_bitmap_page != 0);
}
constexpr uint64_t bitmap_bytes(uint64_t bits) {
    return bitmap_pages(bits) * bitmap_page_bytes;
}
constexpr uint64_t bitmap_page_of(BitNr bit) {
    return bit.value / bits_per_bitmap_page;
}
constexpr uint64_t bitmap_page_of(AlExtent extent) {
    return extent.value / al_extents_per_bitmap_page;
}

// Puts page `page` (< bitmap_pages(bits)) into its words, or makes the page from them. Surplus bits are
// dropped when loading and written as zero.
void load_bitmap_page(ConstBitmapPage bytes, uint64_t page, std::span<uint64_t> words, uint64_t bits);
void store_bitmap_page(std::span<const uint64_t> words, uint64_t page, uint64_t bits, BitmapPage bytes);

// Clears the bits >= `bits` in the last word.
void mask_surplus_bits(std::span<uint64_t> words, uint64_t bits);
uint64_t count_bits(std::span<const uint64_t> words);

// Sets the bits of a hot extent in bitmap bytes as they are on disk (meta data 8.9): bytes [128 e, 128 e +
// 128), clipped to the array. The number of bits that were not set before, nullopt if the extent lies beyond
// the array.
std::optional<uint64_t> mark_al_extent(std::span<uint8_t> bitmap_bytes_on_disk, AlExtent extent);

}  // namespace duplex::meta
