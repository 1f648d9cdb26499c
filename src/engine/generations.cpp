#include "engine/generations.hpp"

#include <cstdlib>
#include <utility>

#include <fmt/format.h>

#include "base/ensure.hpp"

namespace duplex::engine {

// ---- 5.1 --------------------------------------------------------------------------------------------------

namespace {

constexpr bool is_fresh(uint64_t uuid) {
    return same_generation(uuid, wire::uuid_just_created);
}

void push_history(UuidSet& set, uint64_t uuid) {
    set.history[1] = set.history[0];
    set.history[0] = uuid;
}

// The end of a resync, as a set that missed it would have recorded it.
void record_end_of_resync(UuidSet& set) {
    push_history(set, set.bitmap);
    set.bitmap = 0;
}

// The start of a resync, undone; the oldest generation is not known any more and stays twice.
void undo_start_of_resync(UuidSet& set) {
    set.bitmap = set.history[0];
    set.history[0] = set.history[1];
}

}  // namespace

UuidSet uuid_set_of(const wire::Uuids& packet) {
    return {.current = packet.current, .bitmap = packet.bitmap, .history = packet.history};
}

std::string text_of(const UuidSet& set) {
    return fmt::format("{:016X}:{:016X}:{:016X}:{:016X}", set.current, set.bitmap, set.history[0],
                       set.history[1]);
}

void set_current(UuidSet& set, uint64_t value, Role role) {
    set.current = without_role(value) | (role == Role::primary ? 1 : 0);
}

void rotate_bitmap_uuid(UuidSet& set, uint64_t value) {
    if (set.bitmap != 0) push_history(set, set.bitmap);
    set.bitmap = value;
}

bool new_current_uuid(UuidSet& set, uint64_t random, Role role) {
    const bool nothing_lost = set.bitmap == 0;
    set.bitmap = set.current;
    set_current(set, random, role);
    return nothing_lost;
}

void new_current_uuid_beside_bitmap(UuidSet& set, uint64_t random, Role role) {
    set.history = {set.current, set.history[0]};
    set_current(set, random, role);
}

void clear_bitmap_uuid(UuidSet& set) {
    if (set.bitmap != 0) record_end_of_resync(set);
}

void new_current_uuid_by_command(UuidSet& set, uint64_t random, Role role, bool skip_initial_sync) {
    rotate_bitmap_uuid(set, 0);
    new_current_uuid(set, random, role);
    if (skip_initial_sync) set.bitmap = 0;
}

void skip_initial_sync(UuidSet& set, const UuidSet& peer, Role role) {
    set_current(set, peer.current, role);
    set.bitmap = 0;
}

// ---- 5.7 --------------------------------------------------------------------------------------------------

uint64_t start_resync_source(UuidSet& set, uint64_t random) {
    const bool counts_from_a_generation = set.bitmap != 0 && set.bitmap != wire::uuid_just_created;
    const uint64_t sync_uuid = counts_from_a_generation ? set.bitmap + sync_uuid_offset : random;
    rotate_bitmap_uuid(set, sync_uuid);
    return sync_uuid;
}

void start_resync_target(UuidSet& set, uint64_t sync_uuid, Role role) {
    set_current(set, sync_uuid, role);
    set.bitmap = 0;
}

void finish_resync_source(UuidSet& set, UuidSet& peer) {
    clear_bitmap_uuid(set);
    peer = set;
}

void finish_resync_target(UuidSet& set, UuidSet& peer, Role role) {
    const uint64_t sync_uuid = set.current;
    set.bitmap = peer.bitmap;
    set.history = peer.history;
    rotate_bitmap_uuid(set, sync_uuid);
    set_current(set, peer.current, role);
    clear_bitmap_uuid(set);
    peer = set;
}

// ---- 5.6 --------------------------------------------------------------------------------------------------

NewCurrent new_current_due(const State& old_state, const State& new_state, const UuidSet& set) {
    if (set.bitmap != 0 || new_state.disk != DiskState::up_to_date) return NewCurrent::none;
    const bool somebody_primary = new_state.role == Role::primary || new_state.peer == Role::primary;
    // D8
    // Deviation: also a node that was demoted while it was Ahead has data that the peer lacks.
    const bool was_ahead = old_state.conn == ConnState::ahead;
    // Frozen, what was replicated is sent again to the same generation. Where writes were not, the peer has
    // to be resynced anyway.
    const bool frozen = new_state.susp_nod || (new_state.susp_fen && replicate(old_state));
    if (contact_to_peer_data_lost(old_state.pdsk, new_state.pdsk) && (somebody_primary || was_ahead))
        return frozen ? NewCurrent::pending : NewCurrent::now;
    // Deviation: nor does a peer that was lost in the middle of a Primary's attach have what its users write
    // from then on; it may be without a disk, and have no data to lose contact with.
    if (old_state.disk == DiskState::negotiating && new_state.conn < ConnState::connected &&
        new_state.role == Role::primary)
        return NewCurrent::now;
    // D9
    const bool peer_promoted = old_state.peer != Role::primary && new_state.peer == Role::primary;
    if (new_state.pdsk < DiskState::inconsistent && peer_promoted) return NewCurrent::now;
    return NewCurrent::none;
}

NewGeneration new_generation_at_promotion(const State& state, const UuidSet& set, bool forced, bool own) {
    const bool alone = state.conn < ConnState::connected || state.pdsk <= DiskState::failed;
    if (forced || (alone && set.bitmap == 0)) return NewGeneration::from_current;
    return alone && !own ? NewGeneration::beside_bitmap : NewGeneration::none;
}

// ---- 5.2 --------------------------------------------------------------------------------------------------

namespace {

// The variants for protocols before 96 and 91 are left out: none is agreed that old.
static_assert(wire::protocol_min >= 96);

class Comparer {
  public:
    explicit Comparer(const CompareInput& input) : in_(input), s_(input.self), p_(input.peer) {
        out_.self = s_;
        out_.peer = p_;
    }

