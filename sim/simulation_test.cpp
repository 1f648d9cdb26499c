#include "sim/simulation.hpp"

#include <gtest/gtest.h>

namespace duplex::sim {
namespace {

TEST(Simulation, TheSameSeedGivesTheSameRun) {
    for (const uint64_t seed : {3u, 4u, 6u}) {
        Simulation once(seed);
        Simulation again(seed);
        EXPECT_TRUE(once.run()) << once.failure();
        EXPECT_TRUE(again.run()) << again.failure();
        EXPECT_EQ(once.digest(), again.digest());
        EXPECT_EQ(once.events(), again.events());
    }
}

TEST(Simulation, DifferentSeedsGiveDifferentRuns) {
    Simulation one(3);
    Simulation other(4);
    one.run();
    other.run();
    EXPECT_NE(one.digest(), other.digest());
}

// ---- the oracle itself

struct NoTurn final : Turn {
    void turn() override {}
};

class OracleTest : public testing::Test {
  protected:
    OracleTest()
        : scheduler(1),
          journal(scheduler),
          disks{std::make_unique<Disk>(scheduler, no_turn, 2048, DiskModel{}),
                std::make_unique<Disk>(scheduler, no_turn, 2048, DiskModel{})},
          oracle(verdict, journal, {disks[0].get(), disks[1].get()}) {
        oracle.found(0);
    }

    WriteId issue(unsigned node) { return oracle.issue(node, engine::Op::write, Sector(8), 1, true, 0); }
    void put(unsigned disk, WriteId id) {
        std::array<uint8_t, sector_bytes> bytes;
        Oracle::fill(oracle.write(id).tag, 8, bytes);
        disks[disk]->write_now(Sector(8), bytes);
    }
    static Oracle::Completion contact(unsigned node) {
        Oracle::Completion c{};
        c.node = node;
        c.own_disk_good = c.own_disk_usable = c.peer_disk_usable = c.connected = c.in_contact = true;
        return c;
    }
    static Oracle::Completion alone(unsigned node) {
        Oracle::Completion c{};
        c.node = node;
        c.own_disk_good = c.own_disk_usable = true;
        return c;
    }
    void read(unsigned node, WriteId id) {
        std::array<uint8_t, sector_bytes> bytes;
        Oracle::fill(oracle.write(id).tag, 8, bytes);
        oracle.finish_read(node, oracle.start_read(node, Sector(8), 1), bytes, true, true);
    }

