#include "base/digest.hpp"

#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace duplex {
namespace {

std::string hex(std::span<const uint8_t> bytes) {
    std::string text;
    for (uint8_t b : bytes) text += fmt::format("{:02x}", b);
    return text;
}

std::vector<uint8_t> unhex(std::string_view text) {
    std::vector<uint8_t> bytes;
    for (size_t i = 0; i + 1 < text.size(); i += 2)
        bytes.push_back(static_cast<uint8_t>(std::stoul(std::string(text.substr(i, 2)), nullptr, 16)));
    return bytes;
}

std::string of(DigestAlgorithm algorithm, std::string_view text) {
    return hex(digest(algorithm, {reinterpret_cast<const uint8_t*>(text.data()), text.size()}).view());
}

TEST(Digest, CheckValues) {
    // crc32c of "123456789" is e3069283, stored little-endian. crc32 with init 0 and no final xor: 2dfd2d88.
    EXPECT_EQ(of(DigestAlgorithm::crc32c, "123456789"), "839206e3");
    EXPECT_EQ(of(DigestAlgorithm::crc32, "123456789"), "882dfd2d");
    EXPECT_EQ(of(DigestAlgorithm::md5, ""), "d41d8cd98f00b204e9800998ecf8427e");
    EXPECT_EQ(of(DigestAlgorithm::sha1, "abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
}

// wire protocol 18.2: md5 of 28672 zero bytes, as a running kernel sent it.
TEST(Digest, WireVector) {
    const std::vector<uint8_t> zeros(28672);
    EXPECT_EQ(hex(digest(DigestAlgorithm::md5, zeros).view()), "cf845a781c107ec1346e849c9dd1b7e8");
}

// wire protocol 18.3, recorded from running kernels.
TEST(Digest, HmacWireVectors) {
    const auto challenge = unhex(
        "8cb6a997884da28d4c441275fff5500a45ca722ca71bd3f0b974ef8512ffed19"
        "d7db3f4743be5a735e4debd122b90c9795a64013c19a607033d5025f0d40e176");
    EXPECT_EQ(hex(hmac(DigestAlgorithm::sha1, "my-secret", challenge).view()),
              "94e575bf2a87aecb1a4b622f244619b2df505ef0");
}

TEST(Digest, Names) {
    for (auto name : {"crc32", "crc32c", "md5", "sha1", "sha256", "sha384", "sha512"})
        EXPECT_EQ(name_of(digest_from_name(name).value()), name);
    EXPECT_FALSE(digest_from_name("rot13"));
}

}  // namespace
}  // namespace duplex
