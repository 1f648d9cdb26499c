#include "engine/split_brain.hpp"

#include <gtest/gtest.h>

namespace duplex::engine {
namespace {

using Policy = config::AfterSplitBrain;
using enum SplitBrainDecision;

constexpr Policy all_policies[] = {
    Policy::disconnect,
    Policy::discard_younger_primary,
    Policy::discard_older_primary,
    Policy::discard_zero_changes,
    Policy::discard_least_changes,
    Policy::discard_local,
    Policy::discard_remote,
    Policy::consensus,
    Policy::discard_secondary,
    Policy::call_pri_lost_after_sb,
    Policy::violently_as0p,
};

// The same situation as the other node sees it; discard-local and discard-remote are written mirrored.
SplitBrainInput mirrored(SplitBrainInput in) {
    std::swap(in.self_primary, in.peer_primary);
    std::swap(in.self_was_primary, in.peer_was_primary);
    std::swap(in.own_changes, in.peer_changes);
    in.resolver = !in.resolver;
    if (in.after_sb_0pri == Policy::discard_local) {
        in.after_sb_0pri = Policy::discard_remote;
    } else if (in.after_sb_0pri == Policy::discard_remote) {
        in.after_sb_0pri = Policy::discard_local;
    }
    return in;
}
SplitBrainDecision opposite(SplitBrainDecision decision) {
    if (decision == become_source) return become_target;
    if (decision == become_target) return become_source;
    return decision;
}

TEST(AfterSb0pri, EveryRowAndItsMirror) {
    const struct {
        Policy policy;
        bool self_was_primary, peer_was_primary;
        uint64_t own_changes, peer_changes;
        bool resolver;
        SplitBrainDecision decision;
        bool fell_back = false;
    } rows[] = {
        {Policy::disconnect, false, true, 0, 5, false, unsolved},
        {Policy::discard_younger_primary, false, true, 9, 5, false, become_target},
        {Policy::discard_younger_primary, true, false, 5, 9, true, become_source},
        {Policy::discard_younger_primary, true, true, 0, 9, false, become_target, true},
        {Policy::discard_younger_primary, false, false, 9, 0, false, become_source, true},
        {Policy::discard_younger_primary, false, false, 0, 0, true, become_target, true},
        {Policy::discard_younger_primary, true, true, 3, 9, false, become_target, true},
        {Policy::discard_younger_primary, true, true, 9, 9, true, become_target, true},
        {Policy::discard_older_primary, false, true, 5, 9, false, become_source},
        {Policy::discard_older_primary, true, false, 9, 5, false, become_target},
        {Policy::discard_older_primary, false, false, 9, 3, false, become_source, true},
        {Policy::discard_older_primary, true, true, 7, 7, false, become_source, true},
        {Policy::discard_zero_changes, false, false, 0, 0, true, become_target},
        {Policy::discard_zero_changes, false, false, 0, 0, false, become_source},
        {Policy::discard_zero_changes, true, false, 7, 0, true, become_source},
        {Policy::discard_zero_changes, true, false, 0, 7, false, become_target},
        {Policy::discard_zero_changes, true, false, 3, 7, false, unsolved},
        {Policy::discard_least_changes, true, false, 3, 7, false, become_target},
        {Policy::discard_least_changes, true, false, 7, 3, true, become_source},
        {Policy::discard_least_changes, true, false, 7, 7, true, become_target},
        {Policy::discard_least_changes, true, false, 0, 0, false, become_source},
        {Policy::discard_local, true, false, 7, 3, false, become_target},
        {Policy::discard_remote, false, true, 3, 7, true, become_source},
    };
    for (const auto& row : rows) {
        const SplitBrainInput input{.after_sb_0pri = row.policy,
                                    .self_was_primary = row.self_was_primary,
                                    .peer_was_primary = row.peer_was_primary,
                                    .own_changes = row.own_changes,
                                    .peer_changes = row.peer_changes,
                                    .resolver = row.resolver};
        const SplitBrainVerdict verdict = decide_split_brain(input);
        EXPECT_EQ(verdict.decision, row.decision) << &row - rows;
        EXPECT_EQ(verdict.fell_back_to_changes, row.fell_back) << &row - rows;
        EXPECT_FALSE(verdict.configuration_error) << &row - rows;
        EXPECT_EQ(decide_split_brain(mirrored(input)).decision, opposite(row.decision)) << &row - rows;
    }
}

TEST(AfterSb0pri, RefusesThePoliciesOfTheOthers) {
    for (const Policy policy : {Policy::consensus, Policy::discard_secondary, Policy::call_pri_lost_after_sb,
                                Policy::violently_as0p}) {
        const SplitBrainVerdict verdict = decide_after_sb_0pri({.after_sb_0pri = policy});
        EXPECT_EQ(verdict.decision, unsolved);
        EXPECT_TRUE(verdict.configuration_error);
    }
}

// discard-local and discard-remote stand for a 0pri result of -1 and +1, disconnect for none.
TEST(AfterSb1pri, EveryRow) {
    const struct {
        Policy policy, as0p;
        bool self_primary;
        SplitBrainDecision decision;
    } rows[] = {
        {Policy::disconnect, Policy::discard_remote, true, unsolved},
        {Policy::consensus, Policy::discard_local, false, become_target},
        {Policy::consensus, Policy::discard_local, true, unsolved},
        {Policy::consensus, Policy::discard_remote, true, become_source},
        {Policy::consensus, Policy::discard_remote, false, unsolved},
        {Policy::consensus, Policy::disconnect, false, unsolved},
        {Policy::discard_secondary, Policy::discard_local, true, become_source},
        {Policy::discard_secondary, Policy::discard_remote, false, become_target},
        {Policy::call_pri_lost_after_sb, Policy::discard_local, true, try_demote},
        {Policy::call_pri_lost_after_sb, Policy::discard_local, false, become_target},
        {Policy::call_pri_lost_after_sb, Policy::discard_remote, true, become_source},
        {Policy::call_pri_lost_after_sb, Policy::disconnect, true, unsolved},
        {Policy::violently_as0p, Policy::discard_local, true, become_target},
        {Policy::violently_as0p, Policy::discard_remote, false, become_source},
        {Policy::violently_as0p, Policy::disconnect, false, unsolved},
    };
    for (const auto& row : rows) {
        const SplitBrainInput input{.after_sb_0pri = row.as0p,
                                    .after_sb_1pri = row.policy,
                                    .self_primary = row.self_primary,
                                    .peer_primary = !row.self_primary};
        const SplitBrainVerdict verdict = decide_split_brain(input);
        EXPECT_EQ(verdict.decision, row.decision) << &row - rows;
        EXPECT_FALSE(verdict.configuration_error) << &row - rows;
    }
}

TEST(AfterSb2pri, EveryRow) {
    const struct {
        Policy policy, as0p;
        SplitBrainDecision decision;
        bool configuration_error = false;
    } rows[] = {
        {Policy::disconnect, Policy::discard_local, unsolved},
        {Policy::call_pri_lost_after_sb, Policy::discard_local, try_demote},
        {Policy::call_pri_lost_after_sb, Policy::discard_remote, become_source},
        {Policy::call_pri_lost_after_sb, Policy::disconnect, unsolved},
        {Policy::violently_as0p, Policy::discard_local, become_target},
        {Policy::violently_as0p, Policy::discard_remote, become_source},
        {Policy::consensus, Policy::discard_remote, unsolved, true},
        {Policy::discard_secondary, Policy::discard_remote, unsolved, true},
    };
    for (const auto& row : rows) {
        const SplitBrainVerdict verdict = decide_split_brain({.after_sb_0pri = row.as0p,
                                                              .after_sb_2pri = row.policy,
                                                              .self_primary = true,
                                                              .peer_primary = true});
        EXPECT_EQ(verdict.decision, row.decision) << &row - rows;
        EXPECT_EQ(verdict.configuration_error, row.configuration_error) << &row - rows;
    }
}

TEST(AfterSb, PoliciesOf0priAreNoneOf1priAnd2pri) {
    for (const Policy policy :
         {Policy::discard_younger_primary, Policy::discard_older_primary, Policy::discard_zero_changes,
          Policy::discard_least_changes, Policy::discard_local, Policy::discard_remote}) {
        const SplitBrainInput input{.after_sb_1pri = policy, .after_sb_2pri = policy};
        EXPECT_TRUE(decide_after_sb_1pri(input).configuration_error);
        EXPECT_EQ(decide_after_sb_1pri(input).decision, unsolved);
        EXPECT_TRUE(decide_after_sb_2pri(input).configuration_error);
        EXPECT_EQ(decide_after_sb_2pri(input).decision, unsolved);
    }
}

TEST(AfterSb, DemotionDecides) {
    for (const bool peer_primary : {false, true}) {
        SplitBrainInput input{.after_sb_0pri = Policy::discard_local,
                              .after_sb_1pri = Policy::call_pri_lost_after_sb,
                              .after_sb_2pri = Policy::call_pri_lost_after_sb,
                              .self_primary = true,
                              .peer_primary = peer_primary};
        EXPECT_EQ(decide_split_brain(input).decision, try_demote);
        EXPECT_FALSE(decide_split_brain(input).pri_lost_after_sb);
        input.demotion = Demotion::succeeded;
        EXPECT_EQ(decide_split_brain(input).decision, become_target);
        EXPECT_FALSE(decide_split_brain(input).pri_lost_after_sb);
        input.demotion = Demotion::failed;
        EXPECT_EQ(decide_split_brain(input).decision, unsolved);
        EXPECT_TRUE(decide_split_brain(input).pri_lost_after_sb);
    }
}

// Never do both nodes believe to be source, or both to be target; whoever is unsolved drops the connection.
TEST(AfterSb, TwoNodesNeverBothWin) {
    unsigned solved = 0;
    for (const Policy as0p : all_policies)
        for (const Policy policy : all_policies)
            for (unsigned bits = 0; bits < 32; ++bits)
                for (const uint64_t own : {0u, 3u, 7u})
                    for (const uint64_t peers : {0u, 3u, 7u}) {
                        const SplitBrainInput input{.after_sb_0pri = as0p,
                                                    .after_sb_1pri = policy,
                                                    .after_sb_2pri = policy,
                                                    .self_primary = (bits & 1) != 0,
                                                    .peer_primary = (bits & 2) != 0,
                                                    .self_was_primary = (bits & 4) != 0,
                                                    .peer_was_primary = (bits & 8) != 0,
                                                    .own_changes = own,
                                                    .peer_changes = peers,
                                                    .resolver = (bits & 16) != 0,
                                                    .demotion = Demotion::succeeded};
                        const auto mine = decide_split_brain(input).decision;
                        const auto theirs = decide_split_brain(mirrored(input)).decision;
                        EXPECT_EQ(theirs, opposite(mine));
                        if (mine == become_source) ++solved;
                    }
    EXPECT_GT(solved, 1000u);
}

}  // namespace
}  // namespace duplex::engine
