#include "meta/superblock.hpp"

#include <algorithm>
#include <array>

#include <gtest/gtest.h>

#include "base/byte_order.hpp"

namespace duplex::meta {
namespace {

using Block = std::array<uint8_t, superblock_bytes>;

constexpr uint64_t capacity_1g = 2097152;

Superblock used_1g() {
    Superblock sb;
    set_layout(sb, compute_layout(MetaIndex::internal(), capacity_1g, {}).value());
    sb.la_size_sectors = 2097016;
    sb.uuids = {0x8A2F01C7D4E5B961, 0x1111111111111110, 0x2222222222222222, 0x3333333333333332};
    sb.device_uuid = 0xC0FFEE0123456789;
    sb.flags = flag::consistent | flag::primary_ind | flag::was_up_to_date | flag::al_clean;
    sb.al_nr_extents = 1237;
    sb.la_peer_max_bio_size_bytes = 1 << 20;
    return sb;
}

Block encoded(const Superblock& sb) {
    Block block;
    encode(sb, block);
    return block;
}

// Meta data 18.1.
TEST(Superblock, FreshBytes) {
    Superblock sb;
    set_layout(sb, compute_layout(MetaIndex::internal(), 131072, {}).value());
    Block expected{};
    const std::array<uint8_t, 96> head = {
        0, 0, 0,    0,    0,    0,    0,    0,    0, 0, 0, 0,    0,    0,    0,    4,     //
        0, 0, 0,    0,    0,    0,    0,    0,    0, 0, 0, 0,    0,    0,    0,    0,     //
        0, 0, 0,    0,    0,    0,    0,    0,    0, 0, 0, 0,    0,    0,    0,    0,     //
        0, 0, 0,    0,    0,    0,    0,    0,    0, 0, 0, 0x80, 0x83, 0x74, 0x02, 0x6b,  //
        0, 0, 0,    0x50, 0xff, 0xff, 0xff, 0xc0, 0, 0, 1, 1,    0xff, 0xff, 0xff, 0xb8,  //
        0, 0, 0x10, 0,    0,    0,    0,    0,    0, 0, 0, 1,    0,    0,    0,    8};
    std::ranges::copy(head, expected.begin());
    EXPECT_EQ(encoded(sb), expected);
}

TEST(Superblock, DecodesWhatItEncodes) {
    Superblock sb = used_1g();
    sb.flags |= 0x80000000 | flag::al_disabled;  // unknown bits stay
    sb.magic = magic_v08_unclean;
    Result<Superblock> back = decode(encoded(sb));
    ASSERT_TRUE(back.ok());
    EXPECT_EQ(*back, sb);
    EXPECT_FALSE(back->is_clean());
}

TEST(Superblock, StripesOf83) {
    Block block = encoded(used_1g());
    store_be<uint32_t>(&block[88], 0);
    EXPECT_FALSE(decode(block).ok());
    store_be<uint32_t>(&block[92], 0);
    ASSERT_TRUE(decode(block).ok());
    EXPECT_EQ(decode(block)->al, (AlStriping{1, 8}));
}

struct BadField {
    size_t offset;
    uint32_t value;
    const char* named;
};

TEST(Superblock, ErrorsNameTheField) {
    for (const BadField& bad : {BadField{60, 0, "magic is 0x00000000"}, BadField{60, magic_v09, "v09"},
                                BadField{80, 8192, "bm_bytes_per_bit is 8192"}, BadField{88, 0, "0 stripes"},
                                BadField{92, 7, "7 4k blocks is too small"}}) {
        Block block = encoded(used_1g());
        store_be(&block[bad.offset], bad.value);
        Result<Superblock> sb = decode(block);
        ASSERT_FALSE(sb.ok()) << bad.named;
        EXPECT_NE(sb.error().text.find(bad.named), std::string::npos) << sb.error().text;
    }
    Block v07{};
    store_be(&v07[28], magic_v07);
    EXPECT_NE(decode(v07).error().text.find("v07"), std::string::npos);
}

struct AttachCase {
    const char* what;
    size_t offset;
    uint32_t value;
    uint16_t code;
};

// Meta data 5.2, one line per rule.
TEST(AttachCheck, InternalRules) {
    const std::array cases = {
        AttachCase{"as is", 60, magic_v08_clean, 101},
        AttachCase{"unclean magic", 60, magic_v08_unclean, 165},
        AttachCase{"AL_CLEAN missing", 56, 0x13, 165},
        AttachCase{"no magic", 60, 0x12345678, 119},
        AttachCase{"bytes per bit", 80, 512, 119},
        AttachCase{"one stripe field zero", 92, 0, 119},
        AttachCase{"external offsets", 68, 8, 119},
        AttachCase{"al_offset zero", 68, 0, 119},
        AttachCase{"bitmap behind activity log", 76, static_cast<uint32_t>(-56), 119},
        AttachCase{"activity log not stripes * size", 68, static_cast<uint32_t>(-72), 119},
        AttachCase{"bm_offset not aligned", 76, static_cast<uint32_t>(-127), 119},
        AttachCase{"bm_offset before the device", 76, static_cast<uint32_t>(-0x7FFFFFF8), 119},
        AttachCase{"md_size beyond the device", 64, 2097153, 119},
        AttachCase{"bitmap too small for la_size", 0, 1, 119},  // 2^32 sectors and more
    };
    for (const AttachCase& c : cases) {
        Block block = encoded(used_1g());
        store_be(&block[c.offset], c.value);
        const AttachCheck check = check_for_attach(block, MetaIndex::internal(), capacity_1g);
        EXPECT_EQ(check.return_code, c.code) << c.what << ": " << check.text;
        EXPECT_EQ(check.text.empty(), c.code == 101) << c.what;
    }
}

TEST(AttachCheck, External) {
    Superblock sb;
    set_layout(sb, compute_layout(MetaIndex::flexible(), 32768, {}).value());
    EXPECT_EQ(check_for_attach(encoded(sb), MetaIndex::flexible(), 32768).return_code, 101);
    EXPECT_EQ(check_for_attach(encoded(sb), MetaIndex::flexible(), 32767).return_code, 119);  // device shrank
    EXPECT_EQ(check_for_attach(encoded(sb), MetaIndex::flexible(), 65536).return_code, 101);  // device grew
    EXPECT_EQ(check_for_attach(encoded(sb), MetaIndex::internal(), 32768).return_code, 119);
    EXPECT_EQ(check_for_attach(encoded(sb), MetaIndex::slot(0), 262144).return_code, 119);

    set_layout(sb, compute_layout(MetaIndex::slot(1), 524288, {}).value());
    EXPECT_EQ(check_for_attach(encoded(sb), MetaIndex::slot(1), 524288).return_code, 101);
    EXPECT_EQ(check_for_attach(encoded(sb), MetaIndex::slot(1), 524287).return_code, 119);
}

// The tool wants what it would itself have written.
TEST(ToolCheck, InternalIsStrict) {
    Superblock sb = used_1g();
    EXPECT_TRUE(check_for_tool(sb, MetaIndex::internal(), capacity_1g).ok());
    EXPECT_FALSE(check_for_tool(sb, MetaIndex::internal(), capacity_1g * 2).ok());
    sb.md_size_sectors += 8;
    Status bad = check_for_tool(sb, MetaIndex::internal(), capacity_1g);
    ASSERT_FALSE(bad.ok());
    EXPECT_NE(bad.error().text.find("md_size_sect is 144, expected 136"), std::string::npos);
}

}  // namespace
}  // namespace duplex::meta
