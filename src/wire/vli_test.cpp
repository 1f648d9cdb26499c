#include "wire/vli.hpp"

#include <array>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.hpp"
#include "wire/test_support.hpp"

namespace duplex::wire {
namespace {

struct Row {
    uint64_t run;
    uint64_t word;
    unsigned bits;
};

// wire protocol 18.4 and 11.4
const std::vector<Row> rows{
    {1, 0x0, 2},
    {2, 0x2, 2},
    {3, 0x1, 3},
    {4, 0x5, 3},
    {5, 0x3, 5},
    {8, 0x1b, 5},
    {9, 0x7, 7},
    {16, 0x77, 7},
    {17, 0xf, 10},
    {48, 0x3ef, 10},
    {49, 0x1f, 14},
    {304, 0x3fdf, 14},
    {305, 0x3f, 21},
    {8496, 0x1fff3f, 21},
    {8497, 0x7f, 29},
    {10230, 0x6c57f, 29},
    {100, 0x0cdf, 14},
    {3991, 0xe663f, 21},
    {64, 0x03df, 14},
    {6070, 0x16853f, 21},
    {2105648, 0x1fffff7f, 29},
    {2105649, 0xbf, 42},
    {17181974832, 0x3ffffffffbf, 42},
    {17181974833, 0xff, 64},
    {(uint64_t{1} << 56) - 1 + 17181974833, 0xffffffffffffffff, 64},
};

TEST(Vli, RecordedCodeWords) {
    for (const auto& row : rows) {
        const auto code = vli_encode(row.run);
        EXPECT_EQ(code.word, row.word) << row.run;
        EXPECT_EQ(code.bits, row.bits) << row.run;
        const auto back = vli_decode(row.word, row.bits);
        ASSERT_TRUE(back) << row.run;
        EXPECT_EQ(back->run, row.run);
        EXPECT_EQ(back->bits, row.bits);
        EXPECT_FALSE(vli_decode(row.word, row.bits - 1)) << row.run;
    }
}

TEST(Vli, EveryCodeWordComesBackBehindAnyOther) {
    Random random(7);
    for (int round = 0; round < 200; ++round) {
        std::array<uint8_t, 4079> out{};
        BitWriter writer(out);
        std::vector<uint64_t> runs;
        while (true) {
            const uint64_t run = 1 + (random.next() >> (8 + random.below(56)));
            if (!writer.put(vli_encode(run))) break;
            runs.push_back(run);
        }
        writer.finish();
        BitReader reader{std::span(out).first(writer.bytes()), writer.bits()};
        for (const uint64_t run : runs) {
            const auto back = vli_decode(reader.window(), reader.remaining());
            ASSERT_TRUE(back);
            ASSERT_EQ(back->run, run);
            reader.skip(back->bits);
        }
        EXPECT_EQ(reader.remaining(), 0u);
    }
}

TEST(Vli, RecordedStream) {
    std::array<uint8_t, 16> out{};
    BitWriter writer(out);
    for (const uint64_t run : std::vector<uint64_t>{3, 5, 1, 2, 50}) ASSERT_TRUE(writer.put(vli_encode(run)));
    writer.finish();
    EXPECT_EQ(writer.bits(), 26u);
    EXPECT_EQ(to_hex(std::span(out).first(writer.bytes())), "19f80500");
}

TEST(Vli, WhatDoesNotFitIsNotWritten) {
    std::array<uint8_t, 1> out{};
    BitWriter writer(out);
    ASSERT_TRUE(writer.put(vli_encode(16)));
    EXPECT_FALSE(writer.put(vli_encode(1)));
    writer.finish();
    EXPECT_EQ(writer.bits(), 7u);
    EXPECT_EQ(out[0], 0x77);
}

}  // namespace
}  // namespace duplex::wire
