#include "sim/disk_checks.hpp"

#include "base/byte_order.hpp"
#include "engine/requests.hpp"
#include "sim/admission.hpp"

namespace duplex::sim {

using engine::AppRequest;
using engine::DiskState;
using engine::IoKind;
using engine::PeerKind;
using engine::PeerRequest;
using engine::State;

namespace {

bool is_write(const engine::DiskIo& io) {
    return io.kind != IoKind::read && io.kind != IoKind::flush;
}

bool overlap(const engine::DiskIo& a, const engine::DiskIo& b) {
    return a.sector < b.sector + b.size_bytes / sector_bytes &&
           b.sector < a.sector + a.size_bytes / sector_bytes;
}

const AppRequest* application_behind(const engine::DiskIo& io) {
    const auto* local = dynamic_cast<const AppRequest::LocalIo*>(&io);
    return local ? local->request : nullptr;
}

enum class Writer : uint8_t {
    other,       // a node on its own, or meta data
    replicated,  // the applications of this node
    peer,
    resync,
};

Writer writer_of(const engine::DiskIo& io) {
    if (const AppRequest* request = application_behind(io))
        return request->net_part ? Writer::replicated : Writer::other;
    const auto* peers = dynamic_cast<const PeerRequest::LocalIo*>(&io);
    if (!peers) return Writer::other;
    return peers->request->kind == PeerKind::write ? Writer::peer : Writer::resync;
}

const char* name_of(Writer writer) {
    constexpr const char* names[] = {"another write", "a replicated write", "a write of the peer's",
                                     "a resync write"};
    return names[static_cast<size_t>(writer)];
}

}  // namespace

void DiskChecks::before_submission(Node& node, unsigned volume, const engine::DiskIo& io) {
    const State s = node.state(volume);
    const AppRequest* application = application_behind(io);
    // Zeroes for a discard that the disk has refused are no new request.
    const bool again = application && application->op == engine::Op::discard &&
                       io.kind == IoKind::write_zeroes && node.data_disk(volume).limits().can_discard;
    if (application && !again && !admits_requests(s))
        verdict_.fail("I10: node {}: a request for {}s +{} starts in the state {}", node.side(),
                      io.sector.value, io.size_bytes / sector_bytes, engine::describe(s));
    if (!is_write(io)) return;
    node.data_disk(volume).for_each_in_flight([&](const engine::DiskIo& other) {
        if (is_write(other) && overlap(io, other)) check_overlap(node, io, other);
    });
    if (writer_of(io) != Writer::peer) return;
    check_epoch(node, volume, io);
    check_diskless_primary(node, volume, io);
}

void DiskChecks::check_diskless_primary(Node& node, unsigned volume, const engine::DiskIo& io) {
    const State s = node.state(volume);
    if (s.peer != engine::Role::primary || s.pdsk >= DiskState::inconsistent) return;
    ++diskless_writes_;
    const Result<meta::Superblock> stored = node.meta_data(volume).superblock();
    if (options_.md_flushes && stored && !stored->has(meta::flag::primary_ind))
        verdict_.fail(
            "I16: node {}: a write of a diskless Primary goes to the disk, but stable storage does not say "
            "Primary: {}s +{}, {}",
            node.side(), io.sector.value, io.size_bytes / sector_bytes, engine::describe(s));
}

// Of a write of the peer's.
std::optional<WireWatch::Place> DiskChecks::place_of(const Node& node, unsigned volume,
                                                     const engine::DiskIo& io) {
    if (io.kind != IoKind::write) return std::nullopt;
    return wire_.place_of(1 - node.side(), volume, io.sector, io.size_bytes / sector_bytes,
                          load_le<uint64_t>(io.data));
}

// I25: of the epochs before its own nothing is at the disk any more.
void DiskChecks::check_epoch(const Node& node, unsigned volume, const engine::DiskIo& io) {
    if (!ordered()) return;
    const std::optional<WireWatch::Place> own = place_of(node, volume, io);
    if (!own) return;
    node.data_disk(volume).for_each_in_flight([&](const engine::DiskIo& other) {
        if (writer_of(other) != Writer::peer) return;
        const std::optional<WireWatch::Place> earlier = place_of(node, volume, other);
        if (!earlier || earlier->stream != own->stream) return;
        ++epochs_;
        if (earlier->epoch < own->epoch)
            verdict_.fail(
                "I25: node {}: a write of the peer's of {}s +{} is given to the disk that still has one of "
                "an "
                "earlier epoch, {}s +{}",
                node.side(), io.sector.value, io.size_bytes / sector_bytes, other.sector.value,
                other.size_bytes / sector_bytes);
    });
}

void DiskChecks::check_overlap(const Node& node, const engine::DiskIo& io, const engine::DiskIo& other) {
    if (!ordered()) return;
    const Writer a = writer_of(io);
    const Writer b = writer_of(other);
    ++overlaps_;
    const auto in_order = [](Writer w) { return w == Writer::replicated || w == Writer::peer; };
    const bool with_resync =
        (a == Writer::peer && b == Writer::resync) || (a == Writer::resync && b == Writer::peer);
    if (with_resync || (in_order(a) && in_order(b)))
        verdict_.fail("I29: node {}: {} of {}s +{} is given to the disk that still has {} of {}s +{}",
                      node.side(), name_of(a), io.sector.value, io.size_bytes / sector_bytes, name_of(b),
                      other.sector.value, other.size_bytes / sector_bytes);
}

}  // namespace duplex::sim
