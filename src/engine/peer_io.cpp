#include "engine/peer_io.hpp"

#include <algorithm>
#include <cerrno>

#include "engine/core.hpp"

namespace duplex::engine {

namespace {

constexpr uint64_t delay_ms = 100;

bool all_zero(const uint8_t* data, uint32_t size_bytes) {
    return data[0] == 0 && std::equal(data, data + size_bytes - 1, data + 1);
}

// Made by this node, not asked for by the peer.
bool is_own(PeerKind kind) {
    return kind == PeerKind::resync_write || kind == PeerKind::verify_block;
}

uint64_t kib(uint64_t bytes) {
    return (bytes + 1023) / 1024;
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
    if (!request.buffer) return;
    core_.peer_buffers.give(request.buffer, request.size_bytes);
    request.buffer = nullptr;
    core_.room_again();
}

void PeerIo::give(PeerRequest& request) {
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
    --at_disk_;
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
    device_.unuse_disk();
    core_.notify();
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

// ---- the peer's writes (states 9.5)
// --------------------------------------------------------------------------------

Started PeerIo::start_write(PeerRequest& write) {
    const Connection& connection = core_.connection;
    if (!device_.has_disk(DiskState::inconsistent)) {
        send_ack(wire::Command::neg_ack, write);
        end_write(write);
        return Started::yes;
    }
    if (!device_.disk->takes(write.sector, write.size_bytes)) {
        // Its disk has smaller blocks than ours. Ours stays in use; only this range is not in sync.
        device_.set_out_of_sync(write.sector, write.size_bytes);
        send_ack(wire::Command::neg_ack, write);
        end_write(write);
        return Started::yes;
    }
    if ((write.dp_flags & wire::dp_flag::send_receive_ack) && !write.receive_acked) {
        write.receive_acked = true;
        send_ack(wire::Command::recv_ack, write);
    }
    if (connection.two_primaries()) {
        bool dropped = false;
        const Started resolved = resolve_conflicts(write, dropped);
        if (resolved != Started::yes || dropped) return resolved;
    }
    if (device_.state().conn == ConnState::sync_target && resync_write_overlaps(write))
        return Started::waits_for_disk;
    const bool orders = write.command != wire::Command::data;
    if (orders && core_.active_peer_writes() > 0) return Started::waits_for_disk;
    if (device_.state().pdsk < DiskState::inconsistent) {
        // Ours is the only disk: remember that the peer has none of this (states 9.5, item 6).
        if (!write.extents_asked) {
            write.extents_asked = true;
            device_.set_out_of_sync(write.sector, write.size_bytes);
            if (!device_.disk->al_suspended)
                device_.disk->activation.activate(write, write.sector, write.size_bytes);
        }
        if (!device_.disk->al_suspended && !write.holds_extents) return Started::waits_for_disk;
    }
    submit_write(write);
    return Started::yes;
}

void PeerIo::submit_write(PeerRequest& write) {
    ++active_writes_;
    device_.counters.written_kib += kib(write.size_bytes);
    if (write.command == wire::Command::data) {
        device_.counters.received_kib += kib(write.size_bytes);
        submit(write, IoKind::write);
        return;
    }
    // Without WZEROES a P_TRIM promises zeroes; with it, it is a discard and no more (wire protocol 7.2).
    const bool discard = write.command == wire::Command::trim &&
                         (core_.connection.features() & wire::feature::wzeroes) &&
                         device_.disk->data.limits().can_discard;
    submit(write, discard ? IoKind::discard : IoKind::write_zeroes);
}

void PeerIo::extents_active(PeerRequest& write) {
    core_.notify();
    if (!write.orphan) return;
    if (write.interval.linked()) device_.writes.remove(write.interval);
    if (write.holds_extents) device_.disk->activation.release(write);
    give(write);
}

// Wire protocol 8.2, 8.3.
Started PeerIo::resolve_conflicts(PeerRequest& write, bool& dropped) {
    const bool resolver = core_.connection.resolver();
    if (resolver && !write.sequence_passed) {
        if (static_cast<int32_t>(write.seq_num - 1 - device_.peer_sequence) > 0)
            return Started::waits_for_sequence;
        device_.see_peer_sequence(write.seq_num);
    }
    write.sequence_passed = true;
    if (!write.interval.linked()) {
        write.interval.first = write.sector;
        write.interval.end = write.end_sector();
        write.interval.local = false;
        write.interval.completed = false;
        device_.writes.insert(write.interval);
    }
    Started result = Started::yes;
    wire::Command verdict = wire::Command::data;
    device_.writes.for_each_conflict(write.sector, write.end_sector(), &write.interval, [&](Interval& other) {
        if (!other.local) {
            result = Started::waits_for_conflict;
            return false;
        }
        const AppRequest& local = *static_cast<AppRequest::Range&>(other).request;
        if (resolver && !local.net_pending) {
            // The peer has ours already and wrote its own after it; here the order has to be the same. (The
            // kernel gives a verdict: the peer would never see the write that its own has to wait for, or
            // the replicas would differ.)
            result = Started::waits_for_conflict;
            return true;
        }
        if (resolver) {
            verdict = other.covers(write.interval) ? wire::Command::superseded : wire::Command::retry_write;
            result = Started::yes;
            return false;
        }
        if (!local.local_pending && local.postponed) return true;
        result = Started::waits_for_conflict;
        return false;
    });
    if (verdict != wire::Command::data) {
        if (verdict == wire::Command::retry_write)
            device_.log(LogLevel::alert, "Concurrent writes detected: remote={}s +{}", write.sector.value,
                        write.size_bytes);
        send_ack(verdict, write);
        core_.connection.epoch_write_dropped();
        dropped = true;
        end_write(write);
    }
    return result;
}

bool PeerIo::resync_write_overlaps(const PeerRequest& write) {
    for (PeerRequest& other : in_service_)
        if (other.kind == PeerKind::resync_write && other.submitted && other.sector < write.end_sector() &&
            write.sector < other.end_sector())
            return true;
    return false;
}

void PeerIo::write_completed(PeerRequest& write, int error) {
    --active_writes_;
    const ConnState conn = device_.state().conn;
    const bool syncing = conn >= ConnState::sync_source && conn <= ConnState::paused_sync_t;
    if (error) {
        device_.set_out_of_sync(write.sector, write.size_bytes);
        device_.data_io_failed(error, false);
        send_ack(wire::Command::neg_ack, write);
    } else if (write.dp_flags & wire::dp_flag::send_write_ack) {
        const bool in_sync =
            syncing && (write.dp_flags & wire::dp_flag::may_set_in_sync) && !write.extents_asked;
        if (in_sync) device_.set_in_sync(write.sector, write.size_bytes);
        send_ack(in_sync ? wire::Command::rs_write_ack : wire::Command::write_ack, write);
        if (in_sync) device_.resync.check_complete();
    }
    if (write.interval.linked()) {
        Interval& done = write.interval;
        device_.writes.remove(done);
        device_.app.restart_postponed(done);
    }
    end_write(write);
    core_.connection.active_writes_changed();
}

void PeerIo::end_write(PeerRequest& write) {
    if (write.interval.linked()) device_.writes.remove(write.interval);
    if (write.holds_extents) device_.disk->activation.release(write);
    core_.notify();
    give(write);
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

// ---- resync, as source (states 12.3, 12.5)
// ------------------------------------------------------------------------------

void PeerIo::serve_resync_read(PeerRequest& read) {
    if (device_.state().disk != DiskState::up_to_date) {
        send_ack(wire::Command::neg_rs_dreply, read);
        give(read);
        return;
    }
    put_off(read);
    if (!waiting_reads_.empty() || read.not_before_ms > 0 || !lock_and_read(read))
        waiting_reads_.push_back(read);
}

// Once, by 0.1 s, where the applications need the disk (states 12.5); not for a Primary, whose own
// applications' reads would wait behind it.
void PeerIo::put_off(PeerRequest& read) {
    const bool verifies = read.kind == PeerKind::verify_read;
    const uint64_t speed_kib = verifies ? device_.verify.speed_kib() : device_.resync.speed_kib();
    if (device_.state().peer == Role::primary || !device_.resync_steps_back(speed_kib)) return;
    read.not_before_ms = core_.ports.clock.now_ms() + delay_ms;
    if (!delay_timer_.armed()) core_.ports.clock.arm(delay_timer_, delay_ms);
}

bool PeerIo::lock_and_read(PeerRequest& read) {
    if (!device_.disk->resync_extents.lock(resync_extent_of(read.sector))) return false;
    read.extent_locked = true;
    device_.counters.read_kib += kib(read.size_bytes);
    submit(read, IoKind::read);
    return true;
}

void PeerIo::retry_resync_reads() {
    while (!waiting_reads_.empty()) {
        PeerRequest& read = waiting_reads_.front();
        if (const uint64_t now = core_.ports.clock.now_ms(); read.not_before_ms > now) {
            if (!delay_timer_.armed()) core_.ports.clock.arm(delay_timer_, read.not_before_ms - now);
            return;
        }
        if (!device_.has_disk(DiskState::inconsistent)) {
            waiting_reads_.remove(read);
            send_ack(wire::Command::neg_rs_dreply, read);
            give(read);
        } else if (lock_and_read(read)) {
            waiting_reads_.remove(read);
        } else {
            return;
        }
    }
}

void PeerIo::resync_read_completed(PeerRequest& read, int error) {
    if (error) {
        device_.data_io_failed(error, true);
        device_.resync.count_failed(bits_for(read.size_bytes / sector_bytes));
        if (!read.orphan) send_ack(wire::Command::neg_rs_dreply, read);
        end_resync_read(read);
        return;
    }
    // Never to a peer whose disk may be gone: it could not take it (wire protocol 12.6).
    const State s = device_.state();
    if (read.orphan || s.conn < ConnState::connected || s.pdsk < DiskState::inconsistent) {
        end_resync_read(read);
        return;
    }
    // Also where checksums were to be compared, unlike the kernel: its extent is no longer locked.
    if (s.conn == ConnState::ahead) {
        send_ack(wire::Command::rs_cancel, read);
        end_resync_read(read);
        return;
    }
    if (read.command == wire::Command::csum_rs_request && core_.connection.csums() &&
        digest(*core_.connection.csums(), {read.buffer, read.size_bytes}).equals(read.digest.view())) {
        device_.set_in_sync(read.sector, read.size_bytes);
        device_.resync.count_equal(read);
        send_ack(wire::Command::rs_is_in_sync, read);
        end_resync_read(read);
        device_.resync.check_complete();
        return;
    }
    read.submitted = false;
    read.answered = true;
    if (read.command == wire::Command::rs_thin_req && all_zero(read.buffer, read.size_bytes)) {
        core_.connection.link.send_packet(Channel::data, wire::Command::rs_deallocated, device_.wire_number(),
                                          wire::BlockDesc{read.sector, read.size_bytes});
        give_buffer(read);
        return;
    }
    if (!send_block(read, wire::Command::rs_data_reply)) end_resync_read(read);
}

bool PeerIo::resync_block_acked(Sector sector, uint32_t size_bytes, bool written) {
    for (PeerRequest& read : in_service_) {
        if (read.kind != PeerKind::resync_read || !read.answered || read.sector != sector ||
            read.size_bytes != size_bytes)
            continue;
        if (written)
            device_.peer_marked_in_sync(sector, size_bytes);
        else
            device_.resync.count_failed(bits_for(size_bytes / sector_bytes));
        end_resync_read(read);
        device_.resync.check_complete();
        return true;
    }
    return false;
}

uint64_t PeerIo::unacknowledged_resync_bits() {
    uint64_t bits = 0;
    for (const PeerRequest& read : in_service_)
        if (read.kind == PeerKind::resync_read && read.answered)
            bits += bits_for(read.size_bytes / sector_bytes);
    return bits;
}

void PeerIo::end_resync_read(PeerRequest& read) {
    if (read.extent_locked && device_.disk)
        device_.disk->resync_extents.unlock(resync_extent_of(read.sector));
    read.extent_locked = false;
    read.answered = false;
    core_.notify();
    if (read.packet_queued)
        read.orphan = true;  // packet_done() gives it back
    else
        give(read);
}

// ---- resync, as target
// ---------------------------------------------------------------------------------------------

void PeerIo::resync_block_arrived(PeerRequest& request, bool deallocated) {
    if (request.orphan) {
        send_ack(wire::Command::neg_ack, request);
        give(request);
        return;
    }
    device_.resync.answered(request);
    device_.counters.received_kib += kib(request.size_bytes);
    device_.counters.written_kib += kib(request.size_bytes);
    request.dp_flags = deallocated ? wire::dp_flag::discard : 0;
    submit(request, deallocated ? IoKind::write_zeroes : IoKind::write);
}

void PeerIo::resync_write_completed(PeerRequest& write, int error) {
    if (error) device_.data_io_failed(error, false);
    if (write.orphan) {  // of a resync that was broken off; the source waits for word of every block
        send_ack(wire::Command::neg_ack, write);
        give(write);
        return;
    }
    // In sync here before the ack that lets the source say so too (I39).
    if (!error) device_.set_in_sync(write.sector, write.size_bytes);
    send_ack(error ? wire::Command::neg_ack : wire::Command::rs_write_ack, write);
    device_.resync.block_written(write, error == 0);
}

// ---- online verify, as target
// --------------------------------------------------------------------------------------

void PeerIo::await_answer(PeerRequest& read) {
    read.submitted = false;
    read.answered = true;
    give_buffer(read);
}

void PeerIo::verify_read_answered(Sector sector, uint32_t size_bytes) {
    for (PeerRequest& read : in_service_) {
        if (read.kind != PeerKind::verify_read || !read.answered || read.sector != sector ||
            read.size_bytes != size_bytes)
            continue;
        end_resync_read(read);
        return;
    }
}

void PeerIo::forget_resync_extents() {
    for (PeerRequest& request : in_service_) request.extent_locked = false;
}

void PeerIo::connection_lost() {
    waiting_reads_.clear();
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
