#include "config/cpu_mask.hpp"

#include <gtest/gtest.h>

namespace duplex::config {
namespace {

TEST(CpuMask, IsHexadecimal) {
    EXPECT_EQ(*parse_cpu_mask("3"), CpuMask(0x3));
    EXPECT_EQ(*parse_cpu_mask("0f0"), CpuMask(0xf0));
    EXPECT_EQ(*parse_cpu_mask("FFFFFFFF"), CpuMask(0xffffffff));
}

TEST(CpuMask, HasGroupsOf32Bits) {
    EXPECT_EQ(*parse_cpu_mask("1,00000002"), CpuMask(0x1'0000'0002));
    EXPECT_EQ(*parse_cpu_mask("1,2"), CpuMask(0x1'0000'0002));
    EXPECT_EQ(*parse_cpu_mask("8000,0,0"), CpuMask(1) << (15 + 64));
}

TEST(CpuMask, NoneIsNoChoice) {
    EXPECT_TRUE(parse_cpu_mask("")->none());
    EXPECT_TRUE(parse_cpu_mask("0")->none());
}

TEST(CpuMask, AnythingElseIsRefused) {
    for (const char* text : {"x", "0x3", "1,", ",1", ",", "1,,2", "123456789", "-1", " 1", "1 ", "+1", "3,g"})
        EXPECT_FALSE(parse_cpu_mask(text)) << text;
    EXPECT_EQ(parse_cpu_mask("3,g").error().text,
              "cpu-mask '3,g': not hexadecimal digits, up to 8 between commas");
}

}  // namespace
}  // namespace duplex::config
