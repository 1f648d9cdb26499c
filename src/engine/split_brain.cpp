#include "engine/split_brain.hpp"

namespace duplex::engine {

namespace {

using config::AfterSplitBrain;
using enum SplitBrainDecision;

constexpr SplitBrainVerdict decided(SplitBrainDecision decision) {
    return {.decision = decision};
}

constexpr SplitBrainVerdict not_configurable() {
    return {.decision = unsolved, .configuration_error = true};
}

// Two nodes with equal claims: the one thing that differs is who is resolver.
constexpr SplitBrainDecision by_resolver(const SplitBrainInput& input) {
    return input.resolver ? become_target : become_source;
}

SplitBrainDecision by_zero_changes(const SplitBrainInput& input) {
    if (input.own_changes == 0 && input.peer_changes == 0) return by_resolver(input);
    if (input.peer_changes == 0) return become_source;
    if (input.own_changes == 0) return become_target;
    return unsolved;
}

SplitBrainDecision by_least_changes(const SplitBrainInput& input) {
    if (input.own_changes < input.peer_changes) return become_target;
    if (input.own_changes > input.peer_changes) return become_source;
    return by_resolver(input);
}

SplitBrainVerdict by_age(const SplitBrainInput& input, SplitBrainDecision if_self_was_primary,
                         SplitBrainDecision if_peer_was_primary) {
    if (input.self_was_primary != input.peer_was_primary)
        return decided(input.self_was_primary ? if_self_was_primary : if_peer_was_primary);
    SplitBrainDecision decision = by_zero_changes(input);
    if (decision == unsolved) decision = by_least_changes(input);
    return {.decision = decision, .fell_back_to_changes = true};
}

// call-pri-lost-after-sb: a Primary that lost becomes Secondary, or has its handler called.
SplitBrainVerdict demote_if_lost(const SplitBrainInput& input) {
    const SplitBrainVerdict verdict = decide_after_sb_0pri(input);
    if (verdict.decision != become_target || !input.self_primary) return verdict;
    switch (input.demotion) {
        case Demotion::not_tried:
            return decided(try_demote);
        case Demotion::succeeded:
            return verdict;
        case Demotion::failed:
            return {.decision = unsolved, .pri_lost_after_sb = true};
    }
    return verdict;
}

// Both nodes agree that the Secondary loses.
SplitBrainVerdict if_secondary_loses(const SplitBrainInput& input) {
    const SplitBrainVerdict verdict = decide_after_sb_0pri(input);
    const SplitBrainDecision agreed = input.self_primary ? become_source : become_target;
    if (verdict.decision == agreed) return verdict;
    return {.decision = unsolved, .configuration_error = verdict.configuration_error};
}

}  // namespace

SplitBrainVerdict decide_after_sb_0pri(const SplitBrainInput& input) {
    switch (input.after_sb_0pri) {
        case AfterSplitBrain::disconnect:
            return decided(unsolved);
        case AfterSplitBrain::discard_younger_primary:
            return by_age(input, become_source, become_target);
        case AfterSplitBrain::discard_older_primary:
            return by_age(input, become_target, become_source);
        case AfterSplitBrain::discard_zero_changes:
            return decided(by_zero_changes(input));
        case AfterSplitBrain::discard_least_changes:
            return decided(by_least_changes(input));
        case AfterSplitBrain::discard_local:
            return decided(become_target);
        case AfterSplitBrain::discard_remote:
            return decided(become_source);
        case AfterSplitBrain::consensus:
        case AfterSplitBrain::discard_secondary:
        case AfterSplitBrain::call_pri_lost_after_sb:
        case AfterSplitBrain::violently_as0p:
            break;
    }
    return not_configurable();
}

SplitBrainVerdict decide_after_sb_1pri(const SplitBrainInput& input) {
    switch (input.after_sb_1pri) {
        case AfterSplitBrain::disconnect:
            return decided(unsolved);
        case AfterSplitBrain::consensus:
            return if_secondary_loses(input);
        case AfterSplitBrain::discard_secondary:
            return decided(input.self_primary ? become_source : become_target);
        case AfterSplitBrain::call_pri_lost_after_sb:
            return demote_if_lost(input);
        case AfterSplitBrain::violently_as0p:
            return decide_after_sb_0pri(input);
        case AfterSplitBrain::discard_younger_primary:
        case AfterSplitBrain::discard_older_primary:
        case AfterSplitBrain::discard_zero_changes:
        case AfterSplitBrain::discard_least_changes:
        case AfterSplitBrain::discard_local:
        case AfterSplitBrain::discard_remote:
            break;
    }
    return not_configurable();
}

SplitBrainVerdict decide_after_sb_2pri(const SplitBrainInput& input) {
    switch (input.after_sb_2pri) {
        case AfterSplitBrain::disconnect:
            return decided(unsolved);
        case AfterSplitBrain::call_pri_lost_after_sb:
            return demote_if_lost(input);
        case AfterSplitBrain::violently_as0p:
            return decide_after_sb_0pri(input);
        case AfterSplitBrain::discard_younger_primary:
        case AfterSplitBrain::discard_older_primary:
        case AfterSplitBrain::discard_zero_changes:
        case AfterSplitBrain::discard_least_changes:
        case AfterSplitBrain::discard_local:
        case AfterSplitBrain::discard_remote:
        case AfterSplitBrain::consensus:
        case AfterSplitBrain::discard_secondary:
            break;
    }
    return not_configurable();
}

SplitBrainVerdict decide_split_brain(const SplitBrainInput& input) {
    if (input.self_primary && input.peer_primary) return decide_after_sb_2pri(input);
    if (input.self_primary || input.peer_primary) return decide_after_sb_1pri(input);
    return decide_after_sb_0pri(input);
}

}  // namespace duplex::engine
