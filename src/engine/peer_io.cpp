#include "engine/peer_io.hpp"

#include <algorithm>
#include <cerrno>
#include <vector>

#include "engine/core.hpp"
#include "engine/kib.hpp"

namespace duplex::engine {

namespace {

// Made by this node, not asked for by the peer.
bool is_own(PeerKind kind) {
    return kind == PeerKind::resync_write || kind == PeerKind::verify_block;
}

}  // namespace

void PeerRequest::LocalIo::completed(int error) {
    request->device->peer.local_completed(*request, error);
}

void PeerRequest::Packet::done(bool) {
    request->device->peer.packet_done(*request);
}

void PeerRequest::extents_active() {
    device->peer.extents_active(*this);
}

void PeerIo::DelayTimer::fired() {
    owner.core_.notify();
}

PeerIo::~PeerIo() {
    core_.ports.clock.cancel(delay_timer_);
    in_service_.clear();
    waiting_reads_.clear();
}

PeerRequest* PeerIo::take(PeerKind kind, Sector sector, uint32_t size_bytes, uint32_t buffer_bytes) {
    PeerRequest* request = core_.peer_requests.take();
    if (!request) return nullptr;
    request->reset();
    request->device = &device_;
    request->kind = kind;
    request->sector = sector;
    request->size_bytes = size_bytes;
    request->buffer = nullptr;
    request->local_io.request = request->packet.request = request;
    if (buffer_bytes > 0 && !take_buffer(*request)) {
        core_.peer_requests.give(request);
        return nullptr;
    }
    in_service_.push_back(*request);
    if (is_own(kind)) ++own_requests_;
    return request;
}

bool PeerIo::take_buffer(PeerRequest& request) {
    request.buffer = core_.peer_buffers.take(request.size_bytes);
    return request.buffer != nullptr;
}

void PeerIo::give_buffer(PeerRequest& request) {
    if (!request.buffer || request.abandoned) return;
    core_.peer_buffers.give(request.buffer, request.size_bytes);
    request.buffer = nullptr;
    core_.room_again();
}

void PeerIo::give(PeerRequest& request) {
    if (request.abandoned) {
        request.given_back = true;
        return;
    }
    give_buffer(request);
    in_service_.remove(request);
    if (is_own(request.kind)) --own_requests_;
    core_.peer_requests.give(&request);
    core_.room_again();
}

// ---- the disk
// ------------------------------------------------------------------------------------------------------

void PeerIo::submit(PeerRequest& request, IoKind kind) {
    DiskIo& io = request.local_io;
    io.kind = kind;
    io.sector = request.sector;
    io.size_bytes = request.size_bytes;
    io.data = request.buffer;
    io.fua = kind == IoKind::write && (request.dp_flags & (wire::dp_flag::fua | wire::dp_flag::flush));
    io.may_unmap = request.dp_flags & wire::dp_flag::discard;
    if (request.kind == PeerKind::write || request.kind == PeerKind::read)
        device_.throttle.application_io(request.size_bytes);
    request.submitted = true;
    ++at_disk_;
    device_.use_disk();
    device_.disk->data.submit(io);
}

// Until it is given back, or goes on to the peer, it counts as submitted: what an error brings about (the end
// of a resync, of the connection) leaves it alone.
void PeerIo::local_completed(PeerRequest& request, int error) {
    if (request.abandoned) {
        request.abandoned = false;
        if (request.given_back) give(request);
    } else {
        --at_disk_;
        finish_local(request, error);
    }
    device_.unuse_disk();
    core_.notify();
}

void PeerIo::abandon_local() {
    std::vector<PeerRequest*> at_disk;
    for (PeerRequest& request : in_service_)
        if (request.submitted && !request.abandoned) at_disk.push_back(&request);
    for (PeerRequest* request : at_disk) {
        request->abandoned = true;
        --at_disk_;
        finish_local(*request, EIO);
    }
    core_.notify();
}

void PeerIo::finish_local(PeerRequest& request, int error) {
    switch (request.kind) {
        case PeerKind::write:
            write_completed(request, error);
            break;
        case PeerKind::read:
            read_completed(request, error);
            break;
        case PeerKind::resync_read:
            resync_read_completed(request, error);
            break;
        case PeerKind::resync_write:
            if (request.compares)
                device_.resync.own_block_read(request, error);
            else
                resync_write_completed(request, error);
            break;
        case PeerKind::verify_read:
            device_.verify.peer_block_read(request, error);
            break;
        case PeerKind::verify_block:
            device_.verify.own_block_read(request, error);
    }
}

// ---- sending
// -------------------------------------------------------------------------------------------------------

bool PeerIo::send_ack(wire::Command command, const PeerRequest& request) {
    const wire::BlockAck ack{request.sector, request.block_id, request.size_bytes, device_.next_seq()};
    return core_.connection.link.send_packet(Channel::meta, command, device_.wire_number(), ack);
}

bool PeerIo::send_block(PeerRequest& request, wire::Command command) {
    const auto& integrity = core_.connection.integrity_out();
    DigestValue checksum;
    if (integrity) checksum = digest(*integrity, {request.buffer, request.size_bytes});
    const auto digest_bytes = static_cast<uint32_t>(checksum.size);
    const wire::Data head{request.sector, request.block_id, 0, 0};
    OutPacket& packet = request.packet;
    const size_t fixed = wire::encode_packet(command, device_.wire_number(), head, packet.head,
                                             digest_bytes + request.size_bytes);
    std::copy_n(checksum.bytes.begin(), digest_bytes, packet.head + fixed);
    packet.head_bytes = static_cast<uint32_t>(fixed) + digest_bytes;
    packet.payload = request.buffer;
    packet.payload_bytes = request.size_bytes;
    request.packet_queued = core_.connection.link.send(Channel::data, packet);
    device_.counters.sent_kib += kib(request.size_bytes);
    return request.packet_queued;
}

void PeerIo::packet_done(PeerRequest& request) {
    request.packet_queued = false;
    if (request.kind == PeerKind::read || request.orphan) {
        give(request);
    } else if (request.buffer) {  // resync_read: only the ack is still to come
        give_buffer(request);
        if (!request.answered) give(request);
    }
}

// ---- the peer's reads (states 11.2)
// --------------------------------------------------------------------------------

void PeerIo::serve_read(PeerRequest& read) {
    if (device_.state().disk == DiskState::up_to_date) {
        device_.counters.read_kib += kib(read.size_bytes);
        submit(read, IoKind::read);
        return;
    }
    send_ack(wire::Command::neg_dreply, read);
    give(read);
}

void PeerIo::read_completed(PeerRequest& read, int error) {
    if (error) device_.data_io_failed(error, true);
    if (!error && !read.orphan && send_block(read, wire::Command::data_reply)) {
        read.submitted = false;
        return;
    }
    if (error && !read.orphan) send_ack(wire::Command::neg_dreply, read);
    give(read);
}

void PeerIo::forget_resync_extents() {
    for (PeerRequest& request : in_service_) request.extent_locked = false;
}

void PeerIo::connection_lost() {
    waiting_reads_.clear();
    // A read that waited has closed its extent to writes, also after the end of the resync that it belongs
    // to: nothing else would open that again.
    forget_resync_extents();
    if (device_.disk) device_.disk->resync_extents.reset();
    for (auto at = in_service_.begin(); at != in_service_.end();) {
        PeerRequest& request = *at;
        ++at;
        request.orphan = true;
        const bool waits_for_extents =
            static_cast<ListNode<AlUser>&>(request).linked() && !request.holds_extents;
        if (request.submitted || request.packet_queued || waits_for_extents) continue;
        if (core_.connection.is_receiving(request)) continue;  // its data are on their way in
        if (request.interval.linked()) device_.writes.remove(request.interval);
        if (request.holds_extents) device_.disk->activation.release(request);
        give(request);
    }
}

}  // namespace duplex::engine
