// Two nodes that write, lose each other, crash and resynchronise at random, on the operations of states 5
// alone. At every step both nodes' comparisons must be mirror images (invariant I34 of states 22); every
// handshake must end alike on both (I38); and what the nodes conclude must be true of their data (I33, I42).
#include <array>
#include <bitset>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.hpp"
#include "engine/generations.hpp"

namespace duplex::engine {
namespace {

constexpr size_t block_count = 6;

struct Node {
    UuidSet uuids;
    UuidSet peers_uuids;  // our copy
    DiskState disk = DiskState::inconsistent;
    bool up = true;
    bool primary = false;
    bool crashed_primary = false;
    std::array<uint64_t, block_count> data{};
    std::bitset<block_count> bits;

    Role role() const { return primary ? Role::primary : Role::secondary; }
};

enum class Phase : uint8_t { none, bitmap, source_started, running, target_finished };

std::string without_roles(UuidSet set) {
    for (uint64_t* uuid : {&set.current, &set.bitmap, &set.history[0], &set.history[1]})
        *uuid = without_role(*uuid);
    return text_of(set);
}

class Walk {
  public:
    explicit Walk(uint64_t seed) : random_(seed) {
        node(0).bits.set();
        node(1).bits.set();
        for (Node& n : nodes_)
            for (uint64_t& block : n.data) block = random_.next();  // what the disks happened to hold
    }

    void run(unsigned steps) {
        for (unsigned i = 0; i < steps && !::testing::Test::HasFailure(); ++i) {
            step();
            check_mirror();
        }
        if (::testing::Test::HasFailure())
            for (const std::string& line : log_) std::cerr << line << '\n';
    }

    std::map<unsigned, unsigned> rules_seen;
    std::map<HandshakeDecision, unsigned> decisions_seen;

  private:
    Node& node(size_t index) { return nodes_.at(index); }
    Node& peer_of(size_t index) { return nodes_.at(1 - index); }

    void note(const std::string& what) {
        log_.push_back(what + "  a " + text_of(nodes_[0].uuids) + "  b " + text_of(nodes_[1].uuids));
    }

    void step() {
        const size_t n = random_.below(2);
        switch (random_.below(12)) {
            case 0:
            case 1:
                return write(n);
            case 2:
                return node(n).primary ? demote(n) : promote(n, random_.chance(2));
            case 3:
                return connected_ && random_.chance(60) ? cut() : void();
            case 4:
            case 5:
                return connect();
            case 6:
            case 7:
            case 8:
                return advance();
            case 9:
                return node(n).up && random_.chance(20) ? crash(n) : void();
            case 10:
                return node(n).up ? keep_backup(n) : restart(n);
            case 11:
                return random_.chance(10) ? invalidate(n) : void();
            default:
                return;
        }
    }

    // The state word of a node, as far as the rules of the generations look at it.
    State state_of(size_t n) const {
        const Node& self = nodes_.at(n);
        const Node& peer = nodes_.at(1 - n);
        State s{.role = self.role(), .peer = peer.role(), .disk = self.disk, .pdsk = peer.disk};
        const bool source = n == source_;
        if (!connected_) {
            s.conn = ConnState::wf_connection;
        } else if (phase_ == Phase::none) {
            s.conn = ConnState::connected;
        } else if (phase_ == Phase::bitmap) {
            s.conn = source ? ConnState::wf_bitmap_s : ConnState::wf_bitmap_t;
        } else if (phase_ == Phase::source_started) {
            s.conn = source ? ConnState::sync_source : ConnState::wf_sync_uuid;
        } else if (phase_ == Phase::running) {
            s.conn = source ? ConnState::sync_source : ConnState::sync_target;
        } else {
            s.conn = source ? ConnState::sync_source : ConnState::connected;
        }
        return sanitise(s, s, {}).state;
    }

