#include "sim/disk.hpp"

#include <cstring>
#include <set>

#include <gtest/gtest.h>

namespace duplex::sim {
namespace {

using engine::IoKind;

struct NoTurn final : Turn {
    void turn() override {}
};

struct Io final : engine::DiskIo {
    void completed(int result) override {
        error = result;
        done = true;
    }
    int error = -1;
    bool done = false;
};

// One disk of 1 MiB, and operations that are run to their end.
class DiskTest : public testing::Test {
  protected:
    explicit DiskTest(uint64_t seed = 1) : scheduler(seed), disk(scheduler, no_turn, 2048, {}) {}

    void start(Io& io, IoKind kind, uint64_t sector, std::vector<uint8_t>& data, bool fua = false) {
        io.kind = kind;
        io.sector = Sector(sector);
        io.size_bytes = static_cast<uint32_t>(data.size());
        io.data = data.data();
        io.fua = fua;
        disk.submit(io);
    }
    int run(Io& io) {
        while (!io.done && scheduler.step()) {
        }
        return io.error;
    }
    int write(uint64_t sector, uint8_t value, size_t sectors = 1, bool fua = false) {
        Io io;
        alignas(512) static uint8_t buffer[64 * sector_bytes];
        std::memset(buffer, value, sectors * sector_bytes);
        io.kind = IoKind::write;
        io.sector = Sector(sector);
        io.size_bytes = static_cast<uint32_t>(sectors * sector_bytes);
        io.data = buffer;
        io.fua = fua;
        disk.submit(io);
        return run(io);
    }
    int flush() {
        Io io;
        io.kind = IoKind::flush;
        disk.submit(io);
        return run(io);
    }
    uint8_t now(uint64_t sector) {
        std::array<uint8_t, sector_bytes> bytes;
        disk.read_now(Sector(sector), bytes);
        return bytes[17];
    }
    void power_failure() {
        disk.drop_operations();
        disk.lose_power();
    }