    Comparison run() {
        const bool decided =
            just_created() || same_current() || i_am_behind() || peer_is_behind() || went_apart();
        if (!decided) out_.result = compare_result::unrelated;
        return out_;
    }

  private:
    bool rule(unsigned number, int result) {
        out_.rule = number;
        out_.result = result;
        return true;
    }
    bool correcting_self(void (*correct)(UuidSet&)) {
        correct(out_.self);
        out_.self_corrected = true;
        return true;
    }
    bool correcting_peer(void (*correct)(UuidSet&)) {
        correct(out_.peer);
        out_.peer_corrected = true;
        return true;
    }

    // Rules 10, 20, 30
    bool just_created() {
        const bool self_fresh = is_fresh(s_.current);
        const bool peer_fresh = is_fresh(p_.current);
        if (self_fresh && peer_fresh) return rule(10, 0);
        if ((self_fresh || s_.current == 0) && !peer_fresh) return rule(20, -2);
        if (!self_fresh && (peer_fresh || p_.current == 0)) return rule(30, 2);
        return false;
    }

    // Rules 34 to 41
    bool same_current() {
        if (!same_generation(s_.current, p_.current)) return false;
        if (p_.bitmap == 0 && s_.bitmap != 0) {
            const bool peer_finished =
                same_generation(s_.bitmap, p_.history[0]) && same_generation(s_.history[0], p_.history[1]);
            if (!peer_finished) return rule(36, 1);
            rule(34, 1);
            return correcting_self(record_end_of_resync);
        }
        if (s_.bitmap == 0 && p_.bitmap != 0) {
            const bool self_finished =
                same_generation(s_.history[0], p_.bitmap) && same_generation(s_.history[1], p_.history[0]);
            if (!self_finished) return rule(37, -1);
            rule(35, -1);
            return correcting_peer(record_end_of_resync);
        }
        if (!in_.self_crashed_primary && !in_.peer_crashed_primary) return rule(40, 0);
        return in_.self_primary || in_.peer_primary ? crashed_under_a_primary() : crashed();
    }

    // Rule 41: the present Primary went on, frozen, after the crash.
    bool crashed_under_a_primary() {
        if ((in_.features & wire::feature::wsame) == 0) return rule(41, compare_result::needs_wsame);
        if (in_.self_primary && in_.peer_primary) return rule(41, -100);
        return rule(41, in_.self_primary ? 1 : -1);
    }

    // Rule 40: the data of who crashed as Primary are at least as new.
    bool crashed() {
        if (in_.self_crashed_primary && in_.peer_crashed_primary) return rule(40, in_.resolver ? -1 : 1);
        return rule(40, in_.self_crashed_primary ? 1 : -1);
    }

    // Rules 50, 51, 60
    bool i_am_behind() {
        if (same_generation(s_.current, p_.bitmap)) return rule(50, -1);
        if (same_generation(s_.current, p_.history[0]) && started_resync(p_)) {
            rule(51, -1);
            return correcting_peer(undo_start_of_resync);
        }
        return in_history(s_.current, p_) && rule(60, -2);
    }

    // Rules 70, 71, 80
    bool peer_is_behind() {
        if (same_generation(s_.bitmap, p_.current)) return rule(70, 1);
        if (same_generation(s_.history[0], p_.current) && started_resync(s_)) {
            rule(71, 1);
            return correcting_self(undo_start_of_resync);
        }
        return in_history(p_.current, s_) && rule(80, 2);
    }