    void write(size_t n) {
        Node& self = node(n);
        if (!self.up || !self.primary || self.disk != DiskState::up_to_date) return;
        const size_t block = random_.below(block_count);
        const uint64_t value = random_.next();
        self.data.at(block) = value;
        const bool delivered = connected_ && (phase_ == Phase::none || phase_ == Phase::running ||
                                              phase_ == Phase::target_finished);
        if (delivered) {
            peer_of(n).data.at(block) = value;
        } else {
            self.bits.set(block);
            if (connected_ && phase_ == Phase::bitmap) peer_of(n).bits.set(block);  // P_OUT_OF_SYNC
        }
    }

    void promote(size_t n, bool forced) {
        Node& self = node(n);
        if (!self.up || (connected_ && (peer_of(n).primary || phase_ != Phase::none))) return;
        if (forced && (connected_ || self.disk == DiskState::up_to_date)) forced = false;
        const bool initial =
            connected_ && self.disk == DiskState::inconsistent && peer_of(n).disk == DiskState::inconsistent;
        if (initial) forced = true;
        if (self.disk != DiskState::up_to_date && !forced) return;
        if (forced) self.disk = DiskState::up_to_date;
        self.primary = true;
        if (new_generation_at_promotion(state_of(n), self.uuids, forced, true) == NewGeneration::from_current)
            new_current_uuid(self.uuids, random_.next(), Role::primary);
        set_current(self.uuids, self.uuids.current, Role::primary);
        note((forced ? "force " : "promote ") + std::to_string(n));
        if (initial) handshake();  // states 7.2
    }

    void demote(size_t n) {
        if (!node(n).up) return;
        node(n).primary = false;
        set_current(node(n).uuids, node(n).uuids.current, Role::secondary);
    }

    void cut() {
        std::array<State, 2> before{state_of(0), state_of(1)};
        connected_ = false;
        phase_ = Phase::none;
        for (size_t n = 0; n < 2; ++n) {
            State lost = before.at(n);
            lost.conn = ConnState::network_failure;
            const State after = sanitise(before.at(n), lost, {}).state;
            node(n).disk = after.disk;
            if (node(n).up && new_current_due(before.at(n), after, node(n).uuids) == NewCurrent::now)
                new_current_uuid(node(n).uuids, random_.next(), node(n).role());
        }
        note("cut");
    }

    // A power failure, with a write of a Primary in flight.
    void crash(size_t n) {
        for (size_t writer = 0; writer < 2; ++writer) {
            Node& self = node(writer);
            if (!self.up || !self.primary || self.disk != DiskState::up_to_date) continue;
            const size_t block = random_.below(block_count);
            const uint64_t value = random_.next();
            const bool replicates = connected_ && (phase_ == Phase::none || phase_ == Phase::running);
            if (writer != n || random_.chance(50)) self.data.at(block) = value;
            if (replicates && random_.chance(50)) peer_of(writer).data.at(block) = value;
            self.bits.set(block);  // by apply-al here, by the clean-up of the transfer log there
        }
        if (node(n).primary) node(n).crashed_primary = true;
        node(n).up = false;
        if (connected_) cut();
        node(n).primary = false;
        note("crash " + std::to_string(n));
    }

    void keep_backup(size_t n) {
        if (random_.chance(5)) backups_.at(n) = node(n);
    }

    void restart(size_t n) {
        node(n).up = true;
        set_current(node(n).uuids, node(n).uuids.current, Role::secondary);
        note("restart " + std::to_string(n));
    }

    // What create-md and the first attach leave.
    void make_fresh(size_t n) {
        Node created;
        created.data = node(n).data;
        created.bits.set();
        node(n) = created;
        note("create-md " + std::to_string(n));
    }

    CompareInput compare_input(size_t n) const {
        const Node& self = nodes_.at(n);
        const Node& peer = nodes_.at(1 - n);
        return {.self = self.uuids,
                .peer = peer.uuids,
                .self_crashed_primary = self.crashed_primary,
                .peer_crashed_primary = peer.crashed_primary,
                .self_primary = self.primary,
                .peer_primary = peer.primary,
                .resolver = n == resolver_};
    }

