#include "sim/checker.hpp"

#include <cstdlib>

#include "engine/states.hpp"

namespace duplex::sim {

using engine::ConnState;
using engine::DiskState;
using engine::Role;
using engine::State;

namespace {

constexpr uint64_t divergence_check_interval_us = 300'000;

bool is_target(ConnState conn) {
    return conn == ConnState::sync_target || conn == ConnState::paused_sync_t;
}

bool syncs(ConnState conn) {
    return conn == ConnState::sync_source || conn == ConnState::paused_sync_s || is_target(conn);
}

}  // namespace

bool Checker::connected(unsigned side) const {
    return nodes_[side]->state(volume_).conn >= ConnState::connected;
}

bool Checker::in_contact(unsigned side) const {
    const State s = nodes_[side]->state(volume_);
    return s.conn == ConnState::connected && s.disk == DiskState::up_to_date &&
           s.pdsk == DiskState::up_to_date;
}

// pdsk alone does not tell: a peer that has died, or has parted, is UpToDate until this node notices. A sync
// target that is Primary then still reads from its own disk, and what it reads may be a write that died with
// the peer's application before the peer's disk had it.
bool Checker::has_good_data(unsigned side) const {
    const State s = nodes_[side]->state(volume_);
    const State peer = nodes_[1 - side]->state(volume_);
    const bool peers = s.pdsk == DiskState::up_to_date && nodes_[1 - side]->running() &&
                       peer.disk == DiskState::up_to_date && peer.conn >= ConnState::connected;
    return s.disk == DiskState::up_to_date || peers;
}

bool Checker::serves_requests(unsigned side) const {
    const Node& node = *nodes_[side];
    return node.state(volume_).disk == DiskState::up_to_date && node.state(volume_).role == Role::primary &&
           node.data_disk(volume_).broken.percent == 0;
}

bool Checker::may_have_lost_writes(unsigned side) const {
    const Seen& seen = seen_[side];
    const State s = nodes_[side]->state(volume_);
    return (seen.relied_on_peer || s.disk < DiskState::up_to_date) &&
           (seen.lost_what_it_relied_on || s.conn < ConnState::connected);
}

Oracle::Completion Checker::completion(unsigned side) const {
    const Node& node = *nodes_[side];
    const Node& peer = *nodes_[1 - side];
    Oracle::Completion c{};
    c.node = side;
    c.own_disk_good = node.state(volume_).disk == DiskState::up_to_date;
    c.own_disk_usable = c.own_disk_good && node.data_disk(volume_).broken.percent == 0;
    c.peer_disk_usable = peer.running() && peer.state(volume_).disk == DiskState::up_to_date &&
                         peer.state(volume_).conn == ConnState::connected &&
                         peer.data_disk(volume_).broken.percent == 0;
    c.connected = connected(side);
    c.in_contact = in_contact(side);
    c.session = session(side);
    c.asynchronous = scenario_.net.protocol != config::Protocol::c;
    return c;
}

bool Checker::no_good_data() const {
    return nodes_[0]->state(volume_).disk == DiskState::inconsistent &&
           nodes_[1]->state(volume_).disk == DiskState::inconsistent;
}

bool Checker::all_in_sync() const {
    for (const Node* node : nodes_) {
        const State s = node->state(volume_);
        if (!node->running() || s.conn != ConnState::connected || s.disk != DiskState::up_to_date ||
            s.pdsk != DiskState::up_to_date)
            return false;
    }
    return true;
}

// ---- the state word
// ------------------------------------------------------------------------------------------------

void Checker::check_state(const Node& node) const {
    const State s = node.state(volume_);
    const auto fails = [&](const char* invariant, const char* what) {
        verdict_.fail("{}: node {}: {}: {}", invariant, node.side(), what, engine::describe(s));
    };
    const engine::Sanitised fixed = engine::sanitise(s, s, node.device(volume_)->context());
    if (!(fixed.state == s)) fails("I1", "the state is not a fixed point of sanitising");
    const ConnState connection = node.connection_state();
    if (connection > ConnState::wf_report_params) fails("I5", "no state of a connection");
    if (s.conn >= ConnState::connected && connection != ConnState::wf_report_params)
        fails("I5", "connected over a connection that is not");
    if (connection < ConnState::wf_report_params && s.conn != connection)
        fails("I5", "does not follow its connection");
    if (s.conn < ConnState::connected) {
        if (s.peer != Role::unknown || s.peer_isp) fails("I2", "knows of the peer without a connection");
        if (s.pdsk != DiskState::inconsistent && s.pdsk != DiskState::outdated &&
            s.pdsk != DiskState::d_unknown)
            fails("I2", "claims to know the peer's disk without a connection");
    }
    const bool paused = s.conn == ConnState::paused_sync_s || s.conn == ConnState::paused_sync_t;
    if (syncs(s.conn) && paused != engine::has_isp(s))
        fails("I3", "pause flags do not fit the connection state");
    if (s.conn > ConnState::connected && (s.disk <= DiskState::failed || s.pdsk <= DiskState::failed))
        fails("I4", "a resync without a disk");
    if (s.disk == DiskState::d_unknown) fails("I4", "the own disk is unknown");
    const ConnState before = node.state(0).conn;
    const bool waits = scenario_.resync_after && volume_ > 0 && before >= ConnState::sync_source &&
                       before <= ConnState::paused_sync_t;
    if (waits && (s.conn == ConnState::sync_source || s.conn == ConnState::sync_target))
        fails("I46", "a resync that is to come after volume 0");
    if (s.disk == DiskState::negotiating && s.conn < ConnState::connected)
        fails("I10", "negotiates with nobody");
    if (s.role != Role::primary && node.device(volume_)->is_primary())
        fails("I9", "open to its users while not Primary");
    if (seen_[node.side()].state.disk == DiskState::outdated && s.disk == DiskState::up_to_date &&
        s.conn == ConnState::connected && s.pdsk < DiskState::inconsistent && s.role == Role::secondary &&
        s.peer == Role::secondary)
        fails("I12", "an outdated disk has become up to date before a Secondary without a disk");
    const Result<meta::Superblock> stored = node.meta_data(volume_).superblock();
    if (!stored) return fails("meta data", stored.error().text.c_str());
    const bool durable = scenario_.disk.md_flushes;
    if (durable && node.device(volume_)->is_primary() && s.disk >= DiskState::inconsistent &&
        node.device(volume_)->disk && !node.device(volume_)->disk->meta_io.dirty() &&
        !stored->has(meta::flag::primary_ind))
        fails("I16", "open to its users, but stable storage does not say Primary");
    if (durable) check_stored(node, *stored);
}

// What stable storage says of the disk; looked at when nothing is on its way there.
void Checker::check_stored(const Node& node, const meta::Superblock& stored) const {
    const State s = node.state(volume_);
    const Seen& seen = seen_[node.side()];
    const bool settled = node.device(volume_)->disk && !node.device(volume_)->disk->meta_io.dirty();
    if (settled && is_target(s.conn) && s.disk == DiskState::inconsistent &&
        stored.has(meta::flag::consistent))
        verdict_.fail("I14: node {}: sync target, and stable storage calls its disk consistent", node.side());
    const auto outdated = [](uint32_t flags) {
        return (flags & meta::flag::consistent) && !(flags & meta::flag::was_up_to_date);
    };
    const bool alone = s.conn < ConnState::wf_report_params && seen.state.conn < ConnState::wf_report_params;
    if (alone && s.disk >= DiskState::inconsistent && seen.state.disk >= DiskState::inconsistent &&
        outdated(seen.stored_flags) && stored.has(meta::flag::was_up_to_date))
        verdict_.fail("I15: node {}: an outdated disk has become up to date without the peer", node.side());
}

void Checker::check_generations(const Node& node) const {
    const engine::Device* target = node.device(volume_);
    const engine::Device* source = nodes_[1 - node.side()]->device(volume_);
    if (!target || !source || !target->disk || !source->disk) return;
    if (!is_target(target->state().conn) || target->state().disk != DiskState::inconsistent) return;
    if (target->uuids().bitmap != 0)
        verdict_.fail("I36: node {}: sync target with the bitmap UUID {:016X}", node.side(),
                      target->uuids().bitmap);
    const ConnState other = source->state().conn;
    if (other != ConnState::sync_source && other != ConnState::paused_sync_s) return;
    if (!engine::same_generation(target->uuids().current, source->uuids().bitmap))
        verdict_.fail("I36: node {}: sync target of {}, but its source syncs from {}", node.side(),
                      engine::text_of(target->uuids()), engine::text_of(source->uuids()));
}

void Checker::check_size(const Node& node) {
    Seen& seen = seen_[node.side()];
    const engine::Device* device = node.device(volume_);
    const State s = node.state(volume_);
    if (!device->disk) return;
    if (device->size_sectors() > node.data_disk(volume_).limits().size_sectors)
        verdict_.fail("I53: node {}: {} sectors on a disk of {}", node.side(), device->size_sectors(),
                      node.data_disk(volume_).limits().size_sectors);
    if (s.conn < ConnState::connected && s.disk >= DiskState::outdated &&
        device->size_sectors() < seen.size_sectors)
        verdict_.fail("I53: node {}: has shrunk from {} to {} sectors without the peer", node.side(),
                      seen.size_sectors, device->size_sectors());
    seen.size_sectors = device->size_sectors();
}

// ---- what the states mean
// -----------------------------------------------------------------------------------------------

void Checker::after_run(Node& node) {
    if (verdict_.failed()) return;
    check_state(node);
    check_generations(node);
    check_size(node);
    follow(node);
    if (const Result<meta::Superblock> stored = node.meta_data(volume_).superblock())
        seen_[node.side()].stored_flags = stored->flags;
    const State a = nodes_[0]->state(volume_);
    const State b = nodes_[1]->state(volume_);
    if (!scenario_.net.allow_two_primaries && a.role == Role::primary && b.role == Role::primary &&
        a.conn >= ConnState::connected && b.conn >= ConnState::connected)
        verdict_.fail("I8: both nodes are Primary and connected without allow-two-primaries");
    if (scheduler_.now_us() >= next_divergence_check_us_) {
        next_divergence_check_us_ = scheduler_.now_us() + divergence_check_interval_us;
        check_divergence();
    }
}

void Checker::follow(Node& node) {
    const unsigned side = node.side();
    Node& peer = *nodes_[1 - side];
    Seen& seen = seen_[side];
    const State now = node.state(volume_);
    const State was = seen.state;
    const bool open = node.device(volume_) && node.device(volume_)->is_primary();
    const bool was_open = seen.open_to_users;
    seen.state = now;
    seen.open_to_users = open;
    if (!serves_requests(side)) ++seen.interruptions;
    if (!in_contact(side)) seen.in_contact_since = oracle_.now();
    seen.relied_on_peer |= open && now.disk < DiskState::up_to_date;
    seen.lost_what_it_relied_on |= seen.relied_on_peer && now.conn < ConnState::connected;
    if (was.conn >= ConnState::connected && now.conn < ConnState::connected) {
        ++seen.session;
        resynced_ = false;
        const bool both =
            oracle_.founded() && open && peer.device(volume_) && peer.device(volume_)->is_primary();
        if (both) oracle_.parted();
        // Its attach was cut off, and it goes on with what its own disk has (states 2.5, S4), not with what
        // the peer wrote meanwhile.
        if (oracle_.founded() && open && was.disk == DiskState::negotiating &&
            now.disk == DiskState::up_to_date)
            oracle_.promoted_alone(side);
    }
    if (now.conn < ConnState::wf_report_params) seen.gives_in = false;
    if (was.role == Role::primary && now.role == Role::primary && was.disk >= DiskState::consistent &&
        was.conn < ConnState::connected && now.conn == ConnState::wf_bitmap_t &&
        scenario_.net.rr_conflict != config::RrConflict::violently)
        verdict_.fail("node {}: a Primary becomes sync target, against rr-conflict", side);
    follow_congestion(side, was, now);
    // The way from one connection to the next waits for what came over the old one.
    if (now.conn == ConnState::stand_alone || now.conn == ConnState::unconnected ||
        now.conn == ConnState::wf_connection)
        oracle_.drained(side);
    // Marks what it finds, and what it cannot read; no resync follows (states 13).
    if (now.conn == ConnState::verify_s || now.conn == ConnState::verify_t) resynced_ = false;
    if (!oracle_.founded()) return;
    if (!open && was.disk <= DiskState::attaching && now.disk >= DiskState::inconsistent)
        oracle_.attached(side);
    const bool peer_uses_this_disk = now.conn >= ConnState::connected && now.peer == Role::primary;
    if (open && !was_open && !peer_uses_this_disk &&
        (now.conn < ConnState::connected || now.pdsk <= DiskState::failed) &&
        now.disk == DiskState::up_to_date)
        oracle_.promoted_alone(side);
    if (open && !was_open && now.conn >= ConnState::connected && now.disk <= DiskState::failed &&
        now.pdsk == DiskState::up_to_date) {
        if (peer.state(volume_).role != Role::primary) oracle_.promoted_alone(1 - side);
        oracle_.follow_other(side);
    }
    // One of the two goes on without the other: as Primary, or as the disk of a diskless one.
    if ((open || was_open) && (now.conn < ConnState::connected || now.pdsk <= DiskState::failed))
        oracle_.primary_alone(side);
    else if (open && now.disk <= DiskState::failed)
        oracle_.primary_alone(1 - side);
    // A Primary without a disk may have been there for a moment only, and taken nothing.
    if (now.conn >= ConnState::connected && now.peer == Role::primary && now.pdsk <= DiskState::failed)
        oracle_.primary_alone(side);
    if (open && was_open && now.disk < DiskState::up_to_date && was.pdsk != DiskState::up_to_date &&
        now.pdsk == DiskState::up_to_date) {
        // What the only disk lost with its power is lost, and under protocol A and B what was on its way
        // there.
        oracle_.settle(1 - side);
        oracle_.follow_other(side);
    }
    // After an I/O error with pass_on the disk's data count for nothing any more.
    if (was.disk == DiskState::up_to_date && now.disk == DiskState::inconsistent && !is_target(now.conn))
        oracle_.discard_ordered(side);
    if (is_target(now.conn) && !is_target(was.conn)) {
        ++resyncs_;
        // The configuration has the administrator's word for it.
        if (seen.gives_in) oracle_.discard_ordered(side);
        oracle_.resync_started(1 - side, side);
    }
    if (is_target(was.conn) && now.conn == ConnState::connected && now.disk == DiskState::up_to_date) {
        resynced_ = true;
        oracle_.resync_finished(1 - side, side);
    }
    // What was frozen is sent again when all volumes are connected (states 2.8, D3 and D4); until then this
    // is not quiet.
    const auto suspended = [](const State& s) { return s.susp_nod || s.susp_fen; };
    const bool frozen = scenario_.volumes > 1 &&
                        (suspended(nodes_[0]->state(volume_)) || suspended(nodes_[1]->state(volume_)));
    const bool in_sync = all_in_sync() && !frozen;
    if (in_sync && !in_sync_) {
        const unsigned master = peer.state(volume_).role == Role::primary ? 1 - side : side;
        oracle_.in_sync(master, {seen_[0].session, seen_[1].session},
                        scenario_.net.protocol != config::Protocol::c);
    }
    in_sync_ = in_sync;
}

// What the policies that look at neither changes nor ages say (states 6).
void Checker::split_brain_solved(unsigned side, unsigned primaries, bool self_wins) {
    using Policy = config::AfterSplitBrain;
    const config::NetOptions& net = scenario_.net;
    const unsigned loser = self_wins ? 1 - side : side;
    const bool loser_is_primary =
        primaries == 2 ||
        (primaries == 1 && (nodes_[side]->state(volume_).role == Role::primary) == (loser == side));
    const bool secondary_loses =
        net.after_sb_1pri == Policy::discard_secondary || net.after_sb_1pri == Policy::consensus;
    if (primaries == 1 && secondary_loses && loser_is_primary)
        verdict_.fail("node {}: the Primary loses, and it is the Secondary's turn", side);
    // As node 0 has it.
    const bool decides = primaries != 1 || net.after_sb_1pri != Policy::discard_secondary;
    if (decides && ((net.after_sb_0pri == Policy::discard_local && loser != 0) ||
                    (net.after_sb_0pri == Policy::discard_remote && loser != 1)))
        verdict_.fail("node {}: node {} loses, and it is the other that is configured to", side, loser);
    if (loser == side) seen_[side].gives_in = true;
}

// Nothing was in flight when it came back: whatever makes it pull ahead again (states 17) has been written
// since, or was waiting then. A write of the simulation touches two extents at most.
void Checker::follow_congestion(unsigned side, State was, State now) {
    std::optional<Oracle::Amount>& before = seen_[side].ended_before_return;
    if (now.conn < ConnState::connected) before.reset();
    if (was.conn == ConnState::ahead && now.conn == ConnState::sync_source) {
        ++returns_;
        before = oracle_.ended(side);
    }
    if (now.conn != ConnState::ahead || was.conn == ConnState::ahead || !before) return;
    const config::NetOptions& net = scenario_.net;
    const uint64_t writes = oracle_.issued(side).writes - before->writes;
    const uint64_t sectors = oracle_.issued(side).sectors - before->sectors;
    const bool filled = net.congestion_fill_sectors > 0 && sectors >= net.congestion_fill_sectors;
    if (!filled && 2 * writes < net.congestion_extents)
        verdict_.fail(
            "node {}: pulls ahead again without congestion: {} writes, {} sectors since it came back", side,
            writes, sectors);
    before.reset();
}

void Checker::before_stop(Node& node) {
    snapshots_[node.side()] = oracle_.snapshot(node.side());
}

void Checker::after_stop(Node& node, bool power) {
    Seen& seen = seen_[node.side()];
    // What the other one's users read from now on says nothing of what came to this disk last.
    if (oracle_.founded() && seen.open_to_users && seen_[1 - node.side()].open_to_users) oracle_.parted();
    seen.state = State{};
    seen.open_to_users = false;
    seen.ended_before_return.reset();
    flush_answered(node.side());
    seen.size_sectors = 0;
    ++seen.session;
    in_sync_ = false;
    oracle_.drained(node.side());
    const Node& peer = *nodes_[1 - node.side()];
    const bool peer_relies = peer.running() && peer.device(volume_)->is_primary() &&
                             peer.state(volume_).disk < DiskState::up_to_date;
    const uint64_t since = seen_[1 - node.side()].in_contact_since;
    seen.remains = power ? oracle_.remains(node.side(), snapshots_[node.side()], since) : Oracle::Remains{};
    if (power) oracle_.power_lost(node.side(), snapshots_[node.side()], peer_relies);
    check_divergence();
}

// ---- writes
// --------------------------------------------------------------------------------------------------------

void Checker::write_completed(unsigned side, WriteId id) const {
    if (wire_) wire_->completed(volume_, id);
    const Write& write = oracle_.write(id);
    const Node& node = *nodes_[side];
    const State s = node.state(volume_);
    if (!scenario_.disk.md_flushes || s.conn >= ConnState::connected || s.disk != DiskState::up_to_date ||
        node.meta_data(volume_).disk().broken.percent > 0)
        return;
    const engine::UuidSet stored = node.meta_data(volume_).uuids();
    // A peer whose disk was Inconsistent before it was lost cannot mistake its data for these.
    if (stored.bitmap == 0 && s.pdsk != DiskState::inconsistent)
        verdict_.fail(
            "I28: node {}: a write completed without the peer, but stable storage still has the common "
            "generation ({})",
            side, engine::text_of(stored));
    const uint64_t end = write.sector.value + write.size_sectors;
    for (BitNr block = bit_of(write.sector); first_sector_of(block).value < end; ++block)
        if (!covered_on(node, block))
            verdict_.fail(
                "I20a: node {}: a write to block {} completed without the peer, but neither the bitmap nor "
                "the "
                "activity log on stable storage covers it",
                side, block.value);
}

// ---- divergence
// ----------------------------------------------------------------------------------------------------------

bool Checker::on_its_own(const Node& node) const {
    const ConnState conn = node.state(volume_).conn;
    return !node.running() || conn == ConnState::stand_alone || conn == ConnState::wf_connection;
}

bool Checker::covered_on(const Node& node, BitNr block) const {
    if (node.meta_data(volume_).bit(block)) return true;
    const Result<meta::Superblock> stored = node.meta_data(volume_).superblock();
    if (!stored) return false;
    if (stored->has(meta::flag::full_sync)) return true;
    if (!(stored->has(meta::flag::primary_ind) || stored->has(meta::flag::crashed_primary))) return false;
    if (stored->has(meta::flag::al_disabled)) return true;
    const auto extent = static_cast<uint32_t>(al_extent_of(first_sector_of(block)).value);
    return node.meta_data(volume_).hot_extents().contains(extent);
}

bool Checker::covered(BitNr block) const {
    for (const Node* node : nodes_) {
        if (covered_on(*node, block)) return true;
        const engine::Device* device = node->device(volume_);
        if (device && device->disk && block.value < device->bitmap.bits() && device->bitmap.test(block))
            return true;
    }
    return oracle_.under_way(first_sector_of(block).value, sectors_per_bit);
}

// The comparison of the generations leads to a full resync, or to none at all without the administrator.
bool Checker::generations_tell() const {
    const int result = compare_generations();
    return result == 2 || result == 100 || result == 1000;
}

int Checker::compare_generations() const {
    engine::CompareInput input;
    input.self = nodes_[0]->meta_data(volume_).uuids();
    input.peer = nodes_[1]->meta_data(volume_).uuids();
    return std::abs(engine::compare(input).result);
}

bool Checker::generations_parted() const {
    return compare_generations() == engine::compare_result::split_brain;
}

void Checker::check_divergence() {
    if (verdict_.failed() || !oracle_.founded()) return;
    if (!on_its_own(*nodes_[0]) || !on_its_own(*nodes_[1])) return;
    for (const Node* node : nodes_) {
        const Result<meta::Superblock> stored = node->meta_data(volume_).superblock();
        if (!stored || !stored->has(meta::flag::consistent)) return;
        if (node->data_disk(volume_).in_flight()) return;
    }
    if (generations_tell()) return;
    ++divergence_checks_;
    for (const BitNr block : oracle_.differing_blocks())
        if (!covered(block)) {
            verdict_.fail(
                "I23: block {} differs silently: in no bitmap and in no activity log (generations {} and {})",
                block.value, engine::text_of(nodes_[0]->meta_data(volume_).uuids()),
                engine::text_of(nodes_[1]->meta_data(volume_).uuids()));
            return;
        }
}

void Checker::final_check() {
    oracle_.final_check();
    for (const Node* node : nodes_) {
        const State own = node->state(volume_);
        const State other = nodes_[1 - node->side()]->state(volume_);
        if (own.peer != other.role || own.pdsk != other.disk)
            verdict_.fail("I7: node {}: {}, but the peer is {}", node->side(), engine::describe(own),
                          engine::describe(other));
        // An invalidate that was cut off before its resync leaves bits that nothing resyncs (states 5.4).
        if (resynced_ && node->device(volume_)->bitmap.set_bits() != 0)
            verdict_.fail("I42: node {}: in sync, but {} bits are set", node->side(),
                          node->device(volume_)->bitmap.set_bits());
        const engine::UuidSet uuids = node->device(volume_)->uuids();
        const engine::UuidSet others = nodes_[1 - node->side()]->device(volume_)->uuids();
        if (uuids.current & 1)
            verdict_.fail("I32: node {}: Secondary, but its generation is a Primary's: {}", node->side(),
                          engine::text_of(uuids));
        if (!engine::same_generation(uuids.current, others.current) || uuids.bitmap != 0)
            verdict_.fail("I33: in sync, but the generations are {} and {}", engine::text_of(uuids),
                          engine::text_of(others));
    }
}

}  // namespace duplex::sim
