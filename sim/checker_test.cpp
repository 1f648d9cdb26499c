// The checker sees what it is there to see: each of these is a lie that no sane engine tells.
#include "sim/checker.hpp"

#include <gtest/gtest.h>

#include "sim/two_nodes.hpp"

namespace duplex::sim {
namespace {

class CheckerTest : public testing::Test {
  protected:
    explicit CheckerTest(unsigned volumes = 1)
        : nodes_{64,
                 [volumes](Scenario& s) {
                     s.disk.resync_rate_kib = 400;
                     s.volumes = volumes;
                     s.resync_after = volumes > 1;
                 }},
          oracle_{verdict_,
                  nodes_.journal,
                  {&nodes_.node(0).data_disk(volumes - 1), &nodes_.node(1).data_disk(volumes - 1)},
                  volumes - 1},
          checker_{nodes_.scheduler, verdict_, nodes_.scenario, oracle_, volumes - 1} {
        checker_.watch({&nodes_.node(0), &nodes_.node(1)});
        nodes_.mirrored();
        look();
        EXPECT_FALSE(verdict_.failed()) << verdict_.text();
    }
    void look() {
        for (const unsigned side : {0u, 1u}) checker_.after_run(nodes_.node(side));
    }
    void expect(std::string_view invariant) {
        look();
        EXPECT_TRUE(verdict_.text().starts_with(invariant)) << verdict_.text();
    }
    // As if the engine had written it.
    void store_flags(unsigned side, uint32_t set, uint32_t cleared) {
        const MetaData& meta_data = nodes_.node(side).meta_data();
        meta::Superblock superblock = *meta_data.superblock();
        superblock.flags = (superblock.flags | set) & ~cleared;
        std::array<uint8_t, meta::superblock_bytes> block;
        meta::encode(superblock, meta::SuperblockBytes(block));
        nodes_.node(side).meta_disk().write_now(meta_data.layout().superblock, block);
    }
    void store_uuids(unsigned side, const engine::UuidSet& set) {
        const_cast<engine::Device*>(nodes_.node(side).device())->set_uuids(set);
    }
    void become_target(unsigned side) {
        nodes_.scenario.disk.resync_rate_kib = 400;
        ASSERT_TRUE(nodes_
                        .command(side, [](engine::Resource& r,
                                          engine::Done done) { r.invalidate(0, std::move(done)); })
                        .ok());
        ASSERT_TRUE(nodes_.run_until([&] {
            return nodes_.state(side).conn == engine::ConnState::sync_target &&
                   nodes_.state(1 - side).conn == engine::ConnState::sync_source;
        }));
        nodes_.run_for(100);
        ASSERT_EQ(nodes_.state(side).conn, engine::ConnState::sync_target);
        look();
        ASSERT_FALSE(verdict_.failed()) << verdict_.text();
    }

    // What no volume does by itself.
    void change(unsigned side, unsigned volume, const std::function<void(engine::State&)>& to) {
        auto* device = const_cast<engine::Device*>(nodes_.node(side).device(volume));
        engine::State wanted = device->state();
        to(wanted);
        ASSERT_TRUE(wire::is_success(device->change_state(wanted, engine::ChangeKind::fact)));
    }