    // Rules 90, 100. An empty history slot equals another: the kernel decides so, and both nodes must decide
    // the same.
    bool went_apart() {
        if (same_generation(s_.bitmap, p_.bitmap) && s_.bitmap != 0) return rule(90, 100);
        for (const uint64_t uuid : s_.history)
            if (in_history(uuid, p_)) return rule(100, -100);
        return false;
    }

    static bool in_history(uint64_t uuid, const UuidSet& set) {
        return same_generation(uuid, set.history[0]) || same_generation(uuid, set.history[1]);
    }
    // The bitmap UUID is the one that start_resync_source() makes of the newest history.
    static bool started_resync(const UuidSet& set) {
        return same_generation(without_role(set.history[0]) + sync_uuid_offset, set.bitmap);
    }

    const CompareInput& in_;
    const UuidSet& s_;
    const UuidSet& p_;
    Comparison out_;
};

}  // namespace

Comparison compare(const CompareInput& input) {
    return Comparer(input).run();
}

// ---- 5.4 --------------------------------------------------------------------------------------------------

std::string_view name_of(HandshakeHandler handler) {
    switch (handler) {
        case HandshakeHandler::none:
            return "";
        case HandshakeHandler::initial_split_brain:
            return "initial-split-brain";
        case HandshakeHandler::split_brain:
            return "split-brain";
        case HandshakeHandler::pri_lost:
            return "pri-lost";
        case HandshakeHandler::pri_lost_after_sb:
            return "pri-lost-after-sb";
    }
    ensure(false);
}

namespace {

class Handshake {
  public:
    explicit Handshake(const HandshakeInput& input) : in_(input) {}

    HandshakeOutcome run() {
        out_.decision = decide();
        return std::move(out_);
    }

  private:
    using Decision = HandshakeDecision;

    // hg_ > 0: this node is source; < 0: target.
    Decision decide() {
        compare_sets();
        if (!are_comparable()) return Decision::fail;
        let_disk_states_decide();
        if (std::abs(hg_) == 100) run_handler(HandshakeHandler::initial_split_brain);
        if (hg_ == 100 || (hg_ == -100 && in_.always_asbp)) {
            if (!let_policies_decide()) return Decision::try_demote;
        }
        if (hg_ == -100) let_discard_my_data_decide();
        if (hg_ == -100) {
            log(LogLevel::alert, "Split-Brain detected but unresolved, dropping connection!");
            run_handler(HandshakeHandler::split_brain);
            return Decision::fail;
        }
        if (!may_become_source() || !may_become_target()) return Decision::fail;
        if (in_.tentative || in_.peer_dry_run) return report_dry_run();
        return go();
    }

    void compare_sets() {
        log(LogLevel::info, "drbd_sync_handshake:");
        // The kernel shows no flags of its own here.
        log(LogLevel::info, fmt::format("self {} bits:{} flags:0", text_of(in_.uuids.self), in_.own_changes));
        log(LogLevel::info, fmt::format("peer {} bits:{} flags:{}", text_of(in_.uuids.peer), in_.peer_changes,
                                        in_.peer_flags));
        out_.comparison = compare(in_.uuids);
        const Comparison& found = out_.comparison;
        hg_ = found.result;
        log(LogLevel::info, fmt::format("uuid_compare()={} by rule {}", hg_, found.rule));
        if (found.self_corrected)
            log(LogLevel::info, fmt::format("corrected own UUIDs {}", text_of(found.self)));
        if (found.peer_corrected)
            log(LogLevel::info, fmt::format("corrected peer's UUIDs {}", text_of(found.peer)));
    }

    bool are_comparable() {
        if (hg_ == compare_result::unrelated) {
            log(LogLevel::alert, "Unrelated data, aborting!");
            return false;
        }
        if (hg_ == compare_result::needs_wsame) {
            log(LogLevel::alert,
                fmt::format("To resolve this both sides have to support at least protocol {} "
                            "and feature flags 0x{:x}",
                            101, wire::feature::wsame));
            return false;
        }
        return true;
    }

    // An Inconsistent disk is no source, whatever the generations say.
    void let_disk_states_decide() {
        const bool source =
            in_.own_disk > DiskState::inconsistent && in_.peer_disk == DiskState::inconsistent;
        const bool target =
            in_.own_disk == DiskState::inconsistent && in_.peer_disk > DiskState::inconsistent;
        if (!source && !target) return;
        const bool full = hg_ == -100 || std::abs(hg_) == 2;
        hg_ = (source ? 1 : -1) * (full ? 2 : 1);
        log(LogLevel::info,
            fmt::format("Becoming sync {} due to disk states.", source ? "source" : "target"));
    }