    NoTurn no_turn;
    Scheduler scheduler;
    Disk disk;
};

TEST_F(DiskTest, AWriteIsVisibleWhenItCompletes) {
    EXPECT_EQ(now(5), 0);
    EXPECT_EQ(write(5, 7), 0);
    EXPECT_EQ(now(5), 7);
    EXPECT_FALSE(disk.is_durable(Sector(5), 1, UINT64_MAX));
}

TEST_F(DiskTest, WhatAFlushCoveredSurvives) {
    for (int round = 0; round < 50; ++round) {
        const auto value = static_cast<uint8_t>(1 + round);
        write(5, value, 8);
        flush();
        EXPECT_TRUE(disk.is_durable(Sector(5), 8, UINT64_MAX));
        power_failure();
        for (uint64_t s = 5; s < 13; ++s) EXPECT_EQ(now(s), value);
    }
}

TEST_F(DiskTest, AFuaWriteSurvivesAndNothingOlderComesBackOverIt) {
    for (int round = 0; round < 50; ++round) {
        write(5, 1, 4);
        write(6, 2, 2, true);
        power_failure();
        EXPECT_EQ(now(6), 2);
        EXPECT_EQ(now(7), 2);
        flush();
        EXPECT_EQ(now(6), 2);
    }
}

TEST_F(DiskTest, EveryCombinationOfLostSectorsComesUp) {
    std::set<std::string> seen;
    for (int round = 0; round < 400; ++round) {
        write(5, 0, 3);
        flush();
        write(5, 1, 3);
        power_failure();
        seen.insert({static_cast<char>('0' + now(5)), static_cast<char>('0' + now(6)),
                     static_cast<char>('0' + now(7))});
    }
    EXPECT_EQ(seen.size(), 8u) << "lost, kept and torn";
}

TEST_F(DiskTest, ALaterWriteMaySurviveAnEarlierOne) {
    bool later_only = false;
    bool earlier_only = false;
    for (int round = 0; round < 200; ++round) {
        write(5, 0);
        write(50, 0);
        flush();
        write(5, 1);
        write(50, 1);
        power_failure();
        later_only |= now(5) == 0 && now(50) == 1;
        earlier_only |= now(5) == 1 && now(50) == 0;
    }
    EXPECT_TRUE(later_only);
    EXPECT_TRUE(earlier_only);
}

TEST_F(DiskTest, AnOverwrittenSectorIsOldOrNewOrInBetween) {
    std::set<int> seen;
    for (int round = 0; round < 300; ++round) {
        write(5, 1);
        flush();
        write(5, 2);
        write(5, 3);
        power_failure();
        seen.insert(now(5));
    }
    EXPECT_EQ(seen, (std::set<int>{1, 2, 3}));
}

TEST_F(DiskTest, AWriteInFlightMayBeThereInPart) {
    std::set<int> sectors_there;
    for (int round = 0; round < 300; ++round) {
        write(0, 0, 4);
        flush();
        Io io;
        std::vector<uint8_t> data(4 * sector_bytes + sector_bytes, 9);
        uint8_t* aligned =
            data.data() + (sector_bytes - reinterpret_cast<uintptr_t>(data.data()) % sector_bytes);
        io.kind = IoKind::write;
        io.sector = Sector(0);
        io.size_bytes = 4 * sector_bytes;
        io.data = aligned;
        disk.submit(io);
        power_failure();
        EXPECT_FALSE(io.done);
        EXPECT_FALSE(io.linked());
        sectors_there.insert((now(0) == 9) + (now(1) == 9) + (now(2) == 9) + (now(3) == 9));
    }
    EXPECT_TRUE(sectors_there.contains(0));
    EXPECT_TRUE(sectors_there.contains(4));
    EXPECT_GT(sectors_there.size(), 2u);
}

TEST_F(DiskTest, AFlushDoesNotCoverAWriteThatCompletedAfterItsSubmission) {
    bool lost = false;
    for (int round = 0; round < 300 && !lost; ++round) {
        write(5, 0);
        flush();
        Io flushing;
        flushing.kind = IoKind::flush;
        disk.submit(flushing);
        write(5, 1);
        run(flushing);
        power_failure();
        lost = now(5) == 0;
    }
    EXPECT_TRUE(lost);
}

TEST_F(DiskTest, WithoutACacheNothingThatCompletedIsLost) {
    Disk careful(scheduler, no_turn, 2048, {.volatile_cache = false});
    std::array<uint8_t, sector_bytes> bytes{};
    for (int round = 1; round < 30; ++round) {
        bytes.fill(static_cast<uint8_t>(round));
        careful.write_now(Sector(3), bytes);
        careful.drop_operations();
        careful.lose_power();
        std::array<uint8_t, sector_bytes> read;
        careful.read_now(Sector(3), read);
        EXPECT_EQ(read, bytes);
    }
}

TEST_F(DiskTest, OperationsOvertakeEachOther) {
    bool overtaken = false;
    alignas(512) static uint8_t data[2][sector_bytes];
    for (int round = 0; round < 50 && !overtaken; ++round) {
        Io first;
        Io second;
        first.kind = second.kind = IoKind::write;
        first.sector = Sector(1);
        second.sector = Sector(9);
        first.size_bytes = second.size_bytes = sector_bytes;
        first.data = data[0];
        second.data = data[1];
        disk.submit(first);
        disk.submit(second);
        run(second);
        overtaken = !first.done;
        run(first);
    }
    EXPECT_TRUE(overtaken);
}

TEST_F(DiskTest, ADiscardLeavesZeroes) {
    write(5, 7, 4);
    Io io;
    io.kind = IoKind::discard;
    io.sector = Sector(6);
    io.size_bytes = 2 * sector_bytes;
    disk.submit(io);
    EXPECT_EQ(run(io), 0);
    EXPECT_EQ(now(5), 7);
    EXPECT_EQ(now(6), 0);
    EXPECT_EQ(now(7), 0);
    EXPECT_EQ(now(8), 7);
}

TEST_F(DiskTest, ABrokenStretchFailsAndTheRestWorks) {
    disk.broken = {.first = 100, .end = 200, .percent = 100};
    EXPECT_EQ(write(150, 1), EIO);
    EXPECT_EQ(write(99, 1), 0);
    EXPECT_EQ(write(98, 1, 4), EIO);
    disk.broken = {};
    EXPECT_EQ(write(150, 1), 0);
}

}  // namespace
}  // namespace duplex::sim
