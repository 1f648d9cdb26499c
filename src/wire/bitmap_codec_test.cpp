#include "wire/bitmap_codec.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.hpp"
#include "wire/test_support.hpp"

namespace duplex::wire {
namespace {

using testing::HasSubstr;

constexpr uint64_t example_bits = 10230;  // of the device in wire protocol 11.4

struct Packet {
    Command command;
    std::vector<uint8_t> payload;
};

std::vector<Packet> send(const std::vector<uint64_t>& words, uint64_t bits, bool use_rle) {
    BitmapSender sender(bits, use_rle);
    std::vector<Packet> packets;
    std::array<uint8_t, bitmap_payload_bytes_max> out{};
    while (!sender.done()) {
        out.fill(0xee);
        const auto chunk = sender.next(words, out);
        packets.push_back({chunk.command, {out.begin(), out.begin() + chunk.length_bytes}});
    }
    return packets;
}

Status receive(BitmapReceiver& receiver, const Packet& packet, std::vector<uint64_t>& words) {
    const auto length = static_cast<uint32_t>(packet.payload.size());
    const PacketInfo info{.header = {packet.command, 2, length}, .variable_bytes = length};
    return receiver.receive(info, packet.payload, words);
}

std::vector<uint64_t> with_bits(uint64_t bits, const std::vector<std::pair<uint64_t, uint64_t>>& ranges) {
    std::vector<uint64_t> words(bitmap_words(bits));
    for (const auto& [from, to] : ranges)
        for (uint64_t bit = from; bit <= to; ++bit) words[bit / 64] |= uint64_t{1} << (bit % 64);
    return words;
}

std::string only_payload(const std::vector<uint64_t>& words) {
    const auto packets = send(words, example_bits, true);
    EXPECT_EQ(packets.size(), 1u);
    EXPECT_EQ(packets[0].command, Command::compressed_bitmap);
    return to_hex(packets[0].payload);
}

TEST(BitmapSender, WorkedExamples) {
    EXPECT_EQ(only_payload(with_bits(example_bits, {{0, 10229}})), "b27fc50600");
    EXPECT_EQ(only_payload(with_bits(example_bits, {{100, 104}, {4096, 4159}})), "52dfccf83173dfc34fa105");
    EXPECT_EQ(only_payload(with_bits(example_bits, {{10229, 10229}})), "127fc40600");
    EXPECT_EQ(only_payload(with_bits(example_bits, {{0, 2047}})), "e23fcfe6a7d803");
}

TEST(BitmapSender, PlainExample) {
    const auto packets = send(with_bits(example_bits, {{10, 10}, {30, 30}}), example_bits, false);
    ASSERT_EQ(packets.size(), 2u);
    EXPECT_EQ(packets[0].command, Command::bitmap);
    EXPECT_EQ(packets[0].payload.size(), 1280u);
    EXPECT_EQ(to_hex(std::span(packets[0].payload).first(8)), "0004004000000000");
    EXPECT_EQ(packets[1].command, Command::bitmap);
    EXPECT_TRUE(packets[1].payload.empty());
}

TEST(BitmapSender, WhatDoesNotCompressGoesPlainAndThenCompressionIsTriedAgain) {
    // The first half alternates (2 code bits for each bit), the rest is clear.
    constexpr uint64_t bits = 200000;
    std::vector<uint64_t> words(bitmap_words(bits));
    for (size_t word = 0; word < words.size() / 2; ++word) words[word] = 0x5555555555555555;
    const auto packets = send(words, bits, true);
    // 1562 alternating words: three times 510 go plain; the code of the remaining 32 and of the long run
    // behind them is shorter than the bits it covers.
    ASSERT_EQ(packets.size(), 4u);
    for (size_t i = 0; i < 3; ++i) {
        EXPECT_EQ(packets[i].command, Command::bitmap);
        EXPECT_EQ(packets[i].payload.size(), 4080u);
    }
    EXPECT_EQ(packets[3].command, Command::compressed_bitmap);
}

TEST(BitmapSender, BitsBeyondTheEndAreSentAsZero) {
    const std::vector<uint64_t> words{~uint64_t{0}, ~uint64_t{0}};
    const auto plain = send(words, 70, false);
    ASSERT_EQ(plain.size(), 2u);
    EXPECT_EQ(to_hex(plain[0].payload), "ffffffffffffffff3f00000000000000");
    const auto compressed = send(words, 70, true);
    ASSERT_EQ(compressed.size(), 1u);
    std::vector<uint64_t> received(2);
    BitmapReceiver receiver(70);
    ASSERT_TRUE(receive(receiver, compressed[0], received));
    EXPECT_EQ(received[1], 0x3fu);
}

std::vector<uint64_t> random_bitmap(Random& random, uint64_t bits) {
    std::vector<uint64_t> words(bitmap_words(bits));
    const uint64_t longest = uint64_t{1} << random.below(20);
    bool value = random.chance(50);
    for (uint64_t bit = 0; bit < bits; value = !value) {
        const uint64_t end = std::min(bits, bit + random.between(1, random.chance(80) ? longest : 4));
        for (; bit < end; ++bit)
            if (value) words[bit / 64] |= uint64_t{1} << (bit % 64);
    }
    return words;
}

uint64_t count_set(const std::vector<uint64_t>& words) {
    uint64_t count = 0;
    for (const uint64_t word : words) count += static_cast<uint64_t>(std::popcount(word));
    return count;
}

TEST(BitmapTransfer, RandomBitmapsArriveMerged) {
    Random random(11);
    for (int round = 0; round < 200; ++round) {
        const uint64_t bits = random.between(1, random.chance(30) ? 300 : 100000);
        const auto sent = random_bitmap(random, bits);
        auto merged = random_bitmap(random, bits);
        const uint64_t before = count_set(merged);
        auto expected = merged;
        for (size_t word = 0; word < expected.size(); ++word) expected[word] |= sent[word];

        BitmapReceiver receiver(bits);
        const auto packets = send(sent, bits, random.chance(80));
        for (const auto& packet : packets) {
            ASSERT_FALSE(receiver.done());
            ASSERT_LE(packet.payload.size(), bitmap_payload_bytes_max);
            const auto before_packet = merged;
            const auto received = receive(receiver, packet, merged);
            ASSERT_TRUE(received) << received.error().text;
            for (size_t word = 0; word < merged.size(); ++word)
                if (merged[word] != before_packet[word]) {
                    ASSERT_GE(word, receiver.first_word());
                    ASSERT_LT(word, receiver.end_word());
                }
        }
        EXPECT_TRUE(receiver.done());
        EXPECT_EQ(receiver.bits_received(), bits);
        EXPECT_EQ(merged, expected) << "round " << round;
        EXPECT_EQ(receiver.newly_set(), count_set(merged) - before);
    }
}

TEST(BitmapTransfer, CompressedIsNeverLongerThanPlain) {
    Random random(12);
    for (int round = 0; round < 50; ++round) {
        const uint64_t bits = random.between(1, 400000);
        const auto packets = send(random_bitmap(random, bits), bits, true);
        uint64_t sent_bytes = 0;
        for (const auto& packet : packets) sent_bytes += packet.payload.size();
        // A packet may cost its encoding byte and, going plain, up to one word that was sent before.
        EXPECT_LE(sent_bytes, bitmap_words(bits) * 8 + packets.size() * 9);
    }
}

// One packet at the start of a transfer of `bits` bits; the error's text, or "".
std::string refusal(uint64_t bits, Command command, const std::string& hex) {
    std::vector<uint64_t> words(bitmap_words(bits));
    BitmapReceiver receiver(bits);
    const auto received = receive(receiver, {command, from_hex(hex)}, words);
    return received ? "" : received.error().text;
}

TEST(BitmapReceiver, RefusesHostilePackets) {
    constexpr Command compressed = Command::compressed_bitmap;
    EXPECT_EQ(refusal(example_bits, compressed, "b27fc50600"), "");
    EXPECT_THAT(refusal(example_bits, compressed, "b37fc50600"),
                HasSubstr("P_COMPRESSED_BITMAP, volume 2: encoding byte 0xb3: code 3 is unknown"));
    EXPECT_THAT(refusal(example_bits, compressed, "b27fc50680"),
                HasSubstr("pad bits of the last byte 0x80 are not 0"));
    EXPECT_THAT(refusal(10229, compressed, "b27fc50600"),
                HasSubstr("a run of 10230 bits at bit 0 goes beyond"));
    EXPECT_THAT(refusal(10229, compressed, "327fc50600"), HasSubstr("goes beyond"));  // a run of clear bits
    EXPECT_THAT(refusal(example_bits, compressed, "02ffffffffffffffff"), HasSubstr("goes beyond"));
    EXPECT_THAT(refusal(example_bits, compressed, "82ffffffffffffffff"), HasSubstr("goes beyond"));
    EXPECT_THAT(refusal(example_bits, compressed, "b27fc506"), HasSubstr("is cut"));
    EXPECT_THAT(refusal(example_bits, compressed, "f200"), HasSubstr("is cut: 1 bits left"));
    EXPECT_THAT(refusal(example_bits, compressed, "823f"), HasSubstr("is cut: 8 bits left"));
    EXPECT_THAT(refusal(example_bits, Command::bitmap, ""),
                HasSubstr("0 bytes at word 0 of 160, must be 1280"));
    EXPECT_THAT(refusal(example_bits, Command::bitmap, std::string(2 * 1288, '0')),
                HasSubstr("must be 1280"));
    EXPECT_THAT(refusal(example_bits, Command::bitmap, std::string(2 * 1272, '0')),
                HasSubstr("must be 1280"));
}

TEST(BitmapReceiver, RefusesWhatComesAfterTheEnd) {
    std::vector<uint64_t> words(bitmap_words(example_bits));
    BitmapReceiver receiver(example_bits);
    ASSERT_TRUE(receive(receiver, {Command::compressed_bitmap, from_hex("b27fc50600")}, words));
    EXPECT_TRUE(receiver.done());
    const auto late = receive(receiver, {Command::bitmap, {}}, words);
    ASSERT_FALSE(late);
    EXPECT_THAT(late.error().text, HasSubstr("complete already"));
}

TEST(BitmapReceiver, PlainNeedsItsEmptyPacketAndNothingElse) {
    std::vector<uint64_t> words(bitmap_words(example_bits));
    BitmapReceiver receiver(example_bits);
    ASSERT_TRUE(receive(receiver, {Command::bitmap, std::vector<uint8_t>(1280, 0xff)}, words));
    EXPECT_FALSE(receiver.done());
    EXPECT_EQ(count_set(words), example_bits);  // the bits beyond the end are not taken
    EXPECT_FALSE(receive(receiver, {Command::compressed_bitmap, from_hex("6200")}, words));
    EXPECT_FALSE(receive(receiver, {Command::bitmap, std::vector<uint8_t>(8)}, words));
    ASSERT_TRUE(receive(receiver, {Command::bitmap, {}}, words));
    EXPECT_TRUE(receiver.done());
}

TEST(BitmapReceiver, RandomBytesNeverSetABitBeyondTheEnd) {
    Random random(13);
    for (int round = 0; round < 2000; ++round) {
        const uint64_t bits = random.between(1, 5000);
        std::vector<uint64_t> words(bitmap_words(bits) + 1);
        BitmapReceiver receiver(bits);
        for (int i = 0; i < 4 && !receiver.done(); ++i) {
            Packet packet{Command::compressed_bitmap, std::vector<uint8_t>(random.between(2, 40))};
            for (auto& byte : packet.payload) byte = static_cast<uint8_t>(random.next());
            packet.payload[0] = static_cast<uint8_t>((packet.payload[0] & 0xf0) | 2);
            if (!receive(receiver, packet, words)) break;
        }
        EXPECT_LE(receiver.bits_received(), bits);
        EXPECT_EQ(words.back(), 0u);
        if (bits % 64 != 0) {
            EXPECT_EQ(words[bits / 64] >> (bits % 64), 0u);
        }
    }
}

TEST(BitmapTransfer, OneBitOfALargeDevice) {
    // 1 TiB of which only the last block is set: one packet.
    constexpr uint64_t bits = uint64_t{1} << 28;
    std::vector<uint64_t> words(bitmap_words(bits));
    words.back() = uint64_t{1} << 63;
    const auto packets = send(words, bits, true);
    ASSERT_EQ(packets.size(), 1u);
    std::vector<uint64_t> received(words.size());
    BitmapReceiver receiver(bits);
    ASSERT_TRUE(receive(receiver, packets[0], received));
    EXPECT_TRUE(receiver.done());
    EXPECT_EQ(receiver.newly_set(), 1u);
    EXPECT_EQ(received, words);
}

}  // namespace
}  // namespace duplex::wire
