// What an engine may give to its disk: each of these is a request that no sane engine makes.
#include "sim/disk_checks.hpp"

#include <gtest/gtest.h>

#include "engine/requests.hpp"
#include "sim/two_nodes.hpp"

namespace duplex::sim {
namespace {

using engine::AppRequest;
using engine::ConnState;
using engine::DiskState;
using engine::IoKind;
using engine::PeerKind;
using engine::PeerRequest;

class DiskChecksTest : public testing::Test {
  protected:
    DiskChecksTest() {
        wire_.watch({&nodes_.node(0), &nodes_.node(1)});
        nodes_.cable().watch = &wire_;
        nodes_.mirrored();
    }

    void watch_disk(unsigned side) {
        nodes_.node(side).data_disk().submission_observer = [this, side](const engine::DiskIo& io) {
            checks_.before_submission(nodes_.node(side), 0, io);
        };
    }
    void give(unsigned side, engine::DiskIo& io, uint64_t sector) {
        io.sector = Sector(sector);
        io.size_bytes = 8 * sector_bytes;
        checks_.before_submission(nodes_.node(side), 0, io);
    }
    void give_peer_request(unsigned side, PeerKind kind, uint64_t sector) {
        PeerRequest request;
        std::array<uint8_t, 8 * sector_bytes> data{};
        request.kind = kind;
        request.local_io.request = &request;
        request.local_io.data = data.data();
        request.local_io.kind = IoKind::write;
        give(side, request.local_io, sector);
    }
    void give_application(unsigned side, IoKind kind, uint64_t sector, bool replicated,
                          engine::Op op = engine::Op::write) {
        AppRequest request;
        request.op = op;
        request.net_part = replicated;
        request.local_io.request = &request;
        request.local_io.kind = kind;
        give(side, request.local_io, sector);
    }
    // Of node 0, replicated, and at both disks from now on.
    void write_that_does_not_end(uint64_t sector) {
        // Its extent is in the activity log, and no barrier is left to be waited for.
        ASSERT_EQ(nodes_.write(0, sector, 8, 1), 0);
        nodes_.run_for(1000);
        for (const unsigned side : {0u, 1u}) nodes_.node(side).data_disk().hang();
        nodes_.start_write(0, sector, 8, 1);
        ASSERT_TRUE(nodes_.run_until([&] {
            return nodes_.node(0).data_disk().is_writing(Sector(sector), 8) &&
                   nodes_.node(1).data_disk().is_writing(Sector(sector), 8);
        }));
    }
    void become_target(ConnState until) {
        nodes_.start_command(
            1, [](engine::Resource& r, engine::Done done) { r.invalidate(0, std::move(done)); });
        ASSERT_TRUE(nodes_.run_until([&] { return nodes_.state(1).conn == until; }));
    }
    void expect_fine() { EXPECT_FALSE(verdict_.failed()) << verdict_.text(); }
    void expect(std::string_view text) { EXPECT_TRUE(verdict_.text().starts_with(text)) << verdict_.text(); }

