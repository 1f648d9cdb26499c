#include "engine/generations.hpp"

#include <gtest/gtest.h>

#include "engine/rules_test_util.hpp"

namespace duplex::engine {
namespace {

using testing::state;

// Generations of the specification's examples (states 5.9). An odd value is one with the trailing '.
constexpr uint64_t g1 = 0x1000'0000'0000'1110, g2 = 0x1000'0000'0000'2220, g3 = 0x1000'0000'0000'3330;
constexpr uint64_t r = 0x1000'0000'0000'aaa0, x = 0x1000'0000'0000'bbb0, q = 0x1000'0000'0000'ccc0;
constexpr uint64_t s = 0x1000'0000'0000'ddd0, t = 0x1000'0000'0000'eee0;
constexpr uint64_t fresh = 4;
constexpr uint64_t primary(uint64_t uuid) {
    return uuid | 1;
}
constexpr uint64_t plus(uint64_t uuid) {
    return uuid + 0x0001'0000'0000'0000;
}

constexpr UuidSet set_of(uint64_t current, uint64_t bitmap, uint64_t history1, uint64_t history2) {
    return {.current = current, .bitmap = bitmap, .history = {history1, history2}};
}

void expect_set(const UuidSet& got, const UuidSet& wanted, const char* what = "") {
    EXPECT_EQ(text_of(got), text_of(wanted)) << what;
}

// ---- 5.1, 5.7, 7.3 ----------------------------------------------------------------------------------------

TEST(Uuids, PrimitiveOperations) {
    UuidSet set = set_of(g1, 0, r, fresh);
    set_current(set, g2, Role::primary);
    EXPECT_EQ(set.current, primary(g2));
    set_current(set, set.current, Role::secondary);
    EXPECT_EQ(set.current, g2);

    set = set_of(primary(g1), 0, r, fresh);
    rotate_bitmap_uuid(set, x);
    expect_set(set, set_of(primary(g1), x, r, fresh), "nothing to rotate");
    rotate_bitmap_uuid(set, q);
    expect_set(set, set_of(primary(g1), q, x, r), "rotated");

    set = set_of(primary(g1), 0, r, fresh);
    EXPECT_TRUE(new_current_uuid(set, primary(g2), Role::secondary));
    expect_set(set, set_of(g2, primary(g1), r, fresh), "the old current's role bit goes along");
    EXPECT_FALSE(new_current_uuid(set, g3, Role::primary));
    expect_set(set, set_of(primary(g3), g2, r, fresh), "the old bitmap UUID is lost");

    set = set_of(g1, x, r, fresh);
    clear_bitmap_uuid(set);
    expect_set(set, set_of(g1, 0, x, r));
    clear_bitmap_uuid(set);
    expect_set(set, set_of(g1, 0, x, r), "nothing to clear");
}

TEST(Uuids, StartOfResyncSource) {
    UuidSet set = set_of(primary(g2), primary(g1), r, fresh);
    EXPECT_EQ(start_resync_source(set, x), plus(primary(g1)));
    expect_set(set, set_of(primary(g2), plus(primary(g1)), primary(g1), r));

    set = set_of(primary(g1), fresh, 0, 0);
    EXPECT_EQ(start_resync_source(set, x), x);
    expect_set(set, set_of(primary(g1), x, fresh, 0));

    set = set_of(g1, 0, r, fresh);
    EXPECT_EQ(start_resync_source(set, x), x);
    expect_set(set, set_of(g1, x, r, fresh));

    set = set_of(g1, 0xffff'0000'0000'0002, r, fresh);
    EXPECT_EQ(start_resync_source(set, x), 2u) << "the sum wraps";
}

// States 5.7: invalidate of an equal pair; no P_UUIDS comes between.
TEST(Uuids, InvalidateOfAnEqualPair) {
    UuidSet source = set_of(primary(g1), 0, r, fresh), target = set_of(g1, 0, r, fresh);
    UuidSet sources_copy = target, targets_copy = source;
    const uint64_t sync_uuid = start_resync_source(source, x);
    start_resync_target(target, sync_uuid, Role::secondary);
    expect_set(source, set_of(primary(g1), x, r, fresh));
    expect_set(target, set_of(x, 0, r, fresh));
    finish_resync_target(target, targets_copy, Role::secondary);
    finish_resync_source(source, sources_copy);
    expect_set(source, set_of(primary(g1), 0, x, r));
    expect_set(target, set_of(g1, 0, x, r));
    expect_set(sources_copy, source);
    expect_set(targets_copy, target);
    // And once more in the same connection.
    start_resync_target(target, start_resync_source(source, q), Role::secondary);
    finish_resync_target(target, targets_copy, Role::secondary);
    finish_resync_source(source, sources_copy);
    expect_set(source, set_of(primary(g1), 0, q, x));
    expect_set(target, set_of(g1, 0, q, x));
}

TEST(Uuids, NewCurrentByCommand) {
    UuidSet set = set_of(fresh, 0, 0, 0);
    new_current_uuid_by_command(set, g1, Role::secondary, true);
    expect_set(set, set_of(g1, 0, 0, 0), "skips the initial sync");
    UuidSet peer = set_of(fresh, 0, 0, 0);
    skip_initial_sync(peer, set, Role::secondary);
    expect_set(peer, set_of(g1, 0, 0, 0));

    set = set_of(g1, 0, r, fresh);
    new_current_uuid_by_command(set, g2, Role::secondary, false);
    expect_set(set, set_of(g2, g1, r, fresh));
    new_current_uuid_by_command(set, g3, Role::primary, false);
    expect_set(set, set_of(primary(g3), g2, g1, r), "the old bitmap UUID enters the history");
}

// ---- 5.6 --------------------------------------------------------------------------------------------------

TEST(NewCurrent, EveryTrigger) {
    const UuidSet in_sync = set_of(g1, 0, r, fresh), counting = set_of(g2, g1, r, fresh);
    const char* up = "Connected Primary/Secondary UpToDate/UpToDate";
    const struct {
        const char* from;
        const char* to;
        const UuidSet& set;
        NewCurrent due;
    } rows[] = {
        // D8: contact to the peer's data lost, and somebody is Primary
        {up, "NetworkFailure Primary/Unknown UpToDate/DUnknown", in_sync, NewCurrent::now},
        {up, "NetworkFailure Primary/Unknown UpToDate/DUnknown fen", in_sync, NewCurrent::pending},
        {up, "NetworkFailure Primary/Unknown UpToDate/DUnknown nod", in_sync, NewCurrent::pending},
        // Deviation: nothing waits for the administrator's own suspension but I/O.
        {up, "NetworkFailure Primary/Unknown UpToDate/DUnknown susp", in_sync, NewCurrent::now},
        {up, "NetworkFailure Primary/Unknown UpToDate/DUnknown", counting, NewCurrent::none},
        {"Connected Secondary/Secondary UpToDate/UpToDate",
         "NetworkFailure Secondary/Unknown UpToDate/DUnknown", in_sync, NewCurrent::none},
        {"Connected Secondary/Primary UpToDate/UpToDate",
         "NetworkFailure Secondary/Unknown UpToDate/DUnknown", in_sync, NewCurrent::none},
        {"Connected Secondary/Primary UpToDate/UpToDate", "Connected Secondary/Primary UpToDate/Failed",
         in_sync, NewCurrent::now},
        {"Connected Primary/Secondary Inconsistent/UpToDate",
         "NetworkFailure Primary/Unknown Inconsistent/DUnknown", in_sync, NewCurrent::none},
        {"WFConnection Primary/Unknown UpToDate/DUnknown", "WFConnection Primary/Unknown UpToDate/Outdated",
         in_sync, NewCurrent::now},
        {"Connected Primary/Secondary UpToDate/Failed", "Connected Primary/Secondary UpToDate/Diskless",
         in_sync, NewCurrent::none},
        {up, "Ahead Primary/Secondary UpToDate/Consistent", in_sync, NewCurrent::none},
        // Deviation: demoted while Ahead; the peer lacks data all the same.
        {"Ahead Secondary/Secondary UpToDate/Consistent",
         "NetworkFailure Secondary/Unknown UpToDate/DUnknown", in_sync, NewCurrent::now},
        // D9: a peer without a usable disk becomes Primary on our data
        {"Connected Secondary/Secondary UpToDate/Diskless", "Connected Secondary/Primary UpToDate/Diskless",
         in_sync, NewCurrent::now},
        {"Connected Secondary/Secondary UpToDate/Diskless", "Connected Secondary/Primary UpToDate/Diskless",
         counting, NewCurrent::none},
        {"Connected Secondary/Secondary UpToDate/UpToDate", "Connected Secondary/Primary UpToDate/UpToDate",
         in_sync, NewCurrent::none},
    };
    for (const auto& row : rows)
        EXPECT_EQ(new_current_due(state(row.from), state(row.to), row.set), row.due)
            << row.from << " -> " << row.to;
}

TEST(NewCurrent, AtPromotion) {
    const UuidSet in_sync = set_of(g1, 0, r, fresh), counting = set_of(g2, g1, r, fresh);
    const State alone = state("WFConnection Primary/Unknown UpToDate/DUnknown");
    const State together = state("Connected Primary/Secondary UpToDate/UpToDate");
    const State peer_diskless = state("Connected Primary/Secondary UpToDate/Diskless");
    EXPECT_EQ(new_generation_at_promotion(alone, in_sync, false, false), NewGeneration::from_current);
    EXPECT_EQ(new_generation_at_promotion(alone, counting, false, true), NewGeneration::none);
    EXPECT_EQ(new_generation_at_promotion(alone, counting, false, false), NewGeneration::beside_bitmap);
    EXPECT_EQ(new_generation_at_promotion(together, in_sync, false, false), NewGeneration::none);
    EXPECT_EQ(new_generation_at_promotion(together, counting, false, false), NewGeneration::none);
    EXPECT_EQ(new_generation_at_promotion(peer_diskless, in_sync, false, false), NewGeneration::from_current);
    EXPECT_EQ(new_generation_at_promotion(together, counting, true, false), NewGeneration::from_current);
}

// ---- 5.2 --------------------------------------------------------------------------------------------------

CompareInput mirrored(CompareInput input) {
    std::swap(input.self, input.peer);
    std::swap(input.self_crashed_primary, input.peer_crashed_primary);
    std::swap(input.self_primary, input.peer_primary);
    input.resolver = !input.resolver;
    return input;
}

// As this node's log shows it, and the peer's result and rule for the same meeting.
struct CompareRow {
    UuidSet self, peer;
    int result;
    unsigned rule, peers_rule;
};

void expect_comparison(const CompareRow& row) {
    const CompareInput input{.self = row.self, .peer = row.peer};
    const std::string who = text_of(row.self) + " meets " + text_of(row.peer);
    const Comparison got = compare(input);
    EXPECT_EQ(got.result, row.result) << who;
    EXPECT_EQ(got.rule, row.rule) << who;
    const Comparison theirs = compare(mirrored(input));
    const bool both_alike = row.result == 100 || row.result == -100 || row.result == -1000;
    EXPECT_EQ(theirs.result, both_alike ? row.result : -row.result) << who;
    EXPECT_EQ(theirs.rule, row.peers_rule) << who;
}

TEST(Compare, EveryRowAndItsMirror) {
    const CompareRow rows[] = {
        {set_of(fresh, 0, 0, 0), set_of(fresh, 0, 0, 0), 0, 10, 10},
        {set_of(fresh | 1, 0, 0, 0), set_of(fresh, 0, 0, 0), 0, 10, 10},
        {set_of(fresh, 0, 0, 0), set_of(g1, 0, r, fresh), -2, 20, 30},
        {set_of(0, 0, 0, 0), set_of(g1, 0, r, fresh), -2, 20, 30},
        {set_of(0, 0, 0, 0), set_of(fresh, 0, 0, 0), 2, 30, 20},
        // the same generation; somebody missed the end of a resync, or the sync UUID
        {set_of(g2, plus(g1), g1, r), set_of(g2, 0, plus(g1), g1), 1, 34, 35},
        {set_of(g2, plus(g1), g1, r), set_of(g2, 0, x, g1), 1, 36, 37},
        {set_of(g2, plus(g1), g1, r), set_of(g2, 0, plus(g1), x), 1, 36, 37},
        {set_of(g1, 0, r, fresh), set_of(primary(g1), 0, r, fresh), 0, 40, 40},
        {set_of(g1, x, r, fresh), set_of(g1, q, r, fresh), 0, 40, 40},
        // one is behind by a generation
        {set_of(g1, 0, r, fresh), set_of(primary(g2), primary(g1), r, fresh), -1, 50, 70},
        {set_of(g1, 0, r, fresh), set_of(g2, plus(g1), g1, r), -1, 51, 71},
        {set_of(g1, 0, r, fresh), set_of(primary(g2), plus(primary(g1)), primary(g1), r), -1, 51, 71},
        // or by more
        {set_of(g1, 0, r, fresh), set_of(g3, 0, g1, r), -2, 60, 80},
        {set_of(g1, 0, r, fresh), set_of(g3, 0, plus(g2), g1), -2, 60, 80},
        {set_of(g1, 0, r, fresh), set_of(g3, x, g1, r), -2, 60, 80},
        // both went on
        {set_of(primary(g2), primary(g1), r, fresh), set_of(primary(x), g1, r, fresh), 100, 90, 90},
        {set_of(g2, q, r, fresh), set_of(x, g1, s, r), -100, 100, 100},
        {set_of(g2, 0, s, 0), set_of(x, 0, t, 0), -100, 100, 100},
        {set_of(g2, 0, r, s), set_of(x, 0, q, t), -1000, 0, 0},
    };
    for (const CompareRow& row : rows) expect_comparison(row);
}

TEST(Compare, Corrections) {
    const auto both = [](const UuidSet& a, const UuidSet& b) {
        return std::pair{compare({.self = a, .peer = b}), compare({.self = b, .peer = a})};
    };
    // The source missed the end of the resync.
    auto [source, target] = both(set_of(g2, plus(g1), g1, r), set_of(g2, 0, plus(g1), g1));
    EXPECT_TRUE(source.self_corrected);
    EXPECT_FALSE(source.peer_corrected);
    expect_set(source.self, set_of(g2, 0, plus(g1), g1));
    EXPECT_FALSE(target.self_corrected);
    EXPECT_TRUE(target.peer_corrected);
    expect_set(target.peer, set_of(g2, 0, plus(g1), g1));

    // The target missed the start.
    std::tie(source, target) = both(set_of(g2, plus(g1), g1, r), set_of(g1, 0, r, fresh));
    EXPECT_TRUE(source.self_corrected);
    EXPECT_FALSE(source.peer_corrected);
    expect_set(source.self, set_of(g2, g1, r, r));
    EXPECT_FALSE(target.self_corrected);
    EXPECT_TRUE(target.peer_corrected);
    expect_set(target.peer, set_of(g2, g1, r, r));

    // Nothing is corrected elsewhere.
    std::tie(source, target) = both(set_of(g2, g1, r, fresh), set_of(g1, 0, r, fresh));
    EXPECT_FALSE(source.self_corrected || source.peer_corrected || target.self_corrected ||
                 target.peer_corrected);
    expect_set(source.self, set_of(g2, g1, r, fresh));
}

TEST(Compare, CrashedPrimaries) {
    const UuidSet set = set_of(g1, 0, r, fresh);
    const struct {
        bool self_crashed, peer_crashed, self_primary, peer_primary, resolver;
        int result;
        unsigned rule;
    } rows[] = {
        {false, false, true, true, false, 0, 40},   {true, false, false, false, false, 1, 40},
        {true, false, false, false, true, 1, 40},   {false, true, false, false, false, -1, 40},
        {true, true, false, false, true, -1, 40},   {true, true, false, false, false, 1, 40},
        {true, false, false, true, false, -1, 41},  {false, true, true, false, false, 1, 41},
        {true, false, true, false, false, 1, 41},   {true, true, true, false, true, 1, 41},
        {true, false, true, true, false, -100, 41},
    };
    for (const auto& row : rows) {
        CompareInput input{.self = set,
                           .peer = set,
                           .self_crashed_primary = row.self_crashed,
                           .peer_crashed_primary = row.peer_crashed,
                           .self_primary = row.self_primary,
                           .peer_primary = row.peer_primary,
                           .resolver = row.resolver};
        EXPECT_EQ(compare(input).result, row.result) << &row - rows;
        EXPECT_EQ(compare(input).rule, row.rule) << &row - rows;
        EXPECT_EQ(compare(mirrored(input)).result, row.result == -100 ? -100 : -row.result) << &row - rows;
        if (row.rule != 41) continue;
        input.features = wire::feature::all & ~wire::feature::wsame;
        EXPECT_EQ(compare(input).result, compare_result::needs_wsame) << &row - rows;
        EXPECT_LT(compare(input).result, -65536);
    }
}

TEST(Compare, NeedsWsameNamesProtocolAndFeature) {
    constexpr unsigned code = -compare_result::needs_wsame;
    EXPECT_EQ(code & 0xff, 101u);
    EXPECT_EQ((code >> 8) & 0xff, wire::feature::wsame);
}

// ---- 5.9 --------------------------------------------------------------------------------------------------

// Two nodes; alpha is the one that the examples call A.
struct Pair {
    UuidSet a, b;
    UuidSet copy_at_a{}, copy_at_b{};

    void exchange() {
        copy_at_a = b;
        copy_at_b = a;
    }
    Comparison at_a(bool crashed_a = false, bool primary_a = false, bool primary_b = false) const {
        return compare({.self = a,
                        .peer = b,
                        .self_crashed_primary = crashed_a,
                        .self_primary = primary_a,
                        .peer_primary = primary_b});
    }
    Comparison at_b(bool crashed_a = false, bool primary_a = false, bool primary_b = false) const {
        return compare({.self = b,
                        .peer = a,
                        .peer_crashed_primary = crashed_a,
                        .self_primary = primary_b,
                        .peer_primary = primary_a});
    }
};

void expect_results(const Comparison& at_a, int a, unsigned a_rule, const Comparison& at_b, int b,
                    unsigned b_rule) {
    EXPECT_EQ(at_a.result, a);
    EXPECT_EQ(at_a.rule, a_rule);
    EXPECT_EQ(at_b.result, b);
    EXPECT_EQ(at_b.rule, b_rule);
}

// E2, after the link failed under A.
Pair after_link_failure() {
    Pair pair{.a = set_of(primary(g1), 0, r, fresh), .b = set_of(g1, 0, r, fresh)};
    new_current_uuid(pair.a, g2, Role::primary);
    return pair;
}

TEST(Examples, E1FirstSync) {
    Pair pair{.a = set_of(fresh, 0, 0, 0), .b = set_of(fresh, 0, 0, 0)};
    expect_results(pair.at_a(), 0, 10, pair.at_b(), 0, 10);
    new_current_uuid(pair.a, g1, Role::primary);
    expect_set(pair.a, set_of(primary(g1), fresh, 0, 0));
    pair.exchange();
    expect_results(pair.at_a(), 2, 30, pair.at_b(), -2, 20);
    const uint64_t sync_uuid = start_resync_source(pair.a, r);
    expect_set(pair.a, set_of(primary(g1), r, fresh, 0));
    start_resync_target(pair.b, sync_uuid, Role::secondary);
    expect_set(pair.b, set_of(r, 0, 0, 0));
    finish_resync_target(pair.b, pair.copy_at_b, Role::secondary);
    expect_set(pair.b, set_of(g1, 0, r, fresh));
    finish_resync_source(pair.a, pair.copy_at_a);
    expect_set(pair.a, set_of(primary(g1), 0, r, fresh));
}

TEST(Examples, E2LinkFailureUnderAPrimary) {
    const Pair pair = after_link_failure();
    expect_set(pair.a, set_of(primary(g2), primary(g1), r, fresh));
    expect_results(pair.at_a(), 1, 70, pair.at_b(), -1, 50);
}

TEST(Examples, E3Interruptions) {
    Pair pair = after_link_failure();
    pair.exchange();
    const uint64_t sync_uuid = start_resync_source(pair.a, x);
    expect_set(pair.a, set_of(primary(g2), plus(primary(g1)), primary(g1), r));
    // P_SYNC_UUID lost
    expect_results(pair.at_a(), 1, 71, pair.at_b(), -1, 51);
    expect_set(pair.at_a().self, set_of(primary(g2), primary(g1), r, r));
    // in the middle
    start_resync_target(pair.b, sync_uuid, Role::secondary);
    expect_set(pair.b, set_of(plus(g1), 0, r, fresh));
    expect_results(pair.at_a(), 1, 70, pair.at_b(), -1, 50);
    // B finished, A missed it
    finish_resync_target(pair.b, pair.copy_at_b, Role::secondary);
    expect_set(pair.b, set_of(g2, 0, plus(g1), primary(g1)));
    expect_results(pair.at_a(), 1, 34, pair.at_b(), -1, 35);
    expect_set(pair.at_a().self, set_of(primary(g2), 0, plus(primary(g1)), primary(g1)));
    // normal end
    finish_resync_source(pair.a, pair.copy_at_a);
    expect_set(pair.a, set_of(primary(g2), 0, plus(primary(g1)), primary(g1)));
    expect_results(pair.at_a(), 0, 40, pair.at_b(), 0, 40);
}

TEST(Examples, E4SplitBrain) {
    Pair pair = after_link_failure();
    new_current_uuid(pair.b, x, Role::primary);
    expect_set(pair.b, set_of(primary(x), g1, r, fresh));
    expect_results(pair.at_a(), 100, 90, pair.at_b(), 100, 90);
    // A was Primary first: the younger Primary's changes are B's.
    EXPECT_EQ(pair.a.bitmap & 1, 1u);
    EXPECT_EQ(pair.b.bitmap & 1, 0u);
}

TEST(Examples, E5CrashOfAConnectedPrimary) {
    Pair pair{.a = set_of(g1, 0, r, fresh), .b = set_of(g1, 0, r, fresh)};
    expect_results(pair.at_a(true), 1, 40, pair.at_b(true), -1, 40);
    // B Primary without a new generation, frozen
    expect_results(pair.at_a(true, false, true), -1, 41, pair.at_b(true, false, true), 1, 41);
    // B promoted meanwhile
    new_current_uuid(pair.b, x, Role::primary);
    expect_results(pair.at_a(true, false, true), -1, 50, pair.at_b(true, false, true), 1, 70);
}

TEST(Examples, E6RestoredBackup) {
    const Pair pair{.a = set_of(g1, 0, r, fresh), .b = set_of(g3, 0, plus(g2), primary(g1))};
    expect_results(pair.at_a(), -2, 60, pair.at_b(), 2, 80);
}

TEST(Examples, E7ForeignDisk) {
    const struct {
        UuidSet a, b;
        int result;
        unsigned rule;
    } rows[] = {
        {set_of(g1, 0, r, fresh), set_of(x, 0, q, fresh), -100, 100},
        {set_of(g1, 0, r, 0), set_of(x, 0, q, 0), -100, 100},
        {set_of(primary(g1), fresh, 0, 0), set_of(primary(x), fresh, 0, 0), 100, 90},
        {set_of(g1, 0, r, s), set_of(x, 0, q, t), -1000, 0},
    };
    for (const auto& row : rows) {
        const Pair pair{.a = row.a, .b = row.b};
        expect_results(pair.at_a(), row.result, row.rule, pair.at_b(), row.result, row.rule);
    }
}

TEST(Uuids, Text) {
    EXPECT_EQ(text_of(set_of(0x4B9E4A7338719DCD, 4, 0, 0)),
              "4B9E4A7338719DCD:0000000000000004:0000000000000000:0000000000000000");
    expect_set(uuid_set_of({.current = g1, .bitmap = g2, .history = {r, s}, .bits_set = 7, .flags = 2}),
               set_of(g1, g2, r, s));
}

}  // namespace
}  // namespace duplex::engine
