#include "sim/oracle.hpp"

#include <algorithm>
#include <cstring>

#include "base/ensure.hpp"

namespace duplex::sim {

namespace {

constexpr size_t words_per_sector = sector_bytes / sizeof(uint64_t);
constexpr uint64_t tag_magic = uint64_t{0xD0} << 56;

uint64_t word_of(uint64_t tag, uint64_t sector, uint64_t i) {
    if (i == 0) return tag;
    if (i == 1) return sector;
    uint64_t z = tag + i * 0x9e3779b97f4a7c15 + sector;
    z ^= z >> 29;
    return z * 0xbf58476d1ce4e5b9;
}

}  // namespace

Oracle::Oracle(Verdict& verdict, Journal& journal, std::array<const Disk*, 2> disks, unsigned volume,
               std::shared_ptr<uint64_t> sequence)
    : verdict_(verdict),
      journal_(journal),
      disks_(disks),
      volume_(volume),
      sequence_(sequence ? std::move(sequence) : std::make_shared<uint64_t>(0)) {
    writes_.emplace_back().ended = ++*sequence_;
    branch_[0] = branch_[1] = disk_branch_[0] = disk_branch_[1] = std::make_shared<Branch>();
}

// ---- content
// ------------------------------------------------------------------------------------------------------

uint64_t Oracle::new_tag(WriteId id, unsigned node) const {
    return tag_magic | uint64_t{id} << 8 | volume_ << 1 | node;
}

WriteId Oracle::write_of(uint64_t tag) const {
    const uint64_t id = (tag & ~tag_magic) >> 8;
    if (id < writes_.size() && writes_[id].tag == tag) return static_cast<WriteId>(id);
    verdict_.fail("a disk holds {}", name(tag));
    return 0;
}

void Oracle::fill(uint64_t tag, uint64_t sector, std::span<uint8_t> bytes) {
    for (size_t i = 0; i < words_per_sector; ++i) {
        const uint64_t word = tag == 0 ? 0 : word_of(tag, sector, i);
        std::memcpy(bytes.data() + i * sizeof word, &word, sizeof word);
    }
}

uint64_t Oracle::check_sector(unsigned node, uint64_t sector, std::span<const uint8_t> bytes) {
    uint64_t tag = 0;
    std::memcpy(&tag, bytes.data(), sizeof tag);
    for (size_t i = 1; i < words_per_sector; ++i) {
        uint64_t word = 0;
        std::memcpy(&word, bytes.data() + i * sizeof word, sizeof word);
        if (word == (tag == 0 ? 0 : word_of(tag, sector, i))) continue;
        verdict_.fail("node {}: sector {} is damaged: word {} does not belong to {}", node, sector, i,
                      name(tag));
        break;
    }
    return tag;
}

std::string Oracle::name(uint64_t tag) const {
    if (tag == 0) return "zeroes";
    const uint64_t id = (tag & ~tag_magic) >> 8;
    if ((tag & (uint64_t{0xff} << 56)) != tag_magic || id >= writes_.size() || writes_[id].tag != tag)
        return fmt::format("garbage {:#x}", tag);
    const Write& w = writes_[id];
    return fmt::format("write {} (node {}, {}s +{}, {})", id, w.node, w.sector.value, w.size_sectors,
                       w.ended ? "ended" : "under way");
}

std::string Oracle::describe(WriteId id) const {
    if (id == 0) return "the blank device";
    return writes_[id].tag == 0 ? fmt::format("zeroes of write {}", id) : name(writes_[id].tag);
}

std::string Oracle::name(const Admissible& set) const {
    std::string text;
    for (const WriteId id : set) text += (text.empty() ? "" : ", ") + describe(id);
    return text;
}

// ---- sets
// ---------------------------------------------------------------------------------------------------------

const Oracle::Admissible& Oracle::admissible(const Branch& branch, uint64_t sector) {
    static const Admissible blank{0};
    const auto found = branch.sectors.find(sector);
    return found == branch.sectors.end() ? blank : found->second;
}

bool Oracle::admits(const Admissible& set, uint64_t tag) const {
    return std::any_of(set.begin(), set.end(), [&](WriteId id) { return writes_[id].tag == tag; });
}

bool Oracle::has_under_way(const Admissible& set) const {
    return std::any_of(set.begin(), set.end(), [&](WriteId id) { return writes_[id].ended == 0; });
}

bool Oracle::has_under_way(const Admissible& set, unsigned node) const {
    return std::any_of(set.begin(), set.end(),
                       [&](WriteId id) { return writes_[id].ended == 0 && writes_[id].node == node; });
}

bool Oracle::may_arrive(const Admissible& set) const {
    return std::any_of(adrift_.begin(), adrift_.end(), [&](const std::vector<WriteId>& ids) {
        return std::any_of(ids.begin(), ids.end(),
                           [&](WriteId id) { return std::find(set.begin(), set.end(), id) != set.end(); });
    });
}

bool Oracle::ended_before(const Admissible& set, uint64_t sequence) const {
    return std::all_of(set.begin(), set.end(),
                       [&](WriteId id) { return writes_[id].ended != 0 && writes_[id].ended < sequence; });
}

void Oracle::narrow(Admissible& set, uint64_t tag) const {
    std::erase_if(set, [&](WriteId id) { return writes_[id].tag != tag; });
}

void Oracle::narrow_by_read(Admissible& set, uint64_t sector, uint64_t tag) const {
    std::erase_if(set, [&](WriteId id) {
        const Write& w = writes_[id];
        const bool on_a_disk = w.tag == tag_on(0, sector) || w.tag == tag_on(1, sector);
        return w.tag != tag && !(w.failed && on_a_disk);
    });
}

// ---- writes
// -------------------------------------------------------------------------------------------------------

WriteId Oracle::issue(unsigned node, engine::Op op, Sector sector, uint32_t size_sectors, bool in_contact,
                      uint64_t session) {
    const auto id = static_cast<WriteId>(writes_.size());
    const uint64_t tag = op == engine::Op::write ? new_tag(id, node) : 0;
    Write& w = writes_.emplace_back();
    w.tag = tag, w.node = node, w.sector = sector, w.size_sectors = size_sectors;
    w.issued = ++*sequence_, w.in_contact = in_contact, w.session = session;
    under_way_[node].push_back(id);
    ++issued_[node].writes;
    issued_[node].sectors += size_sectors;
    if (journal_.traces(volume_, sector.value, size_sectors))
        journal_.add("trace", fmt::format("issued: {}", describe(id)));
    Branch& branch = *branch_[node];
    for (uint64_t s = sector.value; s < sector.value + size_sectors; ++s) {
        if (touched_.emplace(s, true).second) touched_order_.push_back(s);
        auto [set, fresh] = branch.sectors.try_emplace(s);
        if (fresh) set->second.push_back(0);
        set->second.push_back(id);
    }
    for (uint64_t s = sector.value; s < sector.value + size_sectors; ++s)
        for (const unsigned reader : {0u, 1u}) admit_to_reads(reader, s, id);
    return id;
}

void Oracle::admit_to_reads(unsigned node, uint64_t sector, WriteId id) {
    for (const auto& read : reads_[node])
        if (sector >= read->sector.value && sector < read->sector.value + read->size_sectors)
            read->admissible[sector - read->sector.value].push_back(id);
}

void Oracle::end(WriteId id) {
    Write& w = writes_[id];
    if (w.ended != 0) return;
    if (journal_.traces(volume_, w.sector.value, w.size_sectors))
        journal_.add("trace", fmt::format("ended: {}", describe(id)));
    w.ended = ++*sequence_;
    std::erase(under_way_[w.node], id);
    ++ended_[w.node].writes;
    ended_[w.node].sectors += w.size_sectors;
}

void Oracle::node_died(unsigned node) {
    while (!under_way_[node].empty()) {
        adrift_[1 - node].push_back(under_way_[node].front());
        end(under_way_[node].front());
    }
    // Its applications died with it: nobody relies on what they had not flushed.
    std::erase_if(exclusive_writes_[node], [](const Exclusive& write) { return !write.flushed; });
    flush_must_fail_[node] = false;
    forget_reads(node);
}

void Oracle::completed(WriteId id, const Completion& c) {
    end(id);
    ++writes_completed_;
    const Write& w = writes_[id];
    const bool kept_session = c.connected && w.session == c.session;
    const bool kept_contact = kept_session && w.in_contact && c.in_contact;
    const bool in_transit = kept_session && c.asynchronous;
    const bool sent = w.in_contact || (kept_session && !c.own_disk_good);
    if (w.session != c.session) adrift_[1 - c.node].push_back(id);
    Branch& branch = *branch_[c.node];
    const unsigned peer = 1 - c.node;
    bool peer_lacks_it = false;
    for (uint64_t s = w.sector.value; s < w.sector.value + w.size_sectors; ++s) {
        Admissible& set = branch.sectors[s];
        // One that was superseded by a write of the peer's is complete before that one is on any disk.
        const bool superseded = sent && has_under_way(set, peer);
        std::erase_if(set, [&](WriteId other) {
            if (superseded) return false;
            return other != id && writes_[other].ended != 0 && writes_[other].ended < w.issued;
        });
        if (!admits(set, tag_on(c.node, s))) {
            if (c.own_disk_usable)
                verdict_.fail("I18: node {}: {} completed, but sector {} of its own disk holds {}", c.node,
                              name(set), s, name(tag_on(c.node, s)));
            if (disk_branch_[c.node] == branch_[c.node]) excuses_[c.node][s] = {};
        }
        const bool same_branch = disk_branch_[peer] == branch_[c.node];
        if (admits(set, tag_on(peer, s))) {
            // A write beside it, and maybe not the last of the two.
            if (same_branch && (!kept_contact || c.asynchronous) && tag_on(peer, s) != w.tag)
                excuses_[peer][s] = {in_transit, c.session};
            continue;
        }
        peer_lacks_it = true;
        if (!same_branch) continue;
        // With two Primaries the peer's write may have taken its place, and be on its way itself.
        if (kept_contact && !c.asynchronous && c.peer_disk_usable && !has_under_way(set, peer))
            verdict_.fail(
                "I18: node {}: {} completed in contact with the peer, whose disk holds {} in sector {}",
                c.node, name(set), name(tag_on(peer, s)), s);
        excuses_[peer][s] = {in_transit, c.session};
    }
    if (!peer_lacks_it || in_transit) return;
    if (c.own_disk_good)
        exclusive_writes_[c.node].push_back({id, c.fua});
    else if (!(c.connected && c.asynchronous))  // sent again on a new connection, maybe
        flush_must_fail_[c.node] = true;
}

void Oracle::flushed(unsigned node, uint64_t issued) {
    if (flush_must_fail_[node])
        verdict_.fail("node {}: a flush succeeded although writes before it are on no good disk", node);
    last_flush_[node] = issued;
    for (Exclusive& write : exclusive_writes_[node])
        if (writes_[write.id].ended < issued) write.flushed = true;
}

bool Oracle::under_way(uint64_t first_sector, uint64_t size_sectors) const {
    for (const auto& ids : under_way_)
        for (const WriteId id : ids) {
            const Write& w = writes_[id];
            if (w.sector.value < first_sector + size_sectors &&
                first_sector < w.sector.value + w.size_sectors)
                return true;
        }
    return false;
}

// ---- reads
// --------------------------------------------------------------------------------------------------------

PendingRead* Oracle::start_read(unsigned node, Sector sector, uint32_t size_sectors) {
    auto& read = reads_[node].emplace_back(std::make_unique<PendingRead>());
    read->sector = sector;
    read->size_sectors = size_sectors;
    read->started = ++*sequence_;
    for (uint64_t s = sector.value; s < sector.value + size_sectors; ++s)
        read->admissible.push_back(admissible(*branch_[node], s));
    return read.get();
}

void Oracle::finish_read(unsigned node, PendingRead* read, std::span<const uint8_t> data, bool ok,
                         bool settles) {
    for (uint32_t i = 0; ok && i < read->size_sectors; ++i) {
        const uint64_t sector = read->sector.value + i;
        const uint64_t tag = check_sector(node, sector, data.subspan(i * sector_bytes, sector_bytes));
        auto found = branch_[node]->sectors.find(sector);
        if (journal_.traces(volume_, sector, 1))
            journal_.add("trace", fmt::format("read on node {}: {}", node, name(tag)));
        if (!admits(read->admissible[i], tag) && !admits(admissible(*branch_[node], sector), tag))
            verdict_.fail("node {}: a read of sector {} returned {}, admissible: {}", node, sector, name(tag),
                          name(read->admissible[i]));
        if (settles && found != branch_[node]->sectors.end() && ended_before(found->second, read->started) &&
            !may_arrive(found->second) && admits(found->second, tag))
            narrow_by_read(found->second, sector, tag);
        ++reads_checked_;
    }
    std::erase_if(reads_[node], [&](const auto& pending) { return pending.get() == read; });
}

void Oracle::forget_reads(unsigned node) {
    reads_[node].clear();
}

// ---- replicas
// -----------------------------------------------------------------------------------------------------

void Oracle::prefill(unsigned node, Disk& disk, Sector sector, uint32_t size_sectors) {
    const auto id = static_cast<WriteId>(writes_.size());
    const uint64_t tag = new_tag(id, node);
    Write& w = writes_.emplace_back();
    w.tag = tag, w.node = node, w.sector = sector, w.size_sectors = size_sectors;
    w.issued = ++*sequence_, w.ended = ++*sequence_;
    std::array<uint8_t, sector_bytes> bytes;
    for (uint64_t s = sector.value; s < sector.value + size_sectors; ++s) {
        fill(tag, s, bytes);
        disk.write_now(Sector(s), bytes);
        if (touched_.emplace(s, true).second) touched_order_.push_back(s);
    }
}

void Oracle::found(unsigned node) {
    founded_ = true;
    branch_[0] = branch_[1] = disk_branch_[0] = disk_branch_[1] = std::make_shared<Branch>();
    for (const uint64_t s : touched_order_) {
        const uint64_t tag = tag_on(node, s);
        branch_[node]->sectors[s] = {write_of(tag)};
        if (tag_on(1 - node, s) != tag) excuses_[1 - node][s] = {};
    }
}

std::vector<uint64_t> Oracle::snapshot(unsigned node) const {
    std::vector<uint64_t> tags;
    tags.reserve(touched_order_.size());
    for (const uint64_t s : touched_order_) tags.push_back(tag_on(node, s));
    return tags;
}

// What a flush had covered cannot be among it: that is checked when the flush completes.
void Oracle::power_lost(unsigned node, const std::vector<uint64_t>& before, bool peer_relies) {
    for (size_t i = 0; i < before.size(); ++i) {
        const uint64_t sector = touched_order_[i];
        if (tag_on(node, sector) == before[i]) continue;
        excuses_[node][sector] = {};
        if (admits(admissible(*disk_branch_[node], sector), tag_on(node, sector))) continue;
        const Write& lost = writes_[write_of(before[i])];
        if (peer_relies && lost.node != node && lost.ended > last_flush_[lost.node])
            flush_must_fail_[lost.node] = true;
    }
}

Oracle::Remains Oracle::remains(unsigned node, const std::vector<uint64_t>& before, uint64_t since) const {
    const auto counts = [&](uint64_t tag) {
        const uint64_t id = (tag & ~tag_magic) >> 8;
        if (tag == 0 || id >= writes_.size() || writes_[id].tag != tag) return false;
        const Write& w = writes_[id];
        return w.node != node && w.in_contact && w.issued > since;
    };
    Remains remains;
    for (size_t i = 0; i < before.size(); ++i) {
        const uint64_t now = tag_on(node, touched_order_[i]);
        if (counts(now) && writes_[write_of(now)].issued > remains.last_kept) {
            remains.last_kept = writes_[write_of(now)].issued;
            remains.kept = fmt::format("{} in sector {}", name(now), touched_order_[i]);
        }
        if (now == before[i] || !counts(before[i])) continue;
        const Write& lost = writes_[write_of(before[i])];
        if (lost.ended == 0 || lost.failed || lost.ended > remains.first_lost) continue;
        // A part of what was in flight may have taken its place, also of a write that was issued before it,
        // and was not yet complete.
        const auto follows = [&](WriteId id) {
            const Write& w = writes_[id];
            return w.tag == now && (w.ended == 0 || w.ended > lost.issued);
        };
        const Admissible& set = admissible(*disk_branch_[node], touched_order_[i]);
        if (now != 0 ? follows(write_of(now)) : std::any_of(set.begin(), set.end(), follows)) continue;
        remains.first_lost = lost.ended;
        remains.lost = fmt::format("{} in sector {}", name(before[i]), touched_order_[i]);
    }
    return remains;
}

// From now on what this disk holds is the data, where it is entitled to hold something else than was
// promised.
void Oracle::adopt_content(unsigned node, const char* when) {
    for (auto& [sector, set] : disk_branch_[node]->sectors) {
        const uint64_t tag = tag_on(node, sector);
        if (admits(set, tag)) {
            if (!has_under_way(set) && !may_arrive(set)) narrow(set, tag);
            continue;
        }
        if (!excuses_[node].contains(sector)) {
            verdict_.fail("an acknowledged write is lost: {}: node {} holds {} in sector {}, admissible: {}",
                          when, node, name(tag), sector, name(set));
            return;
        }
        const WriteId id = write_of(tag);
        std::erase_if(set, [&](WriteId other) { return writes_[other].ended != 0; });
        set.push_back(id);
        // A read that has waited for this disk may see it, whatever is written before the read ends.
        for (const unsigned reader : {0u, 1u})
            if (branch_[reader] == disk_branch_[node]) admit_to_reads(reader, sector, id);
    }
    excuses_[node].clear();
}

void Oracle::promoted_alone(unsigned node) {
    const bool same = branch_[node] == disk_branch_[node];
    branch_[node] = disk_branch_[node] = std::make_shared<Branch>(*disk_branch_[node]);
    if (!same) carry_over_under_way(node);
    adopt_content(node, "promoted alone");
    primary_alone_[node] = true;
}

void Oracle::parted() {
    if (branch_[0] != branch_[1]) return;
    const bool same_disk = disk_branch_[1] == branch_[1];
    branch_[1] = std::make_shared<Branch>(*branch_[0]);
    if (same_disk) disk_branch_[1] = branch_[1];
}

void Oracle::follow_other(unsigned node) {
    if (branch_[node] == disk_branch_[1 - node]) return;
    branch_[node] = disk_branch_[1 - node];
    carry_over_under_way(node);
}

void Oracle::carry_over_under_way(unsigned node) {
    for (const WriteId id : under_way_[node]) {
        const Write& w = writes_[id];
        for (uint64_t s = w.sector.value; s < w.sector.value + w.size_sectors; ++s) {
            auto [set, fresh] = branch_[node]->sectors.try_emplace(s);
            if (fresh) set->second.push_back(0);
            set->second.push_back(id);
        }
    }
}

void Oracle::attached(unsigned node) {
    branch_[node] = disk_branch_[node];
}

// The peer may have got it after its completion: sent again on a new connection under protocol A or B, or
// superseded by a write of the peer's own.
bool Oracle::holds_by_now(unsigned node, const Exclusive& exclusive) const {
    const Write& w = writes_[exclusive.id];
    for (uint64_t s = w.sector.value; s < w.sector.value + w.size_sectors; ++s)
        if (!admits(admissible(*branch_[w.node], s), tag_on(node, s))) return false;
    return true;
}

void Oracle::resync_started(unsigned source, unsigned target) {
    std::erase_if(exclusive_writes_[target],
                  [&](const Exclusive& exclusive) { return holds_by_now(source, exclusive); });
    if (has_exclusive_data(target) && !discard_ordered_[target])
        verdict_.fail(
            "acknowledged writes are discarded: node {} becomes sync target with {} writes that node {} "
            "lacks",
            target, exclusive_writes_[target].size(), source);
    adopt_content(source, "sync source");
    follow_other(target);
    disk_branch_[target] = branch_[target];
    exclusive_writes_[target].clear();
    discard_ordered_[target] = false;
    primary_alone_[target] = false;
    for (auto& [sector, set] : disk_branch_[source]->sectors)
        if (tag_on(target, sector) != tag_on(source, sector)) excuses_[target][sector] = {};
}

void Oracle::resync_finished(unsigned source, unsigned target) {
    for (const Exclusive& exclusive : exclusive_writes_[source]) {
        const Write& w = writes_[exclusive.id];
        for (uint64_t s = w.sector.value; s < w.sector.value + w.size_sectors; ++s) {
            const Admissible& set = admissible(*disk_branch_[target], s);
            const auto transit = excuses_[target].find(s);
            const bool may_arrive = transit != excuses_[target].end() && transit->second.in_transit;
            if (!has_under_way(set) && !may_arrive && !admits(set, tag_on(target, s)))
                verdict_.fail("node {} ends its resync and holds {} in sector {}, admissible: {}", target,
                              name(tag_on(target, s)), s, name(set));
        }
    }
    exclusive_writes_[source].clear();
}

void Oracle::in_sync(unsigned master, std::array<uint64_t, 2> sessions, bool asynchronous) {
    for (const unsigned node : {0u, 1u})
        if (has_exclusive_data(node) && disk_branch_[0] != disk_branch_[1])
            verdict_.fail("in sync without a resync, but node {} has {} writes of its own", node,
                          exclusive_writes_[node].size());
    follow_other(1 - master);
    disk_branch_[1 - master] = branch_[1 - master];
    for (auto& [sector, set] : branch_[master]->sectors) {
        if (has_under_way(set) || disks_[0]->is_writing(Sector(sector), 1) ||
            disks_[1]->is_writing(Sector(sector), 1))
            continue;
        const auto transit = excuses_[1 - master].find(sector);
        if (asynchronous && transit != excuses_[1 - master].end() && transit->second.in_transit &&
            transit->second.session == sessions[master])
            continue;
        const uint64_t ours = tag_on(master, sector);
        const uint64_t theirs = tag_on(1 - master, sector);
        if (ours != theirs)
            verdict_.fail("I33: in sync, but sector {} is {} on node {} and {} on node {}", sector,
                          name(ours), master, name(theirs), 1 - master);
        else if (!admits(set, ours) && !excuses_[master].contains(sector))
            verdict_.fail("in sync, but both nodes hold {} in sector {}, admissible: {}", name(ours), sector,
                          name(set));
        else if (admits(set, ours))
            narrow(set, ours);
        else
            set = {write_of(ours)};
        if (verdict_.failed()) return;
        excuses_[0].erase(sector);
        excuses_[1].erase(sector);
    }
    exclusive_writes_ = {};
    discard_ordered_ = {};
    primary_alone_ = {};
}

void Oracle::final_check() {
    std::array<uint8_t, sector_bytes> bytes[2];
    for (const uint64_t sector : touched_order_) {
        for (const unsigned node : {0u, 1u}) {
            disks_[node]->read_now(Sector(sector), bytes[node]);
            check_sector(node, sector, bytes[node]);
        }
        const uint64_t tag = tag_on(0, sector);
        if (bytes[0] != bytes[1])
            verdict_.fail("I42: quiet and in sync, but sector {} is {} on node 0 and {} on node 1", sector,
                          name(tag), name(tag_on(1, sector)));
        const Admissible& set = admissible(*branch_[0], sector);
        if (!admits(set, tag))
            verdict_.fail("quiet and in sync, but both nodes hold {} in sector {}, admissible: {}", name(tag),
                          sector, name(set));
        if (verdict_.failed()) return;
    }
}

std::vector<BitNr> Oracle::differing_blocks() const {
    std::vector<BitNr> blocks;
    for (const uint64_t sector : touched_order_)
        if (tag_on(0, sector) != tag_on(1, sector)) blocks.push_back(bit_of(Sector(sector)));
    std::sort(blocks.begin(), blocks.end());
    blocks.erase(std::unique(blocks.begin(), blocks.end()), blocks.end());
    return blocks;
}

}  // namespace duplex::sim
