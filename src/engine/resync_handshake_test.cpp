#include <map>
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "engine/generations.hpp"
#include "engine/rules_test_util.hpp"

namespace duplex::engine {
namespace {

using config::RrConflict;
using Policy = config::AfterSplitBrain;
using enum HandshakeDecision;
using Handler = HandshakeHandler;

constexpr UuidSet set_of(uint64_t current, uint64_t bitmap, uint64_t history1, uint64_t history2) {
    return {.current = current, .bitmap = bitmap, .history = {history1, history2}};
}

// Sets for each result of the comparison.
const UuidSet in_sync = set_of(0x110, 0, 0xaa0, 4);
const UuidSet behind = in_sync;
const UuidSet ahead = set_of(0x220, 0x110, 0xaa0, 4);
const UuidSet went_apart = set_of(0x330, 0x110, 0xaa0, 4);
const UuidSet far_ahead = set_of(0x440, 0, 0x220, 0x110);
const UuidSet ambiguous = set_of(0x550, 0x660, 0xaa0, 0x770);
const UuidSet unrelated = set_of(0x880, 0, 0x990, 0xbb0);

HandshakeInput meeting(const UuidSet& self, const UuidSet& peer) {
    HandshakeInput input;
    input.uuids.self = self;
    input.uuids.peer = peer;
    input.own_disk = input.actual_own_disk = input.peer_disk = DiskState::up_to_date;
    return input;
}

std::vector<Handler> handlers_of(const HandshakeOutcome& outcome) {
    std::vector<Handler> handlers;
    for (const HandshakeStep& step : outcome.steps)
        if (step.handler != Handler::none) handlers.push_back(step.handler);
    return handlers;
}
bool logged(const HandshakeOutcome& outcome, std::string_view text) {
    for (const HandshakeStep& step : outcome.steps)
        if (step.line.find(text) != std::string::npos) return true;
    return false;
}
using Handlers = std::vector<Handler>;

TEST(Handshake, ResultsOfTheComparison) {
    const struct {
        UuidSet self, peer;
        HandshakeDecision decision;
        bool full_sync;
        Handlers handlers;
    } rows[] = {
        {in_sync, in_sync, connected, false, {}},
        {ahead, behind, wf_bitmap_s, false, {}},
        {behind, ahead, wf_bitmap_t, false, {}},
        {far_ahead, behind, wf_bitmap_s, true, {}},
        {behind, far_ahead, wf_bitmap_t, true, {}},
        {ahead, went_apart, fail, false, {Handler::initial_split_brain, Handler::split_brain}},
        {ahead, ambiguous, fail, false, {Handler::initial_split_brain, Handler::split_brain}},
        {set_of(1 << 8, 0, 2 << 8, 3 << 8), unrelated, fail, false, {}},
    };
    for (const auto& row : rows) {
        const HandshakeOutcome got = resync_handshake(meeting(row.self, row.peer));
        EXPECT_EQ(got.decision, row.decision) << &row - rows;
        EXPECT_EQ(got.full_sync, row.full_sync) << &row - rows;
        EXPECT_EQ(handlers_of(got), row.handlers) << &row - rows;
    }
}

TEST(Handshake, NeedsWsame) {
    HandshakeInput input = meeting(in_sync, in_sync);
    input.uuids.peer_crashed_primary = true;
    input.uuids.self_primary = true;
    EXPECT_EQ(resync_handshake(input).decision, wf_bitmap_s);
    input.uuids.features = 0;
    EXPECT_EQ(resync_handshake(input).decision, fail);
    EXPECT_TRUE(logged(resync_handshake(input), "protocol 101 and feature flags 0x4"));
}

TEST(Handshake, AnInconsistentDiskBecomesTarget) {
    using enum DiskState;
    const struct {
        UuidSet self, peer;
        DiskState own_disk, peer_disk;
        HandshakeDecision decision;
        bool full_sync;
        bool initial_split_brain = false;
    } rows[] = {
        {in_sync, in_sync, up_to_date, inconsistent, wf_bitmap_s, false},
        {in_sync, in_sync, inconsistent, outdated, wf_bitmap_t, false},
        {behind, ahead, consistent, inconsistent, wf_bitmap_s, false},
        {behind, far_ahead, up_to_date, inconsistent, wf_bitmap_s, true},
        {ahead, ambiguous, inconsistent, up_to_date, wf_bitmap_t, true},
        {ahead, went_apart, inconsistent, up_to_date, wf_bitmap_t, false},
        {in_sync, in_sync, inconsistent, inconsistent, connected, false},
        {ahead, behind, outdated, up_to_date, wf_bitmap_s, false},
    };
    for (const auto& row : rows) {
        HandshakeInput input = meeting(row.self, row.peer);
        input.own_disk = input.actual_own_disk = row.own_disk;
        input.peer_disk = row.peer_disk;
        const HandshakeOutcome got = resync_handshake(input);
        EXPECT_EQ(got.decision, row.decision) << &row - rows;
        EXPECT_EQ(got.full_sync, row.full_sync) << &row - rows;
        EXPECT_TRUE(handlers_of(got).empty()) << &row - rows;
    }
}

TEST(Handshake, UnrelatedFailsWhateverTheDisks) {
    HandshakeInput input = meeting(set_of(1 << 8, 0, 2 << 8, 3 << 8), unrelated);
    input.peer_disk = DiskState::inconsistent;
    EXPECT_EQ(resync_handshake(input).decision, fail);
    EXPECT_TRUE(logged(resync_handshake(input), "Unrelated data, aborting!"));
}

TEST(Handshake, PoliciesSolveASplitBrain) {
    HandshakeInput input = meeting(ahead, went_apart);
    input.after_sb_0pri = Policy::discard_least_changes;
    input.own_changes = 2;
    input.peer_changes = 3;
    HandshakeOutcome got = resync_handshake(input);
    EXPECT_EQ(got.decision, wf_bitmap_t);
    EXPECT_FALSE(got.full_sync);
    EXPECT_EQ(handlers_of(got), Handlers{Handler::initial_split_brain});
    EXPECT_TRUE(logged(got, "Split-Brain detected, 0 primaries, automatically solved. Sync from peer node"));

    // The policy wins over discard-my-data.
    input.peer_flags = wire::Uuids::flag_discard_my_data;
    EXPECT_EQ(resync_handshake(input).decision, wf_bitmap_t);
    input.peer_flags = 0;

    // Ambiguous histories: only with always-asbp, and then a full sync.
    input.uuids.peer = ambiguous;
    EXPECT_EQ(resync_handshake(input).decision, fail);
    input.always_asbp = true;
    got = resync_handshake(input);
    EXPECT_EQ(got.decision, wf_bitmap_t);
    EXPECT_TRUE(got.full_sync);

    // The number of Primaries selects the policy.
    input.uuids.peer_primary = true;
    EXPECT_EQ(resync_handshake(input).decision, fail);
    input.after_sb_1pri = Policy::discard_secondary;
    EXPECT_EQ(resync_handshake(input).decision, wf_bitmap_t);
}

TEST(Handshake, WhoWasPrimaryFirst) {
    // Bit 0 of the bitmap UUIDs.
    HandshakeInput input = meeting(set_of(0x220, 0x111, 0xaa0, 4), went_apart);
    input.after_sb_0pri = Policy::discard_younger_primary;
    EXPECT_EQ(resync_handshake(input).decision, wf_bitmap_s);
    std::swap(input.uuids.self, input.uuids.peer);
    EXPECT_EQ(resync_handshake(input).decision, wf_bitmap_t);
}

TEST(Handshake, DiscardMyData) {
    HandshakeInput input = meeting(ahead, went_apart);
    input.own_discard_mine = true;
    HandshakeOutcome got = resync_handshake(input);
    EXPECT_EQ(got.decision, wf_bitmap_t);
    EXPECT_EQ(handlers_of(got), Handlers{Handler::initial_split_brain});
    EXPECT_TRUE(logged(got, "Split-Brain detected, manually solved. Sync from peer node"));
    input.peer_flags = wire::Uuids::flag_discard_my_data;
    EXPECT_EQ(resync_handshake(input).decision, fail) << "both discard";
    input.own_discard_mine = false;
    EXPECT_EQ(resync_handshake(input).decision, wf_bitmap_s);
    // After ambiguous histories it is still with the bitmaps.
    input.uuids.peer = ambiguous;
    EXPECT_EQ(resync_handshake(input).decision, wf_bitmap_s);
    EXPECT_FALSE(resync_handshake(input).full_sync);
    // It forces nothing where the generations decide.
    input.uuids.self = behind;
    input.uuids.peer = ahead;
    EXPECT_EQ(resync_handshake(input).decision, wf_bitmap_t);
    input.uuids.peer = in_sync;
    EXPECT_EQ(resync_handshake(input).decision, connected);
}

TEST(Handshake, NoSourceWithoutConsistentData) {
    HandshakeInput input = meeting(ahead, behind);
    input.own_disk = input.actual_own_disk = input.peer_disk = DiskState::inconsistent;
    EXPECT_EQ(resync_handshake(input).decision, fail);
    EXPECT_TRUE(logged(resync_handshake(input), "I shall become SyncSource, but I am inconsistent!"));
    std::swap(input.uuids.self, input.uuids.peer);
    EXPECT_EQ(resync_handshake(input).decision, wf_bitmap_t);
}

TEST(Handshake, RrConflict) {
    HandshakeInput input = meeting(behind, ahead);
    input.uuids.self_primary = true;
    EXPECT_EQ(resync_handshake(input).decision, fail);
    EXPECT_TRUE(handlers_of(resync_handshake(input)).empty());
    input.rr_conflict = RrConflict::call_pri_lost;
    EXPECT_EQ(resync_handshake(input).decision, fail);
    EXPECT_EQ(handlers_of(resync_handshake(input)), Handlers{Handler::pri_lost});
    input.rr_conflict = RrConflict::violently;
    EXPECT_EQ(resync_handshake(input).decision, wf_bitmap_t);
    // The state word's disk counts, not the prepared one.
    input.rr_conflict = RrConflict::disconnect;
    input.actual_own_disk = DiskState::negotiating;
    EXPECT_EQ(resync_handshake(input).decision, wf_bitmap_t);
    input.actual_own_disk = DiskState::consistent;
    EXPECT_EQ(resync_handshake(input).decision, fail);
    // A Primary may be source.
    std::swap(input.uuids.self, input.uuids.peer);
    EXPECT_EQ(resync_handshake(input).decision, wf_bitmap_s);
}

TEST(Handshake, DryRun) {
    HandshakeInput input = meeting(ahead, behind);
    input.tentative = true;
    EXPECT_EQ(resync_handshake(input).decision, fail);
    EXPECT_TRUE(logged(resync_handshake(input), "Would become SyncSource, doing a bit-map based resync."));
    input.tentative = false;
    input.peer_dry_run = true;
    input.uuids = {.self = behind, .peer = far_ahead};
    EXPECT_TRUE(logged(resync_handshake(input), "Would become SyncTarget, doing a full resync."));
    EXPECT_FALSE(resync_handshake(input).full_sync) << "nothing is written in a dry run";
    input.uuids.peer = in_sync;
    EXPECT_TRUE(logged(resync_handshake(input), "No resync, would become Connected immediately."));
}

TEST(Handshake, DemotionIsAskedForAndContinues) {
    HandshakeInput input = meeting(ahead, went_apart);
    input.uuids.self_primary = true;
    input.after_sb_0pri = Policy::discard_local;
    input.after_sb_1pri = Policy::call_pri_lost_after_sb;
    const HandshakeOutcome first = resync_handshake(input);
    EXPECT_EQ(first.decision, try_demote);
    EXPECT_EQ(handlers_of(first), Handlers{Handler::initial_split_brain});

    input.demotion = Demotion::succeeded;
    HandshakeOutcome second = resync_handshake(input);
    EXPECT_EQ(second.decision, wf_bitmap_t) << "no Primary any more, so no rr-conflict";
    EXPECT_TRUE(handlers_of(second).empty()) << "initial-split-brain has run";
    EXPECT_TRUE(logged(second, "1 primaries, automatically solved. Sync from peer node"));

    input.demotion = Demotion::failed;
    second = resync_handshake(input);
    EXPECT_EQ(second.decision, fail);
    EXPECT_EQ(handlers_of(second), (Handlers{Handler::pri_lost_after_sb, Handler::split_brain}));
    // discard-my-data is looked at after that.
    input.peer_flags = wire::Uuids::flag_discard_my_data;
    second = resync_handshake(input);
    EXPECT_EQ(second.decision, wf_bitmap_s);
    EXPECT_EQ(handlers_of(second), Handlers{Handler::pri_lost_after_sb});
}

TEST(Handshake, HandlerNames) {
    EXPECT_EQ(name_of(Handler::initial_split_brain), "initial-split-brain");
    EXPECT_EQ(name_of(Handler::split_brain), "split-brain");
    EXPECT_EQ(name_of(Handler::pri_lost), "pri-lost");
    EXPECT_EQ(name_of(Handler::pri_lost_after_sb), "pri-lost-after-sb");
}

// ---- against the kernel -----------------------------------------------------------------------------------

struct LoggedUuids {
    UuidSet set;
    uint64_t bits = 0, flags = 0;
    std::string text;  // the set as logged: the same on both nodes
};

// "self C:B:H1:H2 bits:N flags:N"
LoggedUuids parse_uuids(const std::string& line) {
    LoggedUuids got;
    unsigned long long uuid[4] = {}, bits = 0, flags = 0;
    EXPECT_EQ(sscanf(line.c_str(), "%*s %16llx:%16llx:%16llx:%16llx bits:%llu flags:%llu", &uuid[0], &uuid[1],
                     &uuid[2], &uuid[3], &bits, &flags),
              6)
        << line;
    got.set = set_of(uuid[0], uuid[1], uuid[2], uuid[3]);
    got.bits = bits;
    got.flags = flags;
    got.text = line.substr(5, line.find(" bits:") - 5);
    return got;
}

// One handshake as a node's log tells it.
struct LoggedHandshake {
    LoggedUuids self, peer;
    State before, after;
    std::vector<std::string> lines;  // of the volume, up to the change of state; handlers as ours are named
};

bool is_told_by_handshake(const std::string& text) {
    for (const char* other : {"marked out-of-sync by on disk bit-map", "exit code", "max BIO size",
                              "real peer disk state", "Implicitly upgraded", "recounting of set bits"})
        if (text.find(other) != std::string::npos) return false;
    return true;
}

std::vector<LoggedHandshake> logged_handshakes(const std::filesystem::path& log) {
    std::vector<LoggedHandshake> found;
    State now;
    bool open = false;
    for (const testing::LogLine& line : testing::read_kernel_log(log)) {
        if (line.module_loaded) now = State{};
        if (line.text == "drbd_sync_handshake:") {
            found.push_back({});
            found.back().before = now;
            open = true;
        }
        if (testing::follow_change(now, line.text)) {
            if (open) found.back().after = now;
            open = false;
        }
        if (!open || !line.of_volume || !is_told_by_handshake(line.text)) continue;
        const std::string helper = "helper command: /sbin/drbdadm ";
        std::string text = line.text;
        if (text.starts_with(helper))
            text = "handler " + text.substr(helper.size(), text.find(" minor-") - helper.size());
        if (text.starts_with("self ")) found.back().self = parse_uuids(text);
        if (text.starts_with("peer ")) found.back().peer = parse_uuids(text);
        found.back().lines.push_back(text);
    }
    return found;
}

bool is_same_meeting(const LoggedHandshake& mine, const LoggedHandshake& theirs) {
    return theirs.self.text == mine.peer.text && theirs.peer.text == mine.self.text;
}

// The other node's view of the same meeting: the same sets, for the same time.
const LoggedHandshake* counterpart(const std::vector<LoggedHandshake>& mine, size_t index,
                                   const std::vector<LoggedHandshake>& theirs) {
    size_t skip = 0;
    for (size_t i = 0; i < index; ++i)
        skip += mine[i].self.text == mine[index].self.text && mine[i].peer.text == mine[index].peer.text;
    for (const LoggedHandshake& one : theirs)
        if (is_same_meeting(mine[index], one) && skip-- == 0) return &one;
    return nullptr;
}

DiskState real_disk(DiskState disk) {
    return disk == DiskState::negotiating ? DiskState::consistent : disk;
}

HandshakeInput input_of(const LoggedHandshake& mine, const LoggedHandshake& theirs, bool solved_by_policy) {
    const bool self_crashed = (theirs.peer.flags & wire::Uuids::flag_crashed_primary) != 0;
    const DiskState disk = mine.before.disk;
    HandshakeInput input{
        .uuids = {.self = mine.self.set,
                  .peer = mine.peer.set,
                  .self_crashed_primary = self_crashed,
                  .peer_crashed_primary = (mine.peer.flags & wire::Uuids::flag_crashed_primary) != 0,
                  .self_primary = mine.before.role == Role::primary,
                  .peer_primary = theirs.before.role == Role::primary},
        .own_disk = disk == DiskState::negotiating ? DiskState::up_to_date : disk,
        .actual_own_disk = disk,
        .peer_disk = real_disk(theirs.before.disk),
        .own_discard_mine = (theirs.peer.flags & wire::Uuids::flag_discard_my_data) != 0,
        .peer_flags = mine.peer.flags,
        .own_changes = mine.self.bits,
        .peer_changes = mine.peer.bits,
        .bits_set = mine.self.bits,
    };
    if (solved_by_policy) {
        input.after_sb_0pri = Policy::discard_least_changes;
        input.after_sb_1pri = Policy::discard_secondary;
    }
    return input;
}

std::vector<std::string> lines_of(const HandshakeOutcome& outcome) {
    std::vector<std::string> lines;
    lines.reserve(outcome.steps.size());
    for (const HandshakeStep& step : outcome.steps)
        lines.push_back(step.handler == Handler::none ? step.line
                                                      : "handler " + std::string(name_of(step.handler)));
    return lines;
}

ConnState conn_after(HandshakeDecision decision) {
    if (decision == connected) return ConnState::connected;
    return decision == wf_bitmap_s ? ConnState::wf_bitmap_s : ConnState::wf_bitmap_t;
}

void expect_reproduced(const LoggedHandshake& mine, const LoggedHandshake& theirs, bool solved_by_policy) {
    const HandshakeOutcome got = resync_handshake(input_of(mine, theirs, solved_by_policy));
    EXPECT_EQ(lines_of(got), mine.lines) << mine.self.text;
    if (got.decision == fail) {  // unless the other node was first to drop the connection
        EXPECT_LT(mine.after.conn, ConnState::wf_report_params);
    } else {
        EXPECT_EQ(wire::name_of(conn_after(got.decision)), wire::name_of(mine.after.conn));
    }
}

// Every handshake of two kernels: from the UUIDs they logged follow their rule, their words, the handlers
// they called, and the state they went to.
TEST(KernelLogs, EveryHandshakeIsReproduced) {
    unsigned handshakes = 0;
    std::set<std::string> rules;
    for (const auto& scenario : testing::golden_kernel_scenarios()) {
        const std::map<std::string, std::vector<LoggedHandshake>> logs = {
            {"alpha", logged_handshakes(scenario / "alpha.kernel.log")},
            {"beta", logged_handshakes(scenario / "beta.kernel.log")}};
        for (const auto& [node, mine] : logs) {
            SCOPED_TRACE(scenario.filename().string() + " " + node);
            const auto& theirs = logs.at(node == "alpha" ? "beta" : "alpha");
            for (size_t i = 0; i < mine.size(); ++i) {
                const Comparison found = compare({.self = mine[i].self.set, .peer = mine[i].peer.set});
                const LoggedHandshake* other = counterpart(mine, i, theirs);
                if (other != nullptr) {
                    expect_reproduced(mine[i], *other, scenario.filename() == "split-brain-auto");
                } else {  // the log of alpha's first life died with it
                    EXPECT_EQ(scenario.filename(), "crash-primary");
                    EXPECT_EQ(fmt::format("uuid_compare()={} by rule {}", found.result, found.rule),
                              mine[i].lines.at(3));
                }
                rules.insert(mine[i].lines.at(3));
                ++handshakes;
            }
        }
    }
    EXPECT_GE(handshakes, 86u);
    EXPECT_GE(rules.size(), 9u);
}

}  // namespace
}  // namespace duplex::engine
