#include "meta/activity_log.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/byte_order.hpp"
#include "base/random.hpp"
#include "meta/superblock.hpp"

namespace duplex::meta {
namespace {

using Block = std::array<uint8_t, al_block_bytes>;

TEST(AlBlock, InitialisedHasKnownChecksum) {
    Block block;
    encode_initialised_al_block(block);
    EXPECT_EQ(load_be<uint32_t>(&block[0]), 0x69CB65A2U);
    EXPECT_EQ(load_be<uint32_t>(&block[8]), 0x709CC651U);  // meta data 8.2
    Result<AlTransaction> tr = decode_al_block(block);
    ASSERT_TRUE(tr.ok());
    EXPECT_EQ(tr->type, AlBlockType::initialised);
}

TEST(AlBlock, ErrorsNameMagicAndChecksum) {
    Block block;
    encode_initialised_al_block(block);
    block[4000] ^= 1;
    EXPECT_NE(decode_al_block(block).error().text.find("checksum 0x709cc651"), std::string::npos);
    block[0] = 0;
    EXPECT_NE(decode_al_block(block).error().text.find("magic 0x00cb65a2"), std::string::npos);
}

// Meta data 18.3: the fourth transaction of a node with 1237 slots.
TEST(AlWriter, TransactionOfTheWorkedExample) {
    std::vector<uint32_t> labels(1237, al_free_label);
    AlWriter writer({}, 1237);
    Block block;
    const std::vector<std::vector<AlUpdate>> transactions = {
        {{1236, 0}}, {{1235, 1}, {1234, 2}, {1233, 3}}, {{1232, 100}}, {{1231, 255}, {1230, 7}}};
    for (const auto& updates : transactions) {
        writer.build(updates, labels, block);
        writer.written();
        for (const AlUpdate& u : updates) labels[u.slot] = u.extent;
    }
    EXPECT_EQ(load_be<uint32_t>(&block[4]), 3U);
    EXPECT_EQ(load_be<uint32_t>(&block[8]), 0xFC67D1E7U);
    EXPECT_EQ(load_be<uint16_t>(&block[18]), 919U);
    EXPECT_EQ(load_be<uint32_t>(&block[0x688]), 100U);
    EXPECT_EQ(writer.number(), 4U);
    EXPECT_EQ(writer.block_index(), 4U);
}

// Meta data 8.4.
TEST(AlRing, StripedPositions) {
    const std::array<uint64_t, 9> expected = {0, 4, 8, 12, 1, 5, 9, 13, 2};
    for (uint32_t t = 0; t < expected.size(); ++t) EXPECT_EQ(al_block_of(t, {4, 4}), expected[t]) << t;
    EXPECT_EQ(al_block_of(15, {4, 4}), 15U);
    EXPECT_EQ(al_block_of(16, {4, 4}), 0U);
    EXPECT_EQ(al_block_of(0xFFFFFFFF, {1, 8}), 7U);
    for (AlStriping s : {AlStriping{3, 3}, AlStriping{1, 8}, AlStriping{5, 2}}) {
        std::set<uint64_t> all;
        for (uint32_t t = 0; t < s.blocks(); ++t) all.insert(al_block_of(t, s));
        EXPECT_EQ(all.size(), s.blocks());
    }
    const Layout layout = compute_layout(MetaIndex::internal(), 131072, {}).value();
    EXPECT_EQ(al_sector_of(1, layout).value, 131064U - 64 + 8);
}

TEST(AlRing, LimitsOfAlExtents) {
    EXPECT_EQ(max_al_extents({1, 8}), 6433U);
    EXPECT_EQ(max_al_extents({1, 72}), 65249U);
    EXPECT_EQ(max_al_extents({1, 73}), 65534U);
    EXPECT_EQ(clamp_al_extents(1, {}), 67U);
    EXPECT_EQ(clamp_al_extents(65534, {}), 6433U);
    EXPECT_EQ(clamp_al_extents(1237, {}), 1237U);
}

std::vector<uint8_t> initialised_area(AlStriping striping) {
    std::vector<uint8_t> area(striping.blocks() * al_block_bytes);
    for (size_t at = 0; at < area.size(); at += al_block_bytes)
        encode_initialised_al_block(std::span(area).subspan(at).first<al_block_bytes>());
    return area;
}

void spoil(std::vector<uint8_t>& area, AlStriping striping, uint32_t position) {
    area[al_block_of(position, striping) * al_block_bytes + 2048] ^= 0x55;
}

// Meta data 8.7, steps 2 and 3.
TEST(AlReplay, RingsWithoutUpdates) {
    auto area = initialised_area({});
    EXPECT_EQ(replay_al(area, {}).outcome, AlReplayOutcome::clean);
    spoil(area, {}, 0);
    EXPECT_EQ(replay_al(area, {}).outcome, AlReplayOutcome::clean);
    spoil(area, {}, 3);
    EXPECT_EQ(replay_al(area, {}).outcome, AlReplayOutcome::invalid);
    spoil(area, {}, 0);  // only block 3 is bad now
    EXPECT_EQ(replay_al(area, {}).outcome, AlReplayOutcome::invalid);
    EXPECT_EQ(replay_al(area, {}).valid_blocks, 7U);
    std::ranges::fill(area, uint8_t{0});
    EXPECT_EQ(replay_al(area, {}).outcome, AlReplayOutcome::no_data);
}

// A node that activates random extents, with the least recently activated slot recycled.
class Node {
  public:
    Node(AlStriping striping, uint32_t nr_slots, uint32_t first_number, uint64_t seed)
        : writer_(striping, nr_slots, first_number),
          labels_(nr_slots, al_free_label),
          random_(seed),
          area_(initialised_area(striping)) {}

