#include "engine/bitmap.hpp"

#include <gtest/gtest.h>

namespace duplex::engine {
namespace {

TEST(Bitmap, FreshBitsAreSet) {
    Bitmap bitmap;
    bitmap.resize(81840, false);
    EXPECT_EQ(bitmap.bits(), 10230u);
    EXPECT_EQ(bitmap.set_bits(), 10230u);
    bitmap.clear_all();
    EXPECT_EQ(bitmap.set_bits(), 0u);
    bitmap.resize(81840 + 16, false);
    EXPECT_EQ(bitmap.set_bits(), 2u);
    bitmap.resize(81840, false);
    EXPECT_EQ(bitmap.set_bits(), 0u);
}

TEST(Bitmap, SettingRoundsOutwards) {
    Bitmap bitmap;
    bitmap.resize(1 << 20, true);
    EXPECT_EQ(bitmap.set_out_of_sync(Sector(7), 1024), 2u);
    EXPECT_TRUE(bitmap.test(BitNr(0)));
    EXPECT_TRUE(bitmap.test(BitNr(1)));
    EXPECT_FALSE(bitmap.any_out_of_sync(Sector(16), 1 << 20));
}

TEST(Bitmap, ClearingRoundsInwardsButTheLastPartialBlockCounts) {
    Bitmap bitmap;
    bitmap.resize(8 * 100 + 3, false);
    EXPECT_EQ(bitmap.bits(), 101u);
    EXPECT_EQ(bitmap.set_in_sync(Sector(1), 15 * 512), 1u);
    EXPECT_EQ(bitmap.set_in_sync(Sector(0), 7 * 512), 0u);
    EXPECT_EQ(bitmap.set_in_sync(Sector(800), 2 * 512), 0u);
    EXPECT_EQ(bitmap.set_in_sync(Sector(800), 3 * 512), 1u);
}

TEST(Bitmap, FindsAndCounts) {
    Bitmap bitmap;
    bitmap.resize(1 << 24, true);
    bitmap.set_out_of_sync(Sector(8 * 5000), 4096 * 200);
    EXPECT_EQ(bitmap.find_next(BitNr(0))->value, 5000u);
    EXPECT_EQ(bitmap.find_next(BitNr(5100))->value, 5100u);
    EXPECT_FALSE(bitmap.find_next(BitNr(5200)));
    EXPECT_EQ(bitmap.count(BitNr(5100), BitNr(5300)), 100u);
    EXPECT_EQ(bitmap.count_in(ResyncExtent(1)), 200u);
}

TEST(Bitmap, TracksDirtyPages) {
    Bitmap bitmap;
    bitmap.resize(uint64_t{32768} * 8 * 3, true);
    ASSERT_EQ(bitmap.pages(), 3u);
    for (uint64_t page = 0; page < 3; ++page) bitmap.mark_page_clean(page);
    EXPECT_EQ(bitmap.dirty_pages(), 0u);
    bitmap.set_out_of_sync(first_sector_of(BitNr(32768)), 4096);
    EXPECT_EQ(bitmap.next_dirty_page(0), 1u);
    bitmap.mark_page_clean(1);
    bitmap.set_out_of_sync(first_sector_of(BitNr(32768)), 4096);
    EXPECT_EQ(bitmap.dirty_pages(), 0u);
}

}  // namespace
}  // namespace duplex::engine
