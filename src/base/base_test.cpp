#include <vector>

#include <gtest/gtest.h>

#include "base/byte_order.hpp"
#include "base/crc32c.hpp"
#include "base/list.hpp"
#include "base/pool.hpp"
#include "base/random.hpp"
#include "base/result.hpp"
#include "base/units.hpp"

namespace duplex {
namespace {

struct Queued;
struct Sorted;
struct Item : ListNode<Queued>, ListNode<Sorted> {
    int value = 0;
};

TEST(List, ElementLivesInTwoLists) {
    Item a, b, c;
    List<Item, Queued> queued;
    List<Item, Sorted> sorted;
    queued.push_back(a);
    queued.push_back(b);
    queued.push_front(c);
    sorted.push_back(b);
    EXPECT_EQ(queued.size(), 3u);
    EXPECT_EQ(&queued.front(), &c);
    queued.remove(a);
    EXPECT_EQ(&queued.back(), &b);
    EXPECT_EQ(&queued.pop_front(), &c);
    EXPECT_EQ(&queued.pop_front(), &b);
    EXPECT_TRUE(queued.empty());
    EXPECT_EQ(&sorted.pop_front(), &b);
}

TEST(Pool, HasALimitAndStableNumbers) {
    Pool<int> pool(2);
    int* a = pool.take();
    int* b = pool.take();
    EXPECT_EQ(pool.take(), nullptr);
    EXPECT_NE(a, b);
    EXPECT_EQ(pool.at(pool.index_of(b)), b);
    EXPECT_EQ(pool.at(2), nullptr);
    pool.give(a);
    EXPECT_EQ(pool.take(), a);
    pool.give(a);
    pool.give(b);
}

TEST(Random, SameSeedSameRun) {
    Random a(7), b(7), c(8);
    EXPECT_EQ(a.next(), b.next());
    EXPECT_NE(a.next(), c.next());
    for (int i = 0; i < 1000; ++i) EXPECT_LT(a.below(3), 3u);
}

TEST(ByteOrder, BigAndLittle) {
    uint8_t bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    EXPECT_EQ(load_be<uint32_t>(bytes), 0x01020304u);
    EXPECT_EQ(load_le<uint16_t>(bytes), 0x0201);
    store_be<uint64_t>(bytes, 0x1122334455667788);
    EXPECT_EQ(bytes[0], 0x11);
    EXPECT_EQ(load_be<uint64_t>(bytes), 0x1122334455667788u);
}

TEST(Units, Conversions) {
    EXPECT_EQ(bit_of(Sector(15)).value, 1u);
    EXPECT_EQ(al_extent_of(Sector(8191)).value, 0u);
    EXPECT_EQ(al_extent_of(Sector(8192)).value, 1u);
    EXPECT_EQ(bits_for(81840), 10230u);
    EXPECT_EQ(bits_for(81841), 10231u);
}

Result<int> half(int n) {
    if (n % 2 != 0) return error("{} is odd", n);
    return n / 2;
}

TEST(Result, ValueOrError) {
    EXPECT_EQ(*half(4), 2);
    EXPECT_EQ(half(3).error().text, "3 is odd");
}

TEST(Ensure, StopsTheProcess) {
    EXPECT_DEATH(ensure(1 + 1 == 3), "invariant does not hold: 1 \\+ 1 == 3");
}

}  // namespace
}  // namespace duplex