    void transaction() {
        std::vector<AlUpdate> updates;
        for (uint64_t n = random_.below(std::min<uint64_t>(al_updates_max, labels_.size())) + 1; n > 0; --n) {
            updates.push_back(
                {static_cast<uint16_t>(next_slot_), static_cast<uint32_t>(random_.below(5000))});
            next_slot_ = (next_slot_ + 1) % static_cast<uint32_t>(labels_.size());
        }
        const uint64_t block = writer_.block_index();
        writer_.build(updates, labels_,
                      std::span(area_).subspan(block * al_block_bytes).first<al_block_bytes>());
        before_ = hot();
        for (const AlUpdate& u : updates) labels_[u.slot] = u.extent;
        writer_.written();
    }
    std::set<uint32_t> hot() const {
        std::set<uint32_t> set(labels_.begin(), labels_.end());
        set.erase(al_free_label);
        return set;
    }
    const std::set<uint32_t>& hot_before_last() const { return before_; }
    void tear_newest() { spoil(area_, writer_.striping(), writer_.number() - 1); }
    AlReplay replay() const { return replay_al(area_, writer_.striping()); }
    uint32_t number() const { return writer_.number(); }

  private:
    AlWriter writer_;
    std::vector<uint32_t> labels_;
    Random random_;
    std::vector<uint8_t> area_;
    std::set<uint32_t> before_;
    uint32_t next_slot_ = 0;
};

// Whatever the ring and the moment: replay gives exactly the active set, and after a torn newest block at
// least the set before it.
TEST(AlReplay, GivesTheActiveSetOfRandomNodes) {
    for (uint64_t seed = 0; seed < 60; ++seed) {
        Random random(seed);
        const std::array stripings = {AlStriping{1, 8}, AlStriping{4, 4}, AlStriping{3, 3},
                                      AlStriping{1, 73}};
        const AlStriping striping = stripings[random.below(stripings.size())];
        const auto nr_slots =
            static_cast<uint32_t>(random.between(al_extents_min, std::min(max_al_extents(striping), 3000U)));
        // Wraps of the number are only promised for rings whose size divides 2^32 (meta data 8.4).
        const bool wraps = (striping.blocks() & (striping.blocks() - 1)) == 0 && random.chance(30);
        Node node(striping, nr_slots, wraps ? 0xFFFFFFF0 : static_cast<uint32_t>(random.below(1000)), seed);
        for (uint64_t n = random.below(60) + 1; n > 0; --n) node.transaction();

        AlReplay replay = node.replay();
        ASSERT_EQ(replay.outcome, AlReplayOutcome::extents);
        EXPECT_EQ(replay.newest_number, node.number() - 1);
        const std::set<uint32_t> got(replay.hot_extents.begin(), replay.hot_extents.end());
        EXPECT_EQ(got, node.hot()) << "seed " << seed;

        node.tear_newest();
        replay = node.replay();
        const std::set<uint32_t> after_torn(replay.hot_extents.begin(), replay.hot_extents.end());
        EXPECT_TRUE(std::ranges::includes(after_torn, node.hot_before_last())) << "seed " << seed;
    }
}

TEST(AlReplay, ImpossibleSlotsAreCountedAndIgnored) {
    auto area = initialised_area({});
    std::vector<uint32_t> labels(67, al_free_label);
    AlWriter writer({}, 67);
    const std::array updates = {AlUpdate{5, 9}};
    const auto block = std::span(area).first<al_block_bytes>();
    writer.build(updates, labels, block);
    store_be<uint16_t>(&area[36 + 2], 0xFFFE);
    store_be<uint32_t>(&area[8], al_block_crc(block));
    const AlReplay replay = replay_al(area, {});
    EXPECT_EQ(replay.slots_out_of_range, 1U);
    EXPECT_EQ(replay.hot_extents, std::vector<uint32_t>{9});
}

// Images of crashed nodes; the tables are from an independent implementation that agrees with the reference
// tool.
class GoldenImage {
  public:
    explicit GoldenImage(const std::string& name) {
        directory_ =
            std::filesystem::temp_directory_path() / ("duplex-al-" + name + "-" + std::to_string(getpid()));
        std::filesystem::create_directories(directory_);
        const std::string tar = "tar -C " + directory_.string() +
                                " -xzf " DUPLEX_SOURCE_DIR "/tests/golden/metadata/" + name + ".img.tgz";
        EXPECT_EQ(std::system(tar.c_str()), 0)
            << tar;  // NOLINT(bugprone-command-processor): our own fixed words
        file_.open(directory_ / (name + ".img"), std::ios::binary);
        EXPECT_TRUE(file_.is_open());
    }
    GoldenImage(const GoldenImage&) = delete;
    GoldenImage& operator=(const GoldenImage&) = delete;
    ~GoldenImage() { std::filesystem::remove_all(directory_); }

