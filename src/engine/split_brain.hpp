// Who gives up its changes when both nodes went their own ways: the policies after-sb-0pri, -1pri and -2pri
// (states 6). Pure; the answer may be that this node has to try something first.
#pragma once

#include <cstdint>

#include "config/options.hpp"

namespace duplex::engine {

// Outcome of a demotion that call-pri-lost-after-sb asked for.
enum class Demotion : uint8_t { not_tried, succeeded, failed };

struct SplitBrainInput {
    config::AfterSplitBrain after_sb_0pri = config::AfterSplitBrain::disconnect;
    config::AfterSplitBrain after_sb_1pri = config::AfterSplitBrain::disconnect;
    config::AfterSplitBrain after_sb_2pri = config::AfterSplitBrain::disconnect;
    // Now, that is when the handshake began.
    bool self_primary = false;
    bool peer_primary = false;
    // Bit 0 of the bitmap UUIDs: was Primary already when the nodes parted.
    bool self_was_primary = false;
    bool peer_was_primary = false;
    uint64_t own_changes = 0;   // bits set, as we last sent them in P_UUIDS
    uint64_t peer_changes = 0;  // bits set, from the peer's P_UUIDS
    bool resolver = false;
    Demotion demotion = Demotion::not_tried;
};

enum class SplitBrainDecision : uint8_t {
    become_source,  // +1
    become_target,  // -1
    unsolved,       // -100
    // Become Secondary (a soft local change, without waiting), then ask again with `demotion` set and all
    // else as it was.
    try_demote,
};

struct SplitBrainVerdict {
    SplitBrainDecision decision = SplitBrainDecision::unsolved;
    // Run handler pri-lost-after-sb: this Primary lost and could not be demoted.
    bool pri_lost_after_sb = false;
    // The policy is none that this option accepts.
    bool configuration_error = false;
    // discard-younger-primary or discard-older-primary could not tell and discard-least-changes decided.
    bool fell_back_to_changes = false;
};

// States 6.1: the policy of after_sb_0pri, whatever the roles now. Never try_demote.
SplitBrainVerdict decide_after_sb_0pri(const SplitBrainInput& input);
// States 6.2; exactly one node is Primary.
SplitBrainVerdict decide_after_sb_1pri(const SplitBrainInput& input);
// States 6.3; both are Primary.
SplitBrainVerdict decide_after_sb_2pri(const SplitBrainInput& input);
// The one that fits the number of Primaries.
SplitBrainVerdict decide_split_brain(const SplitBrainInput& input);

}  // namespace duplex::engine