    NoTurn no_turn;
    Scheduler scheduler;
    Verdict verdict;
    Journal journal;
    std::array<std::unique_ptr<Disk>, 2> disks;
    Oracle oracle;
};

TEST_F(OracleTest, AReadMayNotReturnWhatWasOverwritten) {
    const WriteId old_write = issue(0);
    put(0, old_write), put(1, old_write);
    oracle.completed(old_write, contact(0));
    const WriteId new_write = issue(0);
    put(0, new_write), put(1, new_write);
    read(0, old_write);
    EXPECT_FALSE(verdict.failed()) << "still under way: " << verdict.text();
    oracle.completed(new_write, contact(0));
    read(0, new_write);
    EXPECT_FALSE(verdict.failed()) << verdict.text();
    read(0, old_write);
    EXPECT_TRUE(verdict.failed());
}

// The disks may differ in it for a while, and a read may come from either.
TEST_F(OracleTest, AFailedWriteMayBeSeenWhileADiskHasIt) {
    const WriteId old_write = issue(0);
    put(0, old_write), put(1, old_write);
    oracle.completed(old_write, contact(0));
    const WriteId failed = issue(0);
    put(1, failed);
    oracle.failed(failed);
    read(0, old_write);
    read(0, failed);
    EXPECT_FALSE(verdict.failed()) << verdict.text();
    oracle.in_sync(0, {0, 0}, false);
    EXPECT_TRUE(verdict.failed()) << "but not for ever";
}

TEST_F(OracleTest, AFailedWriteThatNoDiskHasDoesNotComeBack) {
    const WriteId old_write = issue(0);
    put(0, old_write), put(1, old_write);
    oracle.completed(old_write, contact(0));
    const WriteId failed = issue(0);
    oracle.failed(failed);
    read(0, old_write);
    read(0, failed);
    EXPECT_TRUE(verdict.failed());
}

// Of two that overlap in time the peer may have the one, and what is read here be the other.
TEST_F(OracleTest, AWriteBesideAnotherMayBeMissingOnAPeerOutOfReach) {
    for (const bool in_contact : {false, true}) {
        const WriteId one = issue(0);
        put(0, one), put(1, one);
        const WriteId other = issue(0);
        oracle.completed(one, alone(0));
        put(0, other);
        oracle.completed(other, in_contact ? contact(0) : alone(0));
        read(0, other);
        oracle.promoted_alone(1);
        EXPECT_EQ(verdict.failed(), in_contact) << verdict.text();
        oracle.attached(1);
        oracle.follow_other(1);
    }
}

// It goes to the peer, too, which writes its own first.
TEST_F(OracleTest, AWriteWithoutAGoodDiskMayBeSuperseded) {
    const WriteId old_write = issue(1);
    put(1, old_write);
    oracle.completed(old_write, alone(1));
    const WriteId superseded = oracle.issue(0, engine::Op::write, Sector(8), 1, false, 0);
    const WriteId its_successor = issue(1);
    Oracle::Completion diskless{};
    diskless.connected = true;
    oracle.completed(superseded, diskless);
    oracle.flushed(0, oracle.now());
    EXPECT_FALSE(verdict.failed()) << verdict.text();
    put(1, its_successor);
    oracle.completed(its_successor, alone(1));
    oracle.flushed(0, oracle.now());
    EXPECT_FALSE(verdict.failed()) << verdict.text();
}

TEST_F(OracleTest, ACompletedWriteIsOnBothDisks) {
    const WriteId write = issue(0);
    put(0, write);
    oracle.completed(write, contact(0));
    EXPECT_TRUE(verdict.failed());
}

TEST_F(OracleTest, AloneTheOwnDiskIsEnoughAndThePeerMayNotBecomeTheSource) {
    const WriteId write = issue(0);
    put(0, write);
    oracle.completed(write, alone(0));
    EXPECT_FALSE(verdict.failed()) << verdict.text();
    oracle.resync_started(1, 0);
    EXPECT_TRUE(verdict.failed());
}

TEST_F(OracleTest, ThePeerMayBecomeTheSourceOnceItHasWhatWasSentAgain) {
    const WriteId write = issue(0);
    put(0, write);
    oracle.completed(write, alone(0));
    put(1, write);
    oracle.resync_started(1, 0);
    EXPECT_FALSE(verdict.failed()) << verdict.text();
}

TEST_F(OracleTest, AWriteUnderWayBelongsToTheHistoryOfAPromotion) {
    oracle.promoted_alone(1);
    oracle.follow_other(0);
    const WriteId write = issue(0);
    oracle.promoted_alone(0);
    put(0, write);
    oracle.completed(write, alone(0));
    EXPECT_FALSE(verdict.failed()) << verdict.text();
}

TEST_F(OracleTest, AnAsynchronousWriteBesideAnotherMayArriveAfterTheResync) {
    const WriteId one = issue(0);
    const WriteId other = issue(0);
    put(0, one), put(1, one);
    Oracle::Completion c = contact(0);
    c.asynchronous = true;
    oracle.completed(one, c);
    put(0, other);
    oracle.completed(other, c);
    oracle.in_sync(0, {0, 0}, true);
    EXPECT_FALSE(verdict.failed()) << verdict.text();
    oracle.in_sync(0, {1, 1}, true);
    EXPECT_TRUE(verdict.failed()) << "the connection it was under way on is gone";
}

TEST_F(OracleTest, TheAdministratorMayGiveWritesUp) {
    const WriteId write = issue(0);
    put(0, write);
    oracle.completed(write, alone(0));
    oracle.discard_ordered(0);
    oracle.resync_started(1, 0);
    EXPECT_FALSE(verdict.failed()) << verdict.text();
}

TEST_F(OracleTest, AStalePromotionIsAHistoryOfItsOwn) {
    const WriteId write = issue(0);
    put(0, write);
    oracle.completed(write, alone(0));
    oracle.promoted_alone(1);
    EXPECT_FALSE(verdict.failed()) << verdict.text();
    read(1, 0);
    EXPECT_FALSE(verdict.failed()) << verdict.text();
    read(0, 0);
    EXPECT_TRUE(verdict.failed()) << "node 0 has promised the write";
}

TEST_F(OracleTest, AWriteBothHadMayNotBeMissingAtAPromotion) {
    const WriteId write = issue(0);
    put(0, write), put(1, write);
    oracle.completed(write, contact(0));
    std::array<uint8_t, sector_bytes> zeroes{};
    disks[1]->write_now(Sector(8), zeroes);
    oracle.promoted_alone(1);
    EXPECT_TRUE(verdict.failed());
}

TEST_F(OracleTest, WhatADiskLostWithItsPowerIsExcused) {
    const WriteId write = issue(0);
    put(0, write), put(1, write);
    oracle.completed(write, contact(0));
    const std::vector<uint64_t> before = oracle.snapshot(1);
    std::array<uint8_t, sector_bytes> zeroes{};
    disks[1]->write_now(Sector(8), zeroes);
    oracle.power_lost(1, before, false);
    oracle.promoted_alone(1);
    EXPECT_FALSE(verdict.failed()) << verdict.text();
}

// A diskless Primary without its peer, under protocol A: a read and a write wait, and the peer comes back
// without what was on its way to it.
TEST_F(OracleTest, AReadThatWaitedForADiskMaySeeWhatThatDiskHas) {
    const WriteId lost = issue(0);
    Oracle::Completion on_its_way = contact(0);
    on_its_way.own_disk_good = on_its_way.own_disk_usable = false;
    on_its_way.asynchronous = true;
    oracle.completed(lost, on_its_way);
    for (const bool waited : {true, false}) {
        PendingRead* read = waited ? oracle.start_read(0, Sector(8), 1) : nullptr;
        const WriteId next = issue(0);
        if (waited) oracle.settle(1);
        oracle.completed(next, on_its_way);
        if (!waited) read = oracle.start_read(0, Sector(8), 1);
        oracle.finish_read(0, read, std::array<uint8_t, sector_bytes>{}, true, true);
        EXPECT_EQ(verdict.failed(), !waited) << verdict.text();
    }
}

TEST_F(OracleTest, NobodyReliesOnWhatHadNotBeenFlushedWhenItsNodeDied) {
    const WriteId write = issue(0);
    put(0, write);
    oracle.completed(write, alone(0));
    oracle.node_died(0);
    oracle.resync_started(1, 0);
    EXPECT_FALSE(verdict.failed()) << verdict.text();
}

TEST_F(OracleTest, WhatADeadNodeHasSentMayArriveUntilTheConnectionIsGone) {
    for (const bool drained : {false, true}) {
        const WriteId old_write = issue(1);
        put(0, old_write), put(1, old_write);
        oracle.completed(old_write, contact(1));
        const WriteId sent = issue(1);
        oracle.node_died(1);
        if (drained) oracle.drained(0);
        read(0, old_write);
        EXPECT_FALSE(verdict.failed()) << verdict.text();
        put(0, sent);
        read(0, sent);
        EXPECT_EQ(verdict.failed(), drained) << verdict.text();
    }
}

TEST_F(OracleTest, WhatALostNodeHasSentMayArriveUntilTheConnectionIsGone) {
    for (const bool drained : {false, true}) {
        const WriteId sent = issue(1);
        put(1, sent);
        oracle.parted();
        Oracle::Completion later = alone(1);
        later.session = 1;
        oracle.completed(sent, later);
        if (drained) oracle.drained(0);
        read(0, 0);
        read(0, sent);
        EXPECT_EQ(verdict.failed(), drained) << verdict.text();
        oracle.found(0);
    }
}

TEST_F(OracleTest, WhatWasFlushedOutlivesItsNode) {
    const WriteId write = issue(0);
    put(0, write);
    oracle.completed(write, alone(0));
    oracle.flushed(0, oracle.now());
    oracle.node_died(0);
    oracle.resync_started(1, 0);
    EXPECT_TRUE(verdict.failed());
}

TEST_F(OracleTest, AFlushMayNotHideWhatTheOnlyGoodDiskHasLost) {
    const WriteId write = issue(0);
    put(1, write);
    Oracle::Completion remote = contact(0);
    remote.own_disk_good = remote.own_disk_usable = false;
    oracle.completed(write, remote);
    const std::vector<uint64_t> before = oracle.snapshot(1);
    std::array<uint8_t, sector_bytes> zeroes{};
    disks[1]->write_now(Sector(8), zeroes);
    oracle.power_lost(1, before, true);
    EXPECT_FALSE(verdict.failed()) << verdict.text();
    oracle.flushed(0, oracle.now());
    EXPECT_TRUE(verdict.failed());
}

TEST_F(OracleTest, APowerFailureTakesWhatCameLast) {
    for (const bool first_is_lost : {false, true}) {
        const uint64_t since = oracle.now();
        const WriteId first = issue(0);
        put(0, first), put(1, first);
        oracle.completed(first, contact(0));
        const WriteId second = oracle.issue(0, engine::Op::write, Sector(9), 1, true, 0);
        for (const unsigned disk : {0u, 1u}) {
            std::array<uint8_t, sector_bytes> bytes;
            Oracle::fill(oracle.write(second).tag, 9, bytes);
            disks[disk]->write_now(Sector(9), bytes);
        }
        oracle.completed(second, contact(0));
        const std::vector<uint64_t> before = oracle.snapshot(1);
        const Oracle::Remains all = oracle.remains(1, before, since);
        EXPECT_EQ(all.first_lost, UINT64_MAX);
        EXPECT_EQ(all.last_kept, oracle.write(second).issued);
        disks[1]->write_now(Sector(first_is_lost ? 8 : 9), std::array<uint8_t, sector_bytes>{});
        const Oracle::Remains remains = oracle.remains(1, before, since);
        EXPECT_EQ(remains.first_lost < remains.last_kept, first_is_lost);
    }
}

// Under protocol A what is on its way to the disk has completed, and so has what comes after it.
TEST_F(OracleTest, APowerFailureInTheMiddleOfANewerWriteTakesNothing) {
    Oracle::Completion asynchronous = contact(0);
    asynchronous.asynchronous = true;
    const WriteId first = issue(0);
    put(0, first), put(1, first);
    oracle.completed(first, asynchronous);
    const std::vector<uint64_t> before = oracle.snapshot(1);
    const WriteId second = issue(0);
    put(0, second);
    oracle.completed(second, asynchronous);
    const WriteId third = issue(0);
    put(0, third);
    oracle.completed(third, asynchronous);
    put(1, second);
    const Oracle::Remains remains = oracle.remains(1, before, 0);
    EXPECT_EQ(remains.first_lost, UINT64_MAX);
    EXPECT_EQ(remains.last_kept, oracle.write(second).issued);
}

TEST_F(OracleTest, InSyncMeansEqual) {
    const WriteId write = issue(0);
    put(0, write);
    oracle.completed(write, alone(0));
    oracle.in_sync(0, {0, 0}, false);
    EXPECT_TRUE(verdict.failed());
}

TEST_F(OracleTest, ADamagedSectorIsNoticed) {
    const WriteId write = issue(0);
    std::array<uint8_t, sector_bytes> bytes;
    Oracle::fill(oracle.write(write).tag, 9, bytes);
    oracle.check_sector(0, 8, bytes);
    EXPECT_TRUE(verdict.failed()) << "another sector's data";
}

}  // namespace
}  // namespace duplex::sim
