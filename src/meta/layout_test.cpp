#include "meta/layout.hpp"

#include <gtest/gtest.h>

namespace duplex::meta {
namespace {

struct InternalCase {
    uint64_t capacity_sectors;
    uint64_t bitmap_sectors;
    uint32_t md_size_sectors;
    uint64_t usable_sectors;
};

class InternalLayout : public testing::TestWithParam<InternalCase> {};

TEST_P(InternalLayout, MatchesTable) {
    const InternalCase& c = GetParam();
    Result<Layout> layout = compute_layout(MetaIndex::internal(), c.capacity_sectors, {});
    ASSERT_TRUE(layout.ok()) << layout.error().text;
    EXPECT_EQ(layout->bitmap_room_sectors(), c.bitmap_sectors);
    EXPECT_EQ(layout->md_size_sectors, c.md_size_sectors);
    EXPECT_EQ(layout->superblock.value, c.capacity_sectors / 8 * 8 - 8);
    EXPECT_EQ(max_data_sectors(*layout, 0), c.usable_sectors);
    EXPECT_EQ(layout->area_first().value, c.usable_sectors);
    EXPECT_EQ(layout->area_first() + c.md_size_sectors, layout->superblock + 8);
}

// Meta data 4.5.
INSTANTIATE_TEST_SUITE_P(Table, InternalLayout,
                         testing::Values(InternalCase{131072, 8, 80, 130992},
                                         InternalCase{131079, 8, 80, 130992},
                                         InternalCase{1048576, 32, 104, 1048472},
                                         InternalCase{2097152, 64, 136, 2097016},
                                         InternalCase{20971520, 640, 712, 20970808},
                                         InternalCase{209715200, 6400, 6472, 209708728},
                                         InternalCase{2147483648, 65536, 65608, 2147418040},
                                         InternalCase{34359738368, 1048576, 1048648, 34358689720}));

// The other route to the same number that meta data 4.1 names.
TEST(Layout, BitmapSizeByBothRoutes) {
    for (uint64_t capacity = 1; capacity < 5'000'000; capacity += 1 + capacity % 1237) {
        const uint64_t bits64 = ((capacity + 7) / 8 + 63) / 64 * 64;
        const uint64_t bytes = (bits64 / 8 + 4095) / 4096 * 4096;
        ASSERT_EQ(internal_bitmap_sectors(capacity), bytes / 512) << capacity;
    }
}

TEST(Layout, FlexibleExternal) {
    Result<Layout> layout = compute_layout(MetaIndex::flexible(), 32768, {});
    ASSERT_TRUE(layout.ok());
    EXPECT_EQ(layout->superblock.value, 0U);
    EXPECT_EQ(layout->al_first().value, 8U);
    EXPECT_EQ(layout->bitmap_first().value, 72U);
    EXPECT_EQ(layout->md_size_sectors, 32768U);
    EXPECT_EQ(max_data_sectors(*layout, 20971520), 20971520U);
    EXPECT_EQ(max_data_sectors(*layout, uint64_t{1} << 40), (32768U - 72) * 32768ULL);
}

TEST(Layout, Indexed) {
    Result<Layout> layout = compute_layout(MetaIndex::slot(1), 524288, {});
    ASSERT_TRUE(layout.ok());
    EXPECT_EQ(layout->superblock.value, 262144U);
    EXPECT_EQ(layout->bitmap_first().value, 262144U + 72);
    EXPECT_EQ(layout->bitmap_room_sectors(), 262072U);
    EXPECT_EQ(max_data_sectors(*layout, uint64_t{1} << 40), max_data_sectors_indexed);
    EXPECT_EQ(max_data_sectors_indexed, (262144ULL - 64 - 8) * 32768);
    EXPECT_FALSE(compute_layout(MetaIndex::slot(2), 524288, {}).ok());
    EXPECT_FALSE(compute_layout(MetaIndex::slot(0), 524288, {4, 4}).ok());
}

TEST(Layout, RefusesDevicesThatAreTooSmall) {
    EXPECT_FALSE(superblock_sector(MetaIndex::internal(), 7).ok());
    EXPECT_TRUE(superblock_sector(MetaIndex::internal(), 8).ok());
    EXPECT_FALSE(compute_layout(MetaIndex::internal(), 79, {}).ok());
    EXPECT_TRUE(compute_layout(MetaIndex::internal(), 80, {}).ok());
    EXPECT_FALSE(compute_layout(MetaIndex::flexible(), 72, {}).ok());
    EXPECT_FALSE(compute_layout(MetaIndex::internal(), UINT64_MAX, {}).ok());
}

TEST(Layout, Striping) {
    EXPECT_TRUE(check_striping({1, 8}).ok());
    EXPECT_TRUE(check_striping({4, 4}).ok());
    EXPECT_FALSE(check_striping({0, 8}).ok());
    EXPECT_FALSE(check_striping({1, 7}).ok());
    EXPECT_FALSE(check_striping({4194304, 2}).ok());
    EXPECT_FALSE(check_striping({0x80000000, 0x80000000}).ok());
    Result<Layout> layout = compute_layout(MetaIndex::internal(), 2097152, {4, 4});
    ASSERT_TRUE(layout.ok());
    EXPECT_EQ(layout->al_offset_sectors, -128);
    EXPECT_EQ(layout->bm_offset_sectors, -192);
}

TEST(EffectiveSize, Rules) {
    // Alone and never attached: all of it.
    EXPECT_EQ(effective_size({.own_max_sectors = 100}).size_sectors, 100U);
    // Alone: never grows by itself, but cannot be more than the disk.
    EXPECT_EQ(effective_size({.own_max_sectors = 200, .la_size_sectors = 100}).size_sectors, 100U);
    EXPECT_EQ(effective_size({.own_max_sectors = 80, .la_size_sectors = 100}).size_sectors, 80U);
    // Resize with force does.
    EXPECT_EQ(effective_size({.own_max_sectors = 200, .la_size_sectors = 100, .forced = true}).size_sectors,
              200U);
    // Both known: the smaller one.
    EXPECT_EQ(
        effective_size(
            {.own_max_sectors = 200, .peer_max_sectors = 150, .la_size_sectors = 100, .connected = true})
            .size_sectors,
        150U);
    // Diskless here.
    EXPECT_EQ(effective_size({.peer_max_sectors = 150, .connected = true}).size_sectors, 150U);
    EXPECT_EQ(
        effective_size({.peer_max_sectors = 150, .la_size_sectors = 160, .connected = true}).size_sectors,
        150U);
    // disk-size.
    EXPECT_EQ(effective_size({.configured_sectors = 50, .own_max_sectors = 100}).size_sectors, 50U);
    const EffectiveSize too_big = effective_size({.configured_sectors = 150, .own_max_sectors = 100});
    EXPECT_EQ(too_big.size_sectors, 100U);
    EXPECT_TRUE(too_big.configured_too_big);
}

}  // namespace
}  // namespace duplex::meta
