// Data generations: the UUID set of a replica, its operations, and what two nodes conclude from each other's
// set when they meet (states 5). Pure; rule numbers are those of the kernel's log.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/options.hpp"
#include "engine/ports.hpp"
#include "engine/split_brain.hpp"
#include "engine/states.hpp"
#include "wire/packet.hpp"

namespace duplex::engine {

// ---- the set ----------------------------------------------------------------------------------------------

// Bit 0 of a UUID says "Primary with this generation" and is no part of its identity (states 5.1).
struct UuidSet {
    uint64_t current = wire::uuid_just_created;
    uint64_t bitmap = 0;  // 0: the bitmap counts against no generation
    std::array<uint64_t, 2> history{};
    bool operator==(const UuidSet&) const = default;
};

constexpr uint64_t without_role(uint64_t uuid) {
    return uuid & ~uint64_t{1};
}
constexpr bool same_generation(uint64_t a, uint64_t b) {
    return without_role(a) == without_role(b);
}
// A new bitmap UUID at the start of a resync is the old one plus this.
inline constexpr uint64_t sync_uuid_offset = uint64_t{1} << 48;

UuidSet uuid_set_of(const wire::Uuids& packet);
// "0123456789ABCDEF:..." current, bitmap, history, as the kernel logs them.
std::string text_of(const UuidSet& set);

// Every function below changes the set only. Setting the current UUID, and nothing else, also moves the
// exposed-data UUID; the caller keeps that and writes the superblock (states 5.1).

// Forces bit 0 to the role.
void set_current(UuidSet& set, uint64_t value, Role role);
// rotate_set(B, value): an old bitmap UUID that is not 0 enters the history.
void rotate_bitmap_uuid(UuidSet& set, uint64_t value);
// A new generation: bitmap := current, current := random with the role's bit. The superblock must be durable
// before any write that waits for it goes on (states 5.6). An old bitmap UUID that is not 0 is lost: false.
bool new_current_uuid(UuidSet& set, uint64_t random, Role role);
// The same while the bitmap has to go on counting against an older generation, because a resync ended and it
// is not known whether its target has finished. The kernel makes no new generation then; but a target that
// has finished carries our current one, and could not tell what was written after it from what it has. Here
// it finds its generation in our history and gets everything (rules 60, 80); one that has not finished goes
// on by the bitmap (50, 70).
void new_current_uuid_beside_bitmap(UuidSet& set, uint64_t random, Role role);
void clear_bitmap_uuid(UuidSet& set);
// States 7.3: for the command new-current-uuid, also in its form that skips the initial sync.
void new_current_uuid_by_command(UuidSet& set, uint64_t random, Role role, bool skip_initial_sync);
// States 7.3: P_UUIDS with flag 8 received.
void skip_initial_sync(UuidSet& set, const UuidSet& peer, Role role);

// States 5.7. `peer` is our copy of the peer's set, which ends up equal to ours.
// Returns the UUID that P_SYNC_UUID carries; the superblock comes first.
uint64_t start_resync_source(UuidSet& set, uint64_t random);
void start_resync_target(UuidSet& set, uint64_t sync_uuid, Role role);
void finish_resync_source(UuidSet& set, UuidSet& peer);
void finish_resync_target(UuidSet& set, UuidSet& peer, Role role);

// ---- when a new current UUID is due (states 5.6)
// -----------------------------------------------------------

enum class NewCurrent : uint8_t {
    none,
    now,      // new_current_uuid(), write the superblock, send P_UUIDS
    pending,  // I/O is suspended: due before it resumes
};
// D8 and D9 of states 2.8: after a state change, going by the recorded states.
NewCurrent new_current_due(const State& old_state, const State& new_state, const UuidSet& set);
enum class NewGeneration : uint8_t { none, from_current, beside_bitmap };
// After a successful promotion, of a node with a disk. With a bitmap UUID the kernel goes on in the current
// generation; but a peer has that, too, if it was the target of a resync that it has finished unseen, by a
// node that was lost at the end. own: no peer can have it.
NewGeneration new_generation_at_promotion(const State& state, const UuidSet& set, bool forced, bool own);

// ---- comparison (states 5.2)
// -------------------------------------------------------------------------------

namespace compare_result {
inline constexpr int no_resync = 0;
inline constexpr int source = 1;  // with the bitmaps; negated: target
inline constexpr int target = -1;
inline constexpr int source_full = 2;
inline constexpr int target_full = -2;
inline constexpr int split_brain = 100;
inline constexpr int split_brain_ambiguous = -100;  // policies only with always-asbp
inline constexpr int unrelated = -1000;
// Needs protocol 101 and feature WSAME: protocol in the low byte, features in the second of the absolute
// value.
inline constexpr int needs_wsame = -static_cast<int>(0x10000 + 101 + (wire::feature::wsame << 8));
}  // namespace compare_result

struct CompareInput {
    UuidSet self;
    UuidSet peer;
    bool self_crashed_primary = false;
    bool peer_crashed_primary = false;  // its P_UUIDS flag 2
    bool self_primary = false;          // now
    bool peer_primary = false;          // now, from its P_STATE
    bool resolver = false;
    uint32_t features = wire::feature::all;  // agreed
};

struct Comparison {
    int result = compare_result::unrelated;
    unsigned rule = 0;  // 0: none applied
    // The sets after the corrections that the rule makes. A corrected own set is to be stored and written; a
    // corrected peer set replaces our copy of it. The rule's corrections hold whatever becomes of the
    // handshake.
    UuidSet self;
    UuidSet peer;
    bool self_corrected = false;
    bool peer_corrected = false;
};
Comparison compare(const CompareInput& input);

// ---- handshake (states 5.4)
// --------------------------------------------------------------------------------

struct HandshakeInput {
    CompareInput uuids;
    DiskState own_disk = DiskState::diskless;         // the prepared state while Negotiating
    DiskState actual_own_disk = DiskState::diskless;  // the state word's
    DiskState peer_disk = DiskState::d_unknown;       // "real" of states 3.3
    bool own_discard_mine = false;
    uint64_t peer_flags = 0;   // of its P_UUIDS
    uint64_t own_changes = 0;  // bits set, as we last sent them in P_UUIDS
    uint64_t peer_changes = 0;
    uint64_t bits_set = 0;  // now, in our bitmap
    config::AfterSplitBrain after_sb_0pri = config::AfterSplitBrain::disconnect;
    config::AfterSplitBrain after_sb_1pri = config::AfterSplitBrain::disconnect;
    config::AfterSplitBrain after_sb_2pri = config::AfterSplitBrain::disconnect;
    bool always_asbp = false;
    config::RrConflict rr_conflict = config::RrConflict::disconnect;
    bool tentative = false;     // our option
    bool peer_dry_run = false;  // CF_DRY_RUN
    Demotion demotion = Demotion::not_tried;
};

enum class HandshakeDecision : uint8_t {
    connected,
    wf_bitmap_s,
    wf_bitmap_t,
    fail,
    // Become Secondary (soft, local, without waiting), set `demotion` to what came of it, and ask again with
    // nothing else changed; the steps of the second answer continue those of the first.
    try_demote,
};

enum class HandshakeHandler : uint8_t { none, initial_split_brain, split_brain, pri_lost, pri_lost_after_sb };
std::string_view name_of(HandshakeHandler handler);  // "initial-split-brain", ...

// To be done in order, each handler to its end: a line for the log (without "block drbdN: "), or a handler.
struct HandshakeStep {
    HandshakeHandler handler = HandshakeHandler::none;
    LogLevel level = LogLevel::info;
    std::string line;
};

struct HandshakeOutcome {
    HandshakeDecision decision = HandshakeDecision::fail;
    Comparison comparison;  // its corrections are to be applied
    // wf_bitmap_s, wf_bitmap_t: first set all bits and write the bitmap, with MDF_FULL_SYNC set meanwhile; an
    // error there fails the handshake.
    bool full_sync = false;
    std::vector<HandshakeStep> steps;
};
HandshakeOutcome resync_handshake(const HandshakeInput& input);

}  // namespace duplex::engine
