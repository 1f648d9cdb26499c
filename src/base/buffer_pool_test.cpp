#include "base/buffer_pool.hpp"

#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.hpp"

namespace duplex {
namespace {

TEST(BufferPool, SplitsAndMergesBack) {
    BufferPool pool(1 << 20);
    uint8_t* small = pool.take(512);
    EXPECT_EQ(pool.free_bytes(), (1u << 20) - 4096);
    EXPECT_EQ(pool.take(1 << 20), nullptr);
    uint8_t* half = pool.take((512 << 10) - 100);
    ASSERT_NE(half, nullptr);
    pool.give(small, 512);
    pool.give(half, (512 << 10) - 100);
    uint8_t* whole = pool.take(1 << 20);
    ASSERT_NE(whole, nullptr);
    pool.give(whole, 1 << 20);
}

TEST(BufferPool, RandomUseNeverOverlapsAndEndsWhole) {
    BufferPool pool(8 << 20);
    Random random(1);
    struct Taken {
        uint8_t* at;
        uint32_t size_bytes;
        uint8_t fill;
    };
    std::vector<Taken> taken;
    for (int i = 0; i < 20000; ++i) {
        if (random.chance(55)) {
            const auto size = static_cast<uint32_t>(random.between(1, uint64_t{1} << random.between(0, 20)));
            const auto fill = static_cast<uint8_t>(random.next());
            if (uint8_t* at = pool.take(size)) {
                EXPECT_EQ(reinterpret_cast<uintptr_t>(at) % 4096, 0u);
                std::memset(at, fill, size);
                taken.push_back({at, size, fill});
            }
        } else if (!taken.empty()) {
            const size_t i_taken = random.below(taken.size());
            Taken t = taken[i_taken];
            ASSERT_EQ(t.at[0], t.fill);
            ASSERT_EQ(t.at[t.size_bytes - 1], t.fill);
            pool.give(t.at, t.size_bytes);
            taken[i_taken] = taken.back();
            taken.pop_back();
        }
    }
    for (const Taken& t : taken) pool.give(t.at, t.size_bytes);
    EXPECT_EQ(pool.free_bytes(), pool.arena_bytes());
    for (int i = 0; i < 8; ++i) EXPECT_NE(pool.take(1 << 20), nullptr);
}

}  // namespace
}  // namespace duplex