    std::vector<uint8_t> read(Sector at, uint64_t sectors) {
        std::vector<uint8_t> bytes(sectors * sector_bytes);
        file_.seekg(static_cast<std::streamoff>(at.value * sector_bytes));
        file_.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
        EXPECT_EQ(file_.gcount(), static_cast<std::streamsize>(bytes.size()));
        return bytes;
    }

  private:
    std::filesystem::path directory_;
    std::ifstream file_;
};

struct GoldenReplay {
    const char* image;
    std::vector<uint32_t> hot;
};

class GoldenAl : public testing::TestWithParam<GoldenReplay> {};

TEST_P(GoldenAl, HotExtents) {
    constexpr uint64_t capacity_1g = 2097152;
    GoldenImage image(GetParam().image);
    const Sector at = superblock_sector(MetaIndex::internal(), capacity_1g).value();
    const auto block = image.read(at, superblock_sectors);
    Result<Superblock> sb = decode(std::span(block).first<superblock_bytes>());
    ASSERT_TRUE(sb.ok()) << sb.error().text;
    EXPECT_TRUE(check_for_tool(*sb, MetaIndex::internal(), capacity_1g).ok());
    EXPECT_EQ(check_for_attach(std::span(block).first<superblock_bytes>(), MetaIndex::internal(), capacity_1g)
                  .return_code,
              165);
    const Layout layout = layout_of(*sb, MetaIndex::internal(), at);
    const auto area = image.read(layout.al_first(), sb->al.sectors());
    const AlFormat format = al_format(area, sb->magic == magic_v08_unclean, sb->al);
    const bool is_83 = std::string_view(GetParam().image).find("al83") != std::string_view::npos;
    ASSERT_EQ(format, is_83 ? AlFormat::v83 : AlFormat::v84);
    const AlReplay replay = is_83 ? replay_al83(area, sb->al_nr_extents) : replay_al(area, sb->al);
    EXPECT_EQ(replay.outcome, AlReplayOutcome::extents);
    EXPECT_EQ(replay.hot_extents, GetParam().hot);
}

INSTANTIATE_TEST_SUITE_P(
    Images, GoldenAl,
    testing::Values(GoldenReplay{"int-1g-al83-before", {9, 17, 33}},
                    GoldenReplay{"int-1g-crashed-before", {0, 1, 2, 3, 7, 100, 255}},
                    GoldenReplay{
                        "int-1g-ringwrap-torn-before",
                        {1,   2,   11,  13,  14,  15,  22,  32,  44,  48,  52,  55,  60,  66,  83,  86,  87,
                         88,  95,  102, 105, 107, 112, 113, 116, 117, 118, 119, 130, 136, 145, 148, 151, 155,
                         157, 162, 170, 176, 177, 180, 182, 187, 189, 194, 195, 196, 199, 201, 206, 207, 211,
                         212, 213, 216, 218, 224, 228, 230, 235, 240, 241, 245, 246, 248, 249, 255}},
                    GoldenReplay{"int-1g-striped-before",
                                 {2,   3,   5,   6,   10,  11,  13,  15,  16,  17,  18,  21,  22,  23,  27,
                                  30,  31,  32,  33,  34,  39,  43,  49,  52,  53,  58,  60,  61,  62,  63,
                                  64,  66,  67,  68,  77,  79,  86,  87,  93,  94,  95,  97,  98,  101, 108,
                                  111, 113, 114, 115, 116, 118, 119, 120, 121, 122, 128, 129, 132, 134, 135,
                                  137, 138, 142, 143, 145, 146, 148, 149, 150, 152, 153, 154, 158, 160, 161,
                                  163, 164, 167, 170, 172, 173, 174, 176, 177, 179, 180, 184, 186, 187, 189,
                                  192, 193, 197, 198, 199, 202, 203, 208, 209, 211, 212, 213, 214, 215, 218,
                                  220, 222, 223, 224, 227, 233, 235, 238, 240, 242, 243, 244, 246, 247, 253}},
                    GoldenReplay{"int-1g-trwrap-before",
                                 {4,   14,  18,  25,  30,  38,  46,  54,  69,  81,  82,  84,  85,
                                  86,  88,  90,  93,  97,  106, 108, 113, 118, 120, 128, 137, 139,
                                  142, 155, 158, 159, 166, 179, 181, 184, 185, 186, 187, 190, 194,
                                  204, 208, 212, 216, 220, 227, 228, 233, 236, 238, 249, 250, 255}}));

}  // namespace
}  // namespace duplex::meta