    // False: a demotion has to be tried first.
    bool let_policies_decide() {
        const SplitBrainInput question{
            .after_sb_0pri = in_.after_sb_0pri,
            .after_sb_1pri = in_.after_sb_1pri,
            .after_sb_2pri = in_.after_sb_2pri,
            .self_primary = in_.uuids.self_primary,
            .peer_primary = in_.uuids.peer_primary,
            .self_was_primary = (in_.uuids.self.bitmap & 1) != 0,
            .peer_was_primary = (in_.uuids.peer.bitmap & 1) != 0,
            .own_changes = in_.own_changes,
            .peer_changes = in_.peer_changes,
            .resolver = in_.uuids.resolver,
            .demotion = in_.demotion,
        };
        const SplitBrainVerdict verdict = decide_split_brain(question);
        if (verdict.decision == SplitBrainDecision::try_demote) return false;
        // The first answer had all steps up to here.
        if (in_.demotion != Demotion::not_tried) out_.steps.clear();
        apply(verdict);
        return true;
    }

    void apply(const SplitBrainVerdict& verdict) {
        if (verdict.configuration_error)
            log(LogLevel::error,
                "Configuration error: after-sb policy not valid for this number of primaries.");
        if (verdict.fell_back_to_changes)
            log(LogLevel::warning,
                "Discard younger/older primary did not find a decision; using discard-least-changes instead");
        if (verdict.pri_lost_after_sb) run_handler(HandshakeHandler::pri_lost_after_sb);
        const bool ambiguous = hg_ == -100;
        if (verdict.decision == SplitBrainDecision::unsolved) {
            hg_ = -100;
            return;
        }
        hg_ = verdict.decision == SplitBrainDecision::become_source ? 1 : -1;
        log(LogLevel::warning,
            fmt::format("Split-Brain detected, {} primaries, automatically solved. Sync from {} node",
                        int{in_.uuids.self_primary} + int{in_.uuids.peer_primary}, source_name()));
        if (ambiguous) {
            log(LogLevel::warning, "Doing a full sync, since UUIDs where ambiguous.");
            hg_ *= 2;
        }
    }

    void let_discard_my_data_decide() {
        const bool peer_discard_mine = (in_.peer_flags & wire::Uuids::flag_discard_my_data) != 0;
        if (in_.own_discard_mine == peer_discard_mine) return;
        hg_ = in_.own_discard_mine ? -1 : 1;
        log(LogLevel::warning,
            fmt::format("Split-Brain detected, manually solved. Sync from {} node", source_name()));
    }

    bool may_become_source() {
        if (hg_ <= 0 || in_.own_disk > DiskState::inconsistent) return true;
        log(LogLevel::error, "I shall become SyncSource, but I am inconsistent!");
        return false;
    }

    bool may_become_target() {
        const bool primary = in_.uuids.self_primary && in_.demotion != Demotion::succeeded;
        if (hg_ >= 0 || !primary || in_.actual_own_disk < DiskState::consistent) return true;
        switch (in_.rr_conflict) {
            case config::RrConflict::violently:
                log(LogLevel::alert, "Becoming SyncTarget, violating the stable-data assumption!");
                return true;
            case config::RrConflict::call_pri_lost:
                run_handler(HandshakeHandler::pri_lost);
                [[fallthrough]];
            case config::RrConflict::disconnect:
                log(LogLevel::error, "I shall become SyncTarget, but I am primary!");
                return false;
        }
        ensure(false);
    }

    Decision report_dry_run() {
        if (hg_ == 0) {
            log(LogLevel::info, "dry-run connect: No resync, would become Connected immediately.");
        } else {
            log(LogLevel::info, fmt::format("dry-run connect: Would become {}, doing a {} resync.",
                                            hg_ > 0 ? "SyncSource" : "SyncTarget",
                                            std::abs(hg_) >= 2 ? "full" : "bit-map based"));
        }
        return Decision::fail;
    }

    Decision go() {
        out_.full_sync = std::abs(hg_) >= 2;
        if (out_.full_sync)
            log(LogLevel::info, "Writing the whole bitmap, full sync required after drbd_sync_handshake.");
        if (hg_ > 0) return Decision::wf_bitmap_s;
        if (hg_ < 0) return Decision::wf_bitmap_t;
        if (in_.bits_set != 0)
            log(LogLevel::info, fmt::format("No resync, but {} bits in bitmap!", in_.bits_set));
        return Decision::connected;
    }

    std::string_view source_name() const { return hg_ > 0 ? "this" : "peer"; }
    void log(LogLevel level, std::string line) {
        out_.steps.push_back({.handler = HandshakeHandler::none, .level = level, .line = std::move(line)});
    }
    void run_handler(HandshakeHandler handler) {
        out_.steps.push_back({.handler = handler, .level = LogLevel::info, .line = {}});
    }

    const HandshakeInput& in_;
    int hg_ = 0;
    HandshakeOutcome out_;
};

}  // namespace

HandshakeOutcome resync_handshake(const HandshakeInput& input) {
    return Handshake(input).run();
}

}  // namespace duplex::engine
