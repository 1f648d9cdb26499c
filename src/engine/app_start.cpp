// How an application's request starts: at the local disk, at the peer, or at both (states 9.2, 11.1).
#include <algorithm>
#include <utility>

#include "engine/core.hpp"
#include "engine/kib.hpp"
#include "engine/sabotage.hpp"

namespace duplex::engine {

// ---- writes
// --------------------------------------------------------------------------------------------------------

void AppIo::begin_write(AppRequest& request) {
    const bool logged = device_.has_disk(DiskState::inconsistent) && !device_.disk->al_suspended;
    if (logged && !device_.disk->activation.activate(request, request.sector, request.size_bytes)) return;
    extents_active(request);
}

void AppIo::extents_active(AppRequest& request) {
    if (!sabotage::overlapping_writes &&
        device_.writes.find_conflict(request.sector, request.end_sector(), nullptr)) {
        conflicting_.push_back(request);
        return;
    }
    start_write(request);
}

void AppIo::retry_conflicts() {
    for (auto at = conflicting_.begin(); at != conflicting_.end();) {
        AppRequest& request = *at;
        ++at;
        if (device_.writes.find_conflict(request.sector, request.end_sector(), nullptr)) continue;
        conflicting_.remove(request);
        start_write(request);
    }
}

// From here to the end nothing can come between: the transfer log, the epoch number and the order of sending
// agree.
void AppIo::start_write(AppRequest& request) {
    if (!may_start()) {  // suspended while it waited: untouched, from the beginning (9.2 item 4)
        start_over(request);
        return;
    }
    device_.congestion.check();
    const State s = device_.state();
    if (s.disk != DiskState::up_to_date && s.pdsk != DiskState::up_to_date) {
        complete(request, EIO);
        destroy(request);
        return;
    }
    request.started = true;
    ++writes_undone_;
    const bool local = device_.has_disk(DiskState::inconsistent);
    const bool remote = replicate(s);
    if (remote) {
        request.net_part = true;
        request.net_pending = true;
        ++peer_pending_;
        request.interval.first = request.sector;
        request.interval.end = request.end_sector();
        request.interval.local = true;
        request.interval.completed = false;
        device_.writes.insert(request.interval);
        core_.connection.barrier_before(core_.connection.transfer_log.current_epoch());
        core_.connection.transfer_log.add(request, core_.connection.options().max_epoch_size);
        device_.congestion.sent(request.size_bytes);
        send_write(request);
    } else if (mark_and_tell(s)) {
        mark_out_of_sync(request);
    }
    if (local) submit_local(request);
    check(request);
}

void AppIo::start_over(AppRequest& request) {
    TransferLog& log = core_.connection.transfer_log;
    if (!request.is_write() && static_cast<ListNode<InTransferLog>&>(request).linked())
        (request.op == Op::flush ? log.flushes : log.not_in_an_epoch).remove(request);
    answered_by_peer(request);
    if (request.holds_extents) device_.disk->activation.release(request);
    if (request.interval.linked()) device_.writes.remove(request.interval);
    if (request.started && request.is_write()) {
        --writes_undone_;
        if (request.net_part) device_.congestion.done(request.size_bytes);
    }
    request.in_flight = request.started = false;
    --in_flight_;
    request.reset_progress();
    held_.push_back(request);
    core_.notify();
}

void AppIo::mark_out_of_sync(AppRequest& request) {
    if (device_.bitmap.set_out_of_sync(request.sector, request.size_bytes) == 0) return;
    core_.connection.barrier_before(core_.connection.transfer_log.current_epoch());
    core_.connection.link.send_packet(Channel::data, wire::Command::out_of_sync, device_.wire_number(),
                                      wire::BlockDesc{request.sector, request.size_bytes});
}

void AppIo::send_write(AppRequest& request) {
    Connection& connection = core_.connection;
    uint32_t flags = wire::dp_flag::rw_sync;
    if (request.fua) flags |= wire::dp_flag::fua;
    const ConnState conn = device_.state().conn;
    if (conn >= ConnState::sync_source && conn <= ConnState::paused_sync_t)
        flags |= wire::dp_flag::may_set_in_sync | wire::dp_flag::send_write_ack;
    if (connection.options().protocol == config::Protocol::b) flags |= wire::dp_flag::send_receive_ack;
    if (connection.options().protocol == config::Protocol::c) flags |= wire::dp_flag::send_write_ack;

    const wire::BlockId block_id = block_id_of(request, core_.app_requests.index_of(&request));
    OutPacket& packet = request.packet;
    packet.payload = nullptr;
    packet.payload_bytes = 0;
    const uint32_t seq = device_.next_seq();
    if (request.op == Op::write) {
        packet.payload = request.data;
        packet.payload_bytes = request.size_bytes;
        const wire::Data head{request.sector, block_id, seq, flags};
        DigestValue checksum;
        if (connection.integrity_out())
            checksum = digest(*connection.integrity_out(), {request.data, request.size_bytes});
        const auto digest_bytes = static_cast<uint32_t>(checksum.size);
        const size_t fixed = wire::encode_packet(wire::Command::data, device_.wire_number(), head,
                                                 packet.head, digest_bytes + request.size_bytes);
        std::copy_n(checksum.bytes.begin(), digest_bytes, packet.head + fixed);
        packet.head_bytes = static_cast<uint32_t>(fixed) + digest_bytes;
    } else {
        const bool zeroes = request.op == Op::write_zeroes;
        if (zeroes) flags |= wire::dp_flag::zeroes;
        if (!zeroes || request.may_unmap) flags |= wire::dp_flag::discard;
        const wire::Trim head{request.sector, block_id, seq, flags, request.size_bytes};
        packet.head_bytes = static_cast<uint32_t>(wire::encode_packet(
            zeroes ? wire::Command::zeroes : wire::Command::trim, device_.wire_number(), head, packet.head));
    }
    request.dp_flags = flags;
    request.sent_ms = core_.ports.clock.now_ms();
    request.net_queued = connection.link.send(Channel::data, packet);
    if (request.net_queued) connection.transfer_log.write_sent(request.epoch);
    if (request.op == Op::write) device_.counters.sent_kib += kib(request.size_bytes);
}

void AppIo::submit_local(AppRequest& request) {
    DiskIo& io = request.local_io;
    io.sector = request.sector;
    io.size_bytes = request.size_bytes;
    io.data = request.data;
    io.fua = request.fua && request.op == Op::write;
    io.may_unmap = request.may_unmap;
    switch (request.op) {
        case Op::read:
            io.kind = IoKind::read;
            device_.counters.read_kib += kib(request.size_bytes);
            break;
        case Op::write:
            io.kind = IoKind::write;
            break;
        case Op::flush:
            io.kind = IoKind::flush;
            break;
        case Op::discard:
            io.kind = device_.disk->data.limits().can_discard ? IoKind::discard : IoKind::write_zeroes;
            io.may_unmap = true;
            break;
        case Op::write_zeroes:
            io.kind = IoKind::write_zeroes;
            break;
    }
    if (request.is_write()) device_.counters.written_kib += kib(request.size_bytes);
    request.local_pending = true;
    request.local_since_ms = core_.ports.clock.now_ms();
    ++local_pending_;
    device_.throttle.application_io(request.size_bytes);
    device_.use_disk();
    device_.disk->data.submit(io);
}

// ---- reads and flushes
// ---------------------------------------------------------------------------------------------

bool AppIo::read_locally(const AppRequest& request) const {
    const State s = device_.state();
    if (s.disk == DiskState::up_to_date) return true;
    return s.disk == DiskState::inconsistent && device_.bitmap_complete &&
           !device_.bitmap.any_out_of_sync(request.sector, request.size_bytes);
}

// Read balancing, where both disks have the data (states 11.1).
bool AppIo::better_at_peer(const AppRequest& request) {
    if (!device_.disk || device_.state().pdsk != DiskState::up_to_date || !core_.connection.established())
        return false;
    const config::ReadBalancing policy = device_.disk->options.read_balancing;
    switch (policy) {
        case config::ReadBalancing::prefer_local:
        case config::ReadBalancing::when_congested_remote:
            return false;
        case config::ReadBalancing::prefer_remote:
            return true;
        case config::ReadBalancing::round_robin:
            return std::exchange(peers_turn_, !peers_turn_);
        case config::ReadBalancing::least_pending:
            return local_pending_ > peer_pending_;
        default: {
            constexpr unsigned smallest_stripe_bits = 15;
            const unsigned shift = smallest_stripe_bits + static_cast<unsigned>(policy) -
                                   static_cast<unsigned>(config::ReadBalancing::striping_32k);
            return request.sector.value * sector_bytes >> shift & 1;
        }
    }
}

void AppIo::start_read(AppRequest& request) {
    request.started = true;
    if (read_locally(request) && !(request.retries == 0 && better_at_peer(request))) {
        submit_local(request);
    } else if (device_.state().pdsk == DiskState::up_to_date && core_.connection.established()) {
        send_read(request);
    } else {
        complete(request, EIO);
        destroy(request);
    }
}

void AppIo::send_read(AppRequest& request) {
    Connection& connection = core_.connection;
    request.net_part = request.net_pending = true;
    ++peer_pending_;
    request.epoch = connection.transfer_log.current_epoch();
    connection.barrier_before(request.epoch);
    connection.transfer_log.not_in_an_epoch.push_back(request);
    request.sent_ms = core_.ports.clock.now_ms();
    const wire::BlockRequest head{request.sector, block_id_of(request, core_.app_requests.index_of(&request)),
                                  request.size_bytes};
    request.packet.payload = nullptr;
    request.packet.payload_bytes = 0;
    request.packet.head_bytes = static_cast<uint32_t>(
        wire::encode_packet(wire::Command::data_request, device_.wire_number(), head, request.packet.head));
    request.net_queued = connection.link.send(Channel::data, request.packet);
}

// Its own disk is enough for a flush, as in the kernel (states 9.10), only where nothing else can become the
// data: not on a disk that a resync will overwrite or that is not there, and not with two Primaries, of which
// after a power failure of both either may be the one that is synchronised to (rule 40). There the peer's
// flush at the end of the epoch is waited for.
void AppIo::start_flush(AppRequest& request) {
    request.started = true;
    TransferLog& log = core_.connection.transfer_log;
    const State s = device_.state();
    const bool local_is_enough = s.disk == DiskState::up_to_date && s.peer != Role::primary;
    if (replicate(s)) {
        log.close_epoch();
        request.net_ok = log.requests().empty();
        if (!request.net_ok && !local_is_enough) {
            request.net_part = request.net_pending = true;
            ++peer_pending_;
            request.epoch = log.current_epoch() - 1;
            log.flushes.push_back(request);
        }
    }
    if (device_.has_disk(DiskState::inconsistent)) submit_local(request);
    check(request);
}

void AppIo::stable_at_peer(AppRequest& flush) {
    answered_by_peer(flush);
    flush.net_ok = flush.net_done = true;
    check(flush);
}

}  // namespace duplex::engine