    Verdict verdict_;
    WireWatch wire_{verdict_, config::Protocol::c};
    TwoNodes nodes_{8, [](Scenario& s) { s.network.latency_us_min = s.network.latency_us_max = 20'000; }};
    DiskChecks checks_{verdict_, nodes_.scenario.disk, wire_};
};

// ---- I29

TEST_F(DiskChecksTest, TwoReplicatedWritesInOnePlace) {
    write_that_does_not_end(64);
    give_application(0, IoKind::write, 72, true);
    give_application(0, IoKind::write, 56, true);
    expect_fine();
    give_application(0, IoKind::write, 71, true);
    expect(
        "I29: node 0: a replicated write of 71s +8 is given to the disk that still has a replicated write "
        "of");
}

TEST_F(DiskChecksTest, AWriteOfThePeersWhereOneOfOursIs) {
    write_that_does_not_end(64);
    give_peer_request(0, PeerKind::write, 57);
    expect("I29: node 0: a write of the peer's of 57s +8");
}

TEST_F(DiskChecksTest, TwoWritesOfThePeersInOnePlace) {
    write_that_does_not_end(64);
    give_peer_request(1, PeerKind::write, 64);
    expect("I29: node 1: a write of the peer's");
}

TEST_F(DiskChecksTest, AResyncWriteWhereThePeersIs) {
    write_that_does_not_end(64);
    give_peer_request(1, PeerKind::resync_write, 64);
    expect("I29: node 1: a resync write");
}

TEST_F(DiskChecksTest, WhatMayOverlap) {
    write_that_does_not_end(64);
    give_application(0, IoKind::write, 64, false);
    give_application(0, IoKind::read, 64, true);
    give_peer_request(0, PeerKind::resync_write, 64);
    EXPECT_EQ(checks_.overlaps(), 2u);
    nodes_.scenario.disk.disk_flushes = nodes_.scenario.disk.disk_drain = false;
    give_peer_request(1, PeerKind::write, 64);
    expect_fine();
}

// ---- I25, at the receiver

TEST_F(DiskChecksTest, AWriteOfALaterEpochAtThePeersDisk) {
    write_that_does_not_end(64);
    const auto issue = [&](WriteId id, uint64_t sector, uint8_t filling) {
        Write write;
        write.tag = filling * uint64_t{0x0101010101010101};
        write.sector = Sector(sector);
        write.size_sectors = 8;
        wire_.issued(0, id, write);
        nodes_.start_write(0, sector, 8, filling);
        nodes_.run_for(100);
    };
    watch_disk(1);
    issue(1, 128, 1);
    issue(2, 192, 2);
    ASSERT_TRUE(nodes_.node(1).data_disk().is_writing(Sector(192), 8));
    EXPECT_EQ(checks_.epochs(), 1u);
    expect_fine();
    nodes_.start_flush(0);  // ends the epoch
    nodes_.run_for(100);
    issue(3, 256, 3);
    ASSERT_FALSE(nodes_.node(1).data_disk().is_writing(Sector(256), 8));
    std::array<uint8_t, 8 * sector_bytes> data;
    data.fill(3);
    PeerRequest request;
    request.local_io.request = &request;
    request.local_io.kind = IoKind::write;
    request.local_io.data = data.data();
    give(1, request.local_io, 256);
    expect(
        "I25: node 1: a write of the peer's of 256s +8 is given to the disk that still has one of an "
        "earlier");
}

// ---- I10

TEST_F(DiskChecksTest, ARequestThatStartsWhileTheBitmapsAreExchanged) {
    become_target(ConnState::wf_sync_uuid);
    // The second half of a discard that is under way.
    give_application(1, IoKind::write_zeroes, 64, true, engine::Op::discard);
    give_peer_request(1, PeerKind::write, 64);
    expect_fine();
    give_application(1, IoKind::read, 64, false, engine::Op::read);
    expect("I10");
}

// ---- I16

class DisklessPrimaryTest : public DiskChecksTest {
  protected:
    DisklessPrimaryTest() {
        EXPECT_TRUE(nodes_
                        .command(0, [](engine::Resource& r,
                                       engine::Done done) { r.detach(0, false, std::move(done)); })
                        .ok());
        EXPECT_TRUE(nodes_.run_until([&] { return nodes_.state(1).pdsk == DiskState::diskless; }));
        watch_disk(1);
    }
};

TEST_F(DisklessPrimaryTest, ItsPeersDiskSaysPrimary) {
    ASSERT_EQ(nodes_.write(0, 64, 8, 1), 0);
    EXPECT_EQ(checks_.diskless_writes(), 1u);
    expect_fine();
}

TEST_F(DisklessPrimaryTest, ItsPeersDiskDoesNotSayPrimary) {
    nodes_.run_for(1000);
    const MetaData& meta_data = nodes_.node(1).meta_data();
    meta::Superblock superblock = *meta_data.superblock();
    ASSERT_TRUE(superblock.has(meta::flag::primary_ind));
    superblock.flags &= ~meta::flag::primary_ind;
    std::array<uint8_t, meta::superblock_bytes> block;
    meta::encode(superblock, meta::SuperblockBytes(block));
    nodes_.node(1).meta_disk().write_now(meta_data.layout().superblock, block);
    give_peer_request(1, PeerKind::write, 64);
    expect("I16: node 1: a write of a diskless Primary");
}

}  // namespace
}  // namespace duplex::sim
