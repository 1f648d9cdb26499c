#include "meta/bitmap.hpp"

#include <array>
#include <bit>
#include <vector>

#include <gtest/gtest.h>

namespace duplex::meta {
namespace {

using Page = std::array<uint8_t, bitmap_page_bytes>;

TEST(Bitmap, Sizes) {
    EXPECT_EQ(bitmap_pages(0), 0U);
    EXPECT_EQ(bitmap_words(1), 1U);
    EXPECT_EQ(bitmap_words(64), 1U);
    EXPECT_EQ(bitmap_words(65), 2U);
    EXPECT_EQ(bitmap_bytes(32768), 4096U);
    EXPECT_EQ(bitmap_bytes(32769), 8192U);
    EXPECT_EQ(bitmap_bytes(262127), 32768U);
    EXPECT_EQ(bitmap_page_of(BitNr(32768)), 1U);
    EXPECT_EQ(bitmap_page_of(AlExtent(31)), 0U);
    EXPECT_EQ(bitmap_page_of(AlExtent(32)), 1U);
}

// Meta data 18.2: bits 0, 9, 31, 32, 63, 64.
TEST(Bitmap, ByteAndBitOrder) {
    Page page{1, 2, 0, 0x80, 1, 0, 0, 0x80, 1};
    std::vector<uint64_t> words(bitmap_words(bits_per_bitmap_page));
    load_bitmap_page(page, 0, words, bits_per_bitmap_page);
    EXPECT_EQ(words[0], 0x8000000180000201U);
    EXPECT_EQ(words[1], 1U);
    EXPECT_EQ(count_bits(words), 6U);
    Page back;
    back.fill(0xAA);
    store_bitmap_page(words, 0, bits_per_bitmap_page, back);
    EXPECT_EQ(back, page);
}

TEST(Bitmap, SurplusBitsAreDropped) {
    Page page;
    page.fill(0xFF);
    for (uint64_t bits : {1U, 63U, 64U, 65U, 32767U, 32768U, 32769U, 40000U}) {
        std::vector<uint64_t> words(bitmap_words(bits));
        for (uint64_t p = 0; p < bitmap_pages(bits); ++p) load_bitmap_page(page, p, words, bits);
        EXPECT_EQ(count_bits(words), bits);
        Page stored;
        stored.fill(0xAA);
        store_bitmap_page(words, bitmap_pages(bits) - 1, bits, stored);
        uint64_t in_page = 0;
        for (uint8_t byte : stored) in_page += static_cast<uint64_t>(std::popcount(byte));
        EXPECT_EQ(in_page, (bits - 1) % bits_per_bitmap_page + 1);
    }
}

TEST(Bitmap, MarkExtent) {
    std::vector<uint8_t> bytes(4096);
    bytes[128] = 0x05;
    EXPECT_EQ(mark_al_extent(bytes, AlExtent(1)), 1022U);
    EXPECT_EQ(mark_al_extent(bytes, AlExtent(1)), 0U);
    EXPECT_EQ(bytes[127], 0);
    EXPECT_EQ(bytes[128], 0xFF);
    EXPECT_EQ(bytes[255], 0xFF);
    EXPECT_EQ(bytes[256], 0);
    EXPECT_EQ(mark_al_extent(bytes, AlExtent(31)), 1024U);
    EXPECT_EQ(mark_al_extent(bytes, AlExtent(32)), std::nullopt);
    EXPECT_EQ(mark_al_extent(bytes, AlExtent(UINT32_MAX)), std::nullopt);
}

}  // namespace
}  // namespace duplex::meta
