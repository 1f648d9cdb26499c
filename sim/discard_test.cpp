// Discards and zero-outs that the Primary's own disk fails while the peer's does them: the request has
// succeeded, so nobody may read the old data again.
#include <algorithm>

#include <gtest/gtest.h>

#include "sim/two_nodes.hpp"

namespace duplex::sim {
namespace {

using engine::DiskState;

constexpr uint64_t first = 64;
constexpr uint32_t sectors = 64;

using Operation = int (TwoNodes::*)(unsigned side, uint64_t sector, uint32_t sectors);
constexpr Operation operations[] = {&TwoNodes::discard, &TwoNodes::write_zeroes};

void expect_zeroes(TwoNodes& nodes, unsigned side) {
    std::vector<uint8_t> data;
    ASSERT_EQ(nodes.read(side, first, sectors, data), 0);
    EXPECT_EQ(std::count(data.begin(), data.end(), 0),
              std::ptrdiff_t{sectors} * std::ptrdiff_t{sector_bytes});
}

TEST(Discard, ADiskThatRefusesItIsWrittenZeroes) {
    TwoNodes nodes(8);
    nodes.mirrored();
    ASSERT_EQ(nodes.write(0, first, sectors, 7), 0);
    nodes.node(0).data_disk().broken = {.first = 0, .end = UINT64_MAX, .percent = 100, .only_discards = true};
    ASSERT_EQ(nodes.discard(0, first, sectors), 0);
    EXPECT_EQ(nodes.state(0).disk, DiskState::up_to_date);
    EXPECT_EQ(nodes.difference(), "");
    EXPECT_TRUE(nodes.run_until([&] { return nodes.in_sync(); })) << "no bit is set for it";
    expect_zeroes(nodes, 0);
}

TEST(Discard, ADiskThatTakesNoZeroesEitherIsGivenUp) {
    for (const Operation operation : operations) {
        TwoNodes nodes(8);
        nodes.mirrored();
        ASSERT_EQ(nodes.write(0, first, sectors, 7), 0);
        nodes.node(0).data_disk().broken = {
            .first = first, .end = first + sectors, .percent = 100, .reads = false};
        ASSERT_EQ((nodes.*operation)(0, first, sectors), 0) << "the peer has done it";
        expect_zeroes(nodes, 0);
        ASSERT_TRUE(nodes.run_until([&] { return nodes.state(0).disk == DiskState::diskless; }));
        nodes.node(0).data_disk().broken = {};
        ASSERT_TRUE(nodes.attach(0).ok());
        ASSERT_TRUE(nodes.run_until([&] { return nodes.in_sync(); }));
        EXPECT_EQ(nodes.difference(), "");
    }
}

TEST(Discard, ADiskThatStaysInSpiteOfItsErrorsIsNotReadThere) {
    for (const Operation operation : operations) {
        TwoNodes nodes(8, [](Scenario& s) { s.disk.on_io_error = config::OnIoError::pass_on; });
        nodes.mirrored();
        ASSERT_EQ(nodes.write(0, first, sectors, 7), 0);
        nodes.node(0).data_disk().broken = {
            .first = first, .end = first + sectors, .percent = 100, .reads = false};
        ASSERT_EQ((nodes.*operation)(0, first, sectors), 0) << "the peer has done it";
        EXPECT_EQ(nodes.state(0).disk, DiskState::inconsistent);
        expect_zeroes(nodes, 0);
    }
}

}  // namespace
}  // namespace duplex::sim