    void check_mirror() {
        const CompareInput at_a = compare_input(0), at_b = compare_input(1);
        check_mirror(at_a, at_b);
        // An old disk image, restored behind the nodes' backs (example E6).
        check_mirror({.self = backups_[0].uuids, .peer = at_a.peer},
                     {.self = at_a.peer, .peer = backups_[0].uuids});
    }

    void check_mirror(const CompareInput& at_a, const CompareInput& at_b) {
        const Comparison a = compare(at_a), b = compare(at_b);
        ++rules_seen[a.rule];
        ++rules_seen[b.rule];
        const bool alike = a.result == 100 || a.result == -100 || a.result == -1000;
        EXPECT_EQ(b.result, alike ? a.result : -a.result)
            << text_of(at_a.self) << " rule " << a.rule << ", " << text_of(at_b.self) << " rule " << b.rule;
    }

    void connect() {
        if (connected_ || !node(0).up || !node(1).up) return;
        if (node(0).primary && node(1).primary) return;
        resolver_ = random_.below(2);
        connected_ = true;
        handshake();
        if (connected_ || ambiguous_ == 0) return;
        // Only a new set of meta data helps where the histories differ.
        if (++ambiguous_ < 5) return;
        const size_t loser = node(0).primary ? 1 : random_.below(2);
        if (!node(loser).primary) make_fresh(loser);
        ambiguous_ = 0;
    }

    HandshakeOutcome decide(size_t n, size_t discarding) {
        const Node& self = node(n);
        const Node& peer = peer_of(n);
        return resync_handshake({.uuids = compare_input(n),
                                 .own_disk = self.disk,
                                 .actual_own_disk = self.disk,
                                 .peer_disk = peer.disk,
                                 .own_discard_mine = discarding == n,
                                 .peer_flags = discarding == 1 - n ? wire::Uuids::flag_discard_my_data : 0,
                                 .own_changes = self.bits.count(),
                                 .peer_changes = peer.bits.count(),
                                 .bits_set = self.bits.count()});
    }

    void handshake() {
        for (size_t n = 0; n < 2; ++n) node(n).peers_uuids = node(1 - n).uuids;
        // A discard-my-data after rule 100 trusts bitmaps that count from different generations
        // (states 23.8).
        const Comparison found = compare(compare_input(0));
        const bool split = found.result == 100;
        const size_t candidate = random_.below(2);
        const size_t discarding = split && !node(candidate).primary ? candidate : 2;
        const std::array<HandshakeOutcome, 2> outcome{decide(0, discarding), decide(1, discarding)};
        for (size_t n = 0; n < 2; ++n) {
            ++decisions_seen[outcome.at(n).decision];
            if (outcome.at(n).comparison.self_corrected) node(n).uuids = outcome.at(n).comparison.self;
            if (outcome.at(n).comparison.peer_corrected) node(n).peers_uuids = outcome.at(n).comparison.peer;
        }
        note("handshake rule " + std::to_string(found.rule));
        using enum HandshakeDecision;
        const auto is = [&](HandshakeDecision at_0, HandshakeDecision at_1) {
            return outcome[0].decision == at_0 && outcome[1].decision == at_1;
        };
        if (outcome[0].decision == fail || outcome[1].decision == fail) {
            ambiguous_ += found.result == -100 || found.result == -1000;
            connected_ = false;
            return;
        }
        if (is(connected, connected)) return become_connected();
        EXPECT_TRUE(is(wf_bitmap_s, wf_bitmap_t) || is(wf_bitmap_t, wf_bitmap_s));
        EXPECT_EQ(outcome[0].full_sync, outcome[1].full_sync);
        source_ = outcome[0].decision == wf_bitmap_s ? 0 : 1;
        if (outcome[0].full_sync)
            for (Node& n : nodes_) n.bits.set();
        const std::bitset<block_count> merged = node(0).bits | node(1).bits;
        node(0).bits = node(1).bits = merged;
        phase_ = Phase::bitmap;
        // As the window of the states demands.
        for (size_t n = 0; n < 2; ++n) node(n).disk = state_of(n).disk;
    }