    TwoNodes nodes_;
    Verdict verdict_;
    Oracle oracle_;
    Checker checker_;
};

// The second of two, which is to be resynced after the first.
class CheckerOfASecondVolumeTest : public CheckerTest {
  protected:
    CheckerOfASecondVolumeTest() : CheckerTest(2) {}
};

TEST_F(CheckerOfASecondVolumeTest, AVolumeThatDoesNotFollowItsConnection) {
    nodes_.cable().cut();
    ASSERT_TRUE(nodes_.run_until([this] {
        return nodes_.state(0, 0).conn == engine::ConnState::wf_connection &&
               nodes_.state(0, 1).conn == engine::ConnState::wf_connection;
    }));
    look();
    EXPECT_FALSE(verdict_.failed()) << verdict_.text();
    change(0, 1, [](engine::State& s) { s.conn = engine::ConnState::wf_report_params; });
    expect("I5");
}

TEST_F(CheckerOfASecondVolumeTest, AResyncBesideTheOneThatIsToComeFirst) {
    const auto invalidate = [](unsigned volume) {
        return [volume](engine::Resource& r, engine::Done done) { r.invalidate(volume, std::move(done)); };
    };
    ASSERT_TRUE(nodes_.command(1, invalidate(0)).ok());
    ASSERT_TRUE(nodes_.command(1, invalidate(1)).ok());
    ASSERT_TRUE(
        nodes_.run_until([this] { return nodes_.state(1, 1).conn == engine::ConnState::paused_sync_t; }));
    nodes_.run_for(100);
    ASSERT_EQ(nodes_.state(1, 0).conn, engine::ConnState::sync_target);
    look();
    EXPECT_FALSE(verdict_.failed()) << verdict_.text();
    change(1, 1, [](engine::State& s) { s.aftr_isp = s.peer_isp = false; });
    ASSERT_EQ(nodes_.state(1, 1).conn, engine::ConnState::sync_target);
    expect("I46");
}

TEST_F(CheckerTest, APeerThatIsTakenForAPrimary) {
    ASSERT_TRUE(nodes_.secondary(0).ok());
    nodes_.run_for(100);
    checker_.final_check();
    EXPECT_FALSE(verdict_.failed()) << verdict_.text();
    change(1, 0, [](engine::State& s) { s.peer = engine::Role::primary; });
    checker_.final_check();
    EXPECT_TRUE(verdict_.text().starts_with("I7")) << verdict_.text();
}

TEST_F(CheckerTest, ASyncTargetThatIsConsistentOnStableStorage) {
    become_target(1);
    store_flags(1, meta::flag::consistent, 0);
    expect("I14");
}

TEST_F(CheckerTest, AnOutdatedDiskThatIsUpToDateWithoutThePeer) {
    ASSERT_TRUE(nodes_.disconnect(1).ok());
    nodes_.run_for(100);
    store_flags(1, meta::flag::consistent, meta::flag::was_up_to_date);
    look();
    store_flags(1, meta::flag::was_up_to_date, 0);
    expect("I15");
}

// A forced promotion that the checker did not see.
TEST_F(CheckerTest, AnOutdatedDiskThatIsUpToDateBeforeASecondaryWithoutADisk) {
    const auto run = [this](unsigned side, const TwoNodes::Command& command) {
        ASSERT_TRUE(nodes_.command(side, command).ok());
    };
    ASSERT_TRUE(nodes_.secondary(0).ok());
    run(0, [](engine::Resource& r, engine::Done d) { r.detach(0, false, std::move(d)); });
    run(1, [](engine::Resource& r, engine::Done d) { r.outdate(0, std::move(d)); });
    look();
    ASSERT_FALSE(verdict_.failed()) << verdict_.text();
    run(1, [](engine::Resource& r, engine::Done d) { r.primary(0, {true}, std::move(d)); });
    ASSERT_TRUE(nodes_.secondary(1).ok());
    expect("I12");
}

TEST_F(CheckerTest, APrimaryThatStableStorageDoesNotKnow) {
    store_flags(0, 0, meta::flag::primary_ind);
    expect("I16");
}

TEST_F(CheckerTest, ASecondaryInAPrimarysGeneration) {
    ASSERT_TRUE(nodes_.secondary(0).ok());
    nodes_.run_for(100);
    engine::UuidSet set = nodes_.node(1).device()->uuids();
    set.current |= 1;
    store_uuids(1, set);
    checker_.final_check();
    EXPECT_TRUE(verdict_.text().starts_with("I32")) << verdict_.text();
}

// What it reads meanwhile may be a write that nobody else has; it is not settled by being seen.
TEST_F(CheckerTest, ADeadPeersDiskIsNoGoodDataToASyncTarget) {
    become_target(1);
    EXPECT_TRUE(checker_.has_good_data(1));
    nodes_.node(0).stop(true);
    ASSERT_EQ(nodes_.state(1).pdsk, engine::DiskState::up_to_date) << "it has not noticed yet";
    EXPECT_FALSE(checker_.has_good_data(1));
}

TEST_F(CheckerTest, ASyncTargetWithABitmapGeneration) {
    become_target(1);
    engine::UuidSet set = nodes_.node(1).device()->uuids();
    set.bitmap = 0x1234567890abcdef;
    store_uuids(1, set);
    expect("I36");
}

TEST_F(CheckerTest, ASyncTargetOfAnotherGeneration) {
    become_target(1);
    engine::UuidSet set = nodes_.node(1).device()->uuids();
    set.current += 0x100;
    store_uuids(1, set);
    expect("I36");
}

TEST_F(CheckerTest, AheadAgainWithoutCongestion) {
    nodes_.scenario.net.congestion_fill_sectors = 64;
    nodes_.scenario.net.congestion_extents = 67;
    const auto become = [&](engine::ConnState conn) {
        auto* device = const_cast<engine::Device*>(nodes_.node(0).device());
        engine::State wanted = device->state();
        wanted.conn = conn;
        wanted.pdsk = engine::DiskState::inconsistent;
        ASSERT_TRUE(wire::is_success(device->change_state(wanted, engine::ChangeKind::wish)));
        checker_.after_run(nodes_.node(0));
    };
    const auto write = [&](uint32_t sectors) {
        return oracle_.issue(0, engine::Op::write, Sector(8), sectors, true, 0);
    };
    become(engine::ConnState::ahead);
    const WriteId waiting = write(24);
    become(engine::ConnState::sync_source);
    const WriteId later = write(40);
    become(engine::ConnState::ahead);
    EXPECT_FALSE(verdict_.failed()) << verdict_.text();
    oracle_.failed(waiting);
    become(engine::ConnState::sync_source);
    oracle_.failed(later);
    write(23);
    become(engine::ConnState::ahead);
    EXPECT_TRUE(verdict_.text().starts_with("node 0: pulls ahead again")) << verdict_.text();
}

TEST_F(CheckerTest, AFlushMayTellOfLostWritesOnceAfterADiskAndThePeerWereLost) {
    const auto detach = [](engine::Resource& r, engine::Done done) { r.detach(0, false, std::move(done)); };
    EXPECT_FALSE(checker_.may_have_lost_writes(0));
    const uint64_t before = checker_.interruptions(0);
    look();
    EXPECT_EQ(checker_.interruptions(0), before);
    ASSERT_TRUE(nodes_.command(0, detach).ok());
    look();
    EXPECT_GT(checker_.interruptions(0), before);
    EXPECT_FALSE(checker_.may_have_lost_writes(0)) << "the peer has them";
    nodes_.run_for(1000);
    nodes_.cable().reset_all();
    ASSERT_TRUE(nodes_.run_until([this] { return nodes_.state(0).conn < engine::ConnState::connected; }));
    look();
    ASSERT_TRUE(nodes_.run_until([this] { return nodes_.connected(); }));
    ASSERT_TRUE(nodes_.node(0).meta_data().apply_al().ok());
    ASSERT_TRUE(nodes_.attach(0).ok());
    ASSERT_TRUE(nodes_.run_until([this] { return nodes_.in_sync(); }));
    EXPECT_TRUE(checker_.may_have_lost_writes(0));
    checker_.flush_answered(0);
    EXPECT_FALSE(checker_.may_have_lost_writes(0));
}

// Without the peer alone every write is still on the own disk.
TEST_F(CheckerTest, AFlushTellsOfNoLostWritesWhileTheOwnDiskIsGood) {
    ASSERT_TRUE(nodes_.disconnect(1).ok());
    nodes_.run_for(100);
    look();
    EXPECT_FALSE(checker_.may_have_lost_writes(0));
}

TEST_F(CheckerTest, ADeviceLargerThanItsDisk) {
    nodes_.node(1).data_disk().enlarge(4096);
    ASSERT_TRUE(nodes_.node(1).data_disk().refresh_size().ok());
    checker_.after_run(nodes_.node(0));
    EXPECT_FALSE(verdict_.failed());
    // Where the superblock is follows from the size, too.
    checker_.check_size(nodes_.node(1));
    EXPECT_TRUE(verdict_.text().starts_with("I53")) << verdict_.text();
}

}  // namespace
}  // namespace duplex::sim
