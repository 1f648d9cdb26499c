#include "control/proc_text.hpp"

#include <gtest/gtest.h>

#include "control/test_status.hpp"

namespace duplex::control {
namespace {

// The worked example of cli 26.4.
ProgressNumbers worked_example() {
    ProgressNumbers numbers;
    numbers.total_bits = 524087;
    numbers.left_bits = 261000;
    numbers.recent_bits = 225000;
    numbers.recent_s = 18;
    numbers.average_kib = 50108;
    return numbers;
}

TEST(ProcText, ProgressLinesOfTheWorkedExample) {
    EXPECT_EQ(progress_lines(worked_example()),
              "\t[=========>..........] sync'ed: 50.4% (1044000/2096348)K\n"
              "\tfinish: 0:00:20 speed: 50,000 (50,108) K/sec\n");
}

TEST(ProcText, ProgressOfLargeVerifyThatStalls) {
    ProgressNumbers numbers = worked_example();
    numbers.verify = true;
    numbers.total_bits = 4u << 20;
    numbers.left_bits = 4u << 20;
    numbers.recent_bits = 0;
    numbers.shows_wanted = true;
    numbers.wanted_kib = 1234567;
    numbers.stalled = true;
    EXPECT_EQ(progress_lines(numbers),
              "\t[>....................] verified:  0.1% (16384/16384)M\n"
              "\tfinish: 209:42:54 speed: 0 (50,108) want: 1,234,567 K/sec (stalled)\n");
}

TEST(ProcText, PerMilleAtTheEdges) {
    EXPECT_EQ(progress_per_mille(0, 0), 1000u);
    EXPECT_EQ(progress_per_mille(0, 5), 1000u);
    EXPECT_EQ(progress_per_mille(100, 101), 0u);
    EXPECT_EQ(progress_per_mille(uint64_t{1} << 33, uint64_t{1} << 32), 501u);
}

TEST(ProcText, EmptyNodeHasTwoLines) {
    EXPECT_EQ(proc_text({}), "version: 8.4.11 (api:1/proto:86-101)\nsrcversion: Duplex-0.1.0            \n");
}

TEST(ProcText, GapsInMinorsShowAsEmptyLines) {
    engine::ResourceStatus r0 = test_resource();
    engine::ResourceStatus r1 = test_resource();
    r0.volumes = {test_volume(0, 3), test_volume(1, 1)};
    r1.volumes = {engine::VolumeStatus{}};
    r1.volumes[0].minor = 12;
    const SilentMinor silent{4, "r9", false};
    EXPECT_EQ(proc_text(std::array{r0, r1}, std::span(&silent, 1)),
              "version: 8.4.11 (api:1/proto:86-101)\nsrcversion: Duplex-0.1.0            \n"
              "\n 1: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----\n"
              "    ns:0 nr:0 dw:0 dr:0 al:0 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:0\n"
              "\n 3: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----\n"
              "    ns:0 nr:0 dw:0 dr:0 al:0 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:0\n"
              " 4: cs:Unknown (process of resource r9 does not answer)\n"
              "\n12: cs:Unconfigured\n");
}

TEST(ProcText, FlagsAndWrappingCounters) {
    engine::ResourceStatus resource = test_resource();
    engine::VolumeStatus& volume = resource.volumes[0];
    volume.state.susp_fen = true;
    volume.state.aftr_isp = true;
    volume.state.peer_isp = true;
    volume.state.user_isp = true;
    volume.al_suspended = true;
    volume.counters.sent_kib = (uint64_t{1} << 32) + 7;
    volume.out_of_sync_bits = uint64_t{1} << 32;
    resource.connection.configured = false;
    volume.write_ordering = engine::WriteOrdering::none;
    EXPECT_EQ(proc_device_text(resource, volume),
              " 0: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate   sapu-s\n"
              "    ns:7 nr:0 dw:0 dr:0 al:0 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:n oos:17179869184\n");
}

TEST(ProcText, NoProgressWhilePaused) {
    engine::ResourceStatus resource = test_resource();
    engine::VolumeStatus& volume = resource.volumes[0];
    volume.sync.emplace();
    volume.sync->total_bits = 1000;
    volume.sync->left_bits = 500;
    volume.state.conn = wire::ConnState::paused_sync_t;
    EXPECT_EQ(proc_device_text(resource, volume).find("finish"), std::string::npos);
    volume.state.conn = wire::ConnState::sync_target;
    volume.sync->started_ms = 1000;
    volume.sync->now_ms = 4000;
    EXPECT_NE(proc_device_text(resource, volume).find("finish"), std::string::npos);
}

// The worked example of cli 26.4 from the engine's figures.
TEST(ProcText, ProgressNumbersFromTheMark) {
    engine::SyncProgress sync;
    sync.total_bits = 524087;
    sync.left_bits = 261000;
    sync.started_ms = 5'000;
    sync.paused_ms = 2'000;
    sync.now_ms = 5'000 + 2'000 + 21'999;
    sync.mark_ms = sync.now_ms - 18'400;
    sync.mark_left_bits = 486000;
    EXPECT_EQ(progress_lines(progress_numbers(sync, wire::ConnState::sync_source)),
              "\t[=========>..........] sync'ed: 50.4% (1044000/2096348)K\n"
              "\tfinish: 0:00:20 speed: 50,000 (50,108) K/sec\n");
    sync.mark_ms = 0;
    sync.now_ms = 180'999;
    EXPECT_FALSE(progress_numbers(sync, wire::ConnState::sync_source).stalled);
    sync.now_ms = 181'000;
    EXPECT_TRUE(progress_numbers(sync, wire::ConnState::sync_source).stalled);
}

}  // namespace
}  // namespace duplex::control