    void become_connected() {
        for (size_t n = 0; n < 2; ++n) {
            node(n).disk = state_of(n).disk;
            if (state_of(n).disk == DiskState::up_to_date && state_of(n).pdsk == DiskState::up_to_date)
                node(0).crashed_primary = node(1).crashed_primary = false;
        }
        if (node(0).disk != DiskState::up_to_date || node(1).disk != DiskState::up_to_date) return;
        for (size_t block = 0; block < block_count; ++block) {
            if (node(0).bits.test(block) || node(1).bits.test(block)) continue;
            EXPECT_EQ(node(0).data.at(block), node(1).data.at(block)) << "block " << block;
        }
    }

    void advance() {
        Node& source = node(source_);
        Node& target = node(1 - source_);
        switch (phase_) {
            case Phase::none:
                return;
            case Phase::bitmap:
                sync_uuid_ = start_resync_source(source.uuids, random_.next());
                phase_ = Phase::source_started;
                return note("source starts");
            case Phase::source_started:
                start_resync_target(target.uuids, sync_uuid_, target.role());
                target.disk = DiskState::inconsistent;
                // What was written meanwhile was queued behind P_SYNC_UUID.
                target.bits |= source.bits;
                phase_ = Phase::running;
                return note("target starts");
            case Phase::running:
                if (resync_a_block()) return;
                finish_resync_target(target.uuids, target.peers_uuids, target.role());
                target.disk = DiskState::up_to_date;
                target.crashed_primary = false;
                phase_ = Phase::target_finished;
                return note("target finishes");
            case Phase::target_finished:
                finish_resync_source(source.uuids, source.peers_uuids);
                phase_ = Phase::none;
                note("source finishes");
                EXPECT_EQ(without_roles(source.uuids), without_roles(target.uuids));
                return become_connected();
        }
    }

    bool resync_a_block() {
        Node& source = node(source_);
        Node& target = node(1 - source_);
        for (size_t block = 0; block < block_count; ++block) {
            if (!source.bits.test(block) && !target.bits.test(block)) continue;
            target.data.at(block) = source.data.at(block);
            source.bits.reset(block);
            target.bits.reset(block);
            return true;
        }
        return false;
    }

    void invalidate(size_t n) {
        if (!connected_ || phase_ != Phase::none || node(n).primary) return;
        if (node(0).disk != DiskState::up_to_date || node(1).disk != DiskState::up_to_date) return;
        source_ = 1 - n;
        for (Node& each : nodes_) each.bits.set();
        phase_ = Phase::source_started;
        sync_uuid_ = start_resync_source(node(source_).uuids, random_.next());
        node(n).disk = state_of(n).disk;
        note("invalidate " + std::to_string(n));
    }

    Random random_;
    std::array<Node, 2> nodes_;
    std::array<Node, 2> backups_;
    bool connected_ = false;
    Phase phase_ = Phase::none;
    size_t source_ = 0;
    size_t resolver_ = 0;
    uint64_t sync_uuid_ = 0;
    unsigned ambiguous_ = 0;
    std::vector<std::string> log_;
};

TEST(GenerationsWalk, TwoNodesAgreeWhateverHappened) {
    std::map<unsigned, unsigned> rules;
    std::map<HandshakeDecision, unsigned> decisions;
    for (uint64_t seed = 1; seed <= 1000 && !HasFailure(); ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        Walk walk(seed);
        walk.run(400);
        for (const auto& [rule, count] : walk.rules_seen) rules[rule] += count;
        for (const auto& [decision, count] : walk.decisions_seen) decisions[decision] += count;
    }
    // The walk reaches what it is meant to test.
    for (const unsigned rule :
         {10u, 20u, 30u, 34u, 35u, 36u, 37u, 40u, 50u, 51u, 60u, 70u, 71u, 80u, 90u, 100u})
        EXPECT_GT(rules[rule], 0u) << "rule " << rule;
    using enum HandshakeDecision;
    for (const HandshakeDecision decision : {connected, wf_bitmap_s, wf_bitmap_t, fail})
        EXPECT_GT(decisions[decision], 1000u);
}

}  // namespace
}  // namespace duplex::engine
