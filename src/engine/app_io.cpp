#include "engine/app_io.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "engine/core.hpp"
#include "engine/sabotage.hpp"

namespace duplex::engine {

namespace {

// A read that failed here or there looks for another way; a peer that keeps refusing ends that.
constexpr uint32_t retries_max = 3;

uint64_t kib(uint64_t bytes) {
    return (bytes + 1023) / 1024;
}

}  // namespace

void AppRequest::LocalIo::completed(int error) {
    request->device->app.local_completed(*request, error);
}

void AppRequest::Packet::done(bool sent) {
    request->device->app.packet_done(*request, sent);
}

void AppRequest::extents_active() {
    device->app.extents_active(*this);
}

AppIo::~AppIo() {
    held_.clear();
    conflicting_.clear();
    deliverable_.clear();
    held_back_.clear();
}

// ---- from the exports
// ----------------------------------------------------------------------------------------------

Request* AppIo::take(Op op, Sector sector, uint32_t size_bytes, User& user) {
    const bool has_data = op == Op::read || op == Op::write;
    ensure(size_bytes <= (has_data ? request_bytes_max : discard_request_bytes_max));
    AppRequest* request = core_.app_requests.take();
    if (!request) {
        core_.wait_for_room(user);
        return nullptr;
    }
    uint8_t* buffer = nullptr;
    if (has_data && size_bytes > 0) {
        buffer = core_.buffers.take(size_bytes);
        if (!buffer) {
            core_.app_requests.give(request);
            core_.wait_for_room(user);
            return nullptr;
        }
    }
    request->op = op;
    request->fua = request->may_unmap = false;
    request->sector = sector;
    request->size_bytes = size_bytes;
    request->data = buffer;
    request->error = 0;
    request->user = &user;
    request->device = &device_;
    request->local_io.request = request->packet.request = request->interval.request = request;
    ++request->serial;
    request->taken = true;
    request->submitted = request->in_flight = request->started = false;
    request->buffer_held = buffer != nullptr;
    request->released = request->completed = false;
    request->dp_flags = 0;
    request->retries = 0;
    request->reset_progress();
    return request;
}

void AppIo::submit(Request& base) {
    auto& request = static_cast<AppRequest&>(base);
    ensure(request.taken && !request.submitted);
    request.submitted = true;
    request.submitted_ms = core_.ports.clock.now_ms();
    request.error = refuse(request);
    if (request.error) {
        request.completed = true;
        deliverable_.push_back(request);  // never from inside the call
        core_.notify();
        return;
    }
    admit(request);
}

void AppIo::release(Request& base) {
    auto& request = static_cast<AppRequest&>(base);
    ensure(request.taken && !request.released && (request.completed || !request.submitted));
    request.released = true;
    if (!request.submitted) request.completed = true;
    free_if_unused(request);
}

int AppIo::refuse(const AppRequest& request) const {
    const bool is_write = request.is_write();
    if (!device_.is_primary()) return is_write ? EROFS : EMEDIUMTYPE;
    if (request.op == Op::flush) return 0;
    const uint64_t sectors = request.size_bytes / sector_bytes;
    if (request.size_bytes == 0 || request.size_bytes % sector_bytes != 0) return EINVAL;
    if (request.sector.value > device_.size_sectors() ||
        sectors > device_.size_sectors() - request.sector.value)
        return is_write ? ENOSPC : EINVAL;
    if (device_.disk && !device_.disk->takes(request.sector, request.size_bytes)) return EINVAL;
    // The peer must be able to do the same (wire protocol 5.3, 7.2); the client writes zeroes instead.
    const Connection& connection = core_.connection;
    if (!connection.established()) return 0;
    if (request.op == Op::discard && !(connection.features() & wire::feature::trim)) return EOPNOTSUPP;
    if (request.op == Op::write_zeroes &&
        (!(connection.features() & wire::feature::wzeroes) || connection.integrity_out()))
        return EOPNOTSUPP;
    const uint32_t longest = connection.features() & wire::feature::wsame
                                 ? wire::trim_bytes_max
                                 : wire::trim_bytes_max_without_wsame;
    if ((request.op == Op::discard || request.op == Op::write_zeroes) && request.size_bytes > longest)
        return EOPNOTSUPP;
    return 0;
}

// ---- admission (states 9.1)
// ----------------------------------------------------------------------------------------

bool AppIo::may_start() const {
    const State s = device_.state();
    // The peer has to know that its disk is the only one before it gets a write: it keeps the bits then.
    if (s.disk == DiskState::failed && !core_.worker.idle()) return false;
    return suspensions_ == 0 && !is_suspended(s) && s.conn != ConnState::wf_bitmap_t &&
           s.conn != ConnState::wf_sync_uuid && s.disk != DiskState::attaching &&
           s.disk != DiskState::negotiating && in_flight_ <= core_.connection.options().max_buffers;
}

void AppIo::admit(AppRequest& request) {
    if (!held_.empty() || !may_start())
        held_.push_back(request);
    else
        begin(request);
}

void AppIo::resume() {
    ensure(suspensions_ > 0);
    if (--suspensions_ == 0) core_.notify();
}

void AppIo::retry_held() {
    if (!completions_held()) deliverable_.splice_back(held_back_);
    while (!deliverable_.empty()) {
        AppRequest& request = deliverable_.pop_front();
        if (completions_held() && request.op != Op::read)
            held_back_.push_back(request);
        else
            deliver(request);
    }
    while (!held_.empty() && may_start()) begin(held_.pop_front());
}

void AppIo::begin(AppRequest& request) {
    request.in_flight = true;
    ++in_flight_;
    switch (request.op) {
        case Op::read:
            start_read(request);
            break;
        case Op::flush:
            start_flush(request);
            break;
        default:
            begin_write(request);
    }
}

// ---- writes
// --------------------------------------------------------------------------------------------------------

void AppIo::begin_write(AppRequest& request) {
    const bool logged = device_.has_disk(DiskState::inconsistent) && !device_.disk->al_suspended;
    if (logged && !device_.disk->activation.activate(request, request.sector, request.size_bytes)) return;
    extents_active(request);
}

void AppIo::extents_active(AppRequest& request) {
    if (device_.writes.find_conflict(request.sector, request.end_sector(), nullptr)) {
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

// ---- events (states 9.6)
// -------------------------------------------------------------------------------------------

void AppIo::local_completed(AppRequest& request, int error) {
    request.local_pending = false;
    --local_pending_;
    request.local_ok = error == 0;
    request.local_error = error;
    if (error) {
        // The bits first, while the disk still counts as Inconsistent or better (I20).
        if (request.op != Op::flush) device_.set_out_of_sync(request.sector, request.size_bytes);
        if (!request.is_write()) request.retry_wanted = true;  // the peer may be able to
        const bool optional = request.op == Op::discard || request.op == Op::write_zeroes;
        if (!optional) device_.data_io_failed(error, request.op == Op::read);
    }
    check(request);
    device_.unuse_disk();
}

void AppIo::answered_by_peer(AppRequest& request) {
    if (!request.net_pending) return;
    request.net_pending = false;
    --peer_pending_;
}

void AppIo::packet_done(AppRequest& request, bool sent) {
    request.net_queued = false;
    const uint32_t acks = wire::dp_flag::send_receive_ack | wire::dp_flag::send_write_ack;
    if (sent && request.is_write() && !(request.dp_flags & acks) && request.net_pending) {
        answered_by_peer(request);  // protocol A: TCP has it all
        request.net_ok = true;
    }
    check(request);
}

void AppIo::acked(AppRequest& request, bool marked_in_sync) {
    answered_by_peer(request);
    request.net_ok = true;
    request.sis |= marked_in_sync;
    check(request);
}

void AppIo::neg_acked(AppRequest& request) {
    answered_by_peer(request);
    request.net_ok = false;
    request.sis = false;
    device_.set_out_of_sync(request.sector, request.size_bytes);
    check(request);
}

void AppIo::superseded(AppRequest& request) {
    answered_by_peer(request);
    request.net_ok = request.net_done = request.superseded = true;
    check(request);
}

void AppIo::to_be_retried(AppRequest& request) {
    request.postponed = true;
    core_.notify();
}

void AppIo::barrier_acked(AppRequest& request) {
    request.net_done = true;
    check(request);
}

void AppIo::read_answered(AppRequest& request) {
    answered_by_peer(request);
    core_.connection.transfer_log.not_in_an_epoch.remove(request);
    request.net_ok = request.net_done = true;
    device_.counters.received_kib += kib(request.size_bytes);
    check(request);
}

void AppIo::read_refused(AppRequest& request) {
    answered_by_peer(request);
    request.net_done = true;
    request.retry_wanted = true;
    check(request);
}

void AppIo::connection_lost(AppRequest& request) {
    answered_by_peer(request);
    request.net_done = true;
    request.net_ok = request.postponed = false;
    // The next flush has to say that this one may be lost: the peer is not known to have it on stable
    // storage.
    const bool local_counts = request.local_ok && device_.state().disk == DiskState::up_to_date;
    if (request.is_write() && request.completed && request.error == 0 && !local_counts) lost_writes_ = true;
    // Without data anywhere it waits for them, if that is what on-no-data-accessible says, and starts anew;
    // what one side may have of it already is dirty until then (states 9.8, 15.6).
    const bool frozen = core_.susp_nod && request.op != Op::read && !request.completed;
    if (frozen && request.is_write()) device_.set_out_of_sync(request.sector, request.size_bytes);
    request.retry_wanted = request.op == Op::read || frozen;
    check(request);
}

void AppIo::restart_postponed(const Interval& over) {
    for (;;) {
        AppRequest* found = nullptr;
        device_.writes.for_each_conflict(over.first, over.end, &over, [&found](Interval& other) {
            if (!other.local) return true;
            AppRequest& request = *static_cast<AppRequest::Range&>(other).request;
            if (!request.postponed || request.local_pending || request.net_queued) return true;
            found = &request;
            return false;
        });
        if (!found) return;
        TransferLog& log = core_.connection.transfer_log;
        (found->net_done ? log.not_in_an_epoch : log.requests()).remove(*found);
        start_over(*found);
    }
}

// ---- completion
// ----------------------------------------------------------------------------------------------------

void AppIo::check(AppRequest& request) {
    if (request.local_pending || request.net_queued) return;
    if (!request.completed) {
        if (request.retry_wanted && (request.is_write() || request.retries++ < retries_max)) {
            start_over(request);
            return;
        }
        if (request.net_pending || request.postponed) return;
        // A write that is nowhere but on a disk that a resync will overwrite, or that is being given up, is
        // lost (the kernel calls it written, states 9.8).
        const State now = device_.state();
        const bool is_read = request.op == Op::read;
        const bool local_counts = is_read || now.disk == DiskState::up_to_date;
        const bool peer_counts = is_read || now.pdsk == DiskState::up_to_date;
        bool ok = (request.local_ok && local_counts) || (request.net_ok && peer_counts);
        // The only good disk has just gone: it waits for data to come back, as what is issued now (states
        // 15.6); what that disk may have of it is dirty until then.
        if (!ok && core_.susp_nod && (!request.net_part || request.net_done)) {
            if (request.is_write()) device_.set_out_of_sync(request.sector, request.size_bytes);
            start_over(request);
            return;
        }
        if (request.op == Op::flush && std::exchange(lost_writes_, false)) ok = false;
        complete(request, ok ? 0 : request.local_error ? request.local_error : EIO);
    }
    if (!request.net_part || request.net_done) destroy(request);
}

void AppIo::complete(AppRequest& request, int error) {
    request.completed = true;
    request.error = error;
    if (request.is_write() && request.net_part) {
        // What the application issues from now on may depend on this write.
        if (request.epoch == core_.connection.transfer_log.current_epoch())
            core_.connection.transfer_log.close_epoch();
        request.interval.completed = true;
    }
    if (request.is_write()) give_buffer(request);
    if (completions_held() && request.op != Op::read)
        held_back_.push_back(request);
    else
        deliverable_.push_back(request);
    core_.notify();
}

// I28, I49.
bool AppIo::completions_held() const {
    return completion_holds_ > 0 || core_.susp_fen;
}

void AppIo::deliver(AppRequest& request) {
    if (request.in_flight) {
        request.in_flight = false;
        --in_flight_;
        ++(request.is_write() ? device_.counters.app_writes : device_.counters.app_reads);
        device_.counters.app_ms += core_.ports.clock.now_ms() - request.submitted_ms;
    }
    core_.notify();
    request.user->completed(request);
}

void AppIo::release_completions() {
    ensure(completion_holds_ > 0);
    --completion_holds_;
    core_.notify();
}

void AppIo::destroy(AppRequest& request) {
    if (request.is_write() && request.started) {
        --writes_undone_;
        if (request.net_part) device_.congestion.done(request.size_bytes);
        if (!(request.net_ok && request.local_ok) && !sabotage::out_of_sync_bits)
            device_.set_out_of_sync(request.sector, request.size_bytes);
        else if (request.sis)
            device_.peer_marked_in_sync(request.sector, request.size_bytes);
    }
    if (request.sis) device_.resync.check_complete();
    // Only now: bits first, then the extents they excuse (I20).
    if (request.holds_extents) {
        device_.disk->activation.release(request);
        core_.notify();
    }
    if (request.interval.linked()) {
        device_.writes.remove(request.interval);
        core_.notify();
    }
    if (static_cast<ListNode<InTransferLog>&>(request).linked())
        core_.connection.transfer_log.remove(request);
    request.destroyed = true;
    free_if_unused(request);
}

void AppIo::give_buffer(AppRequest& request) {
    if (!request.buffer_held) return;
    request.buffer_held = false;
    core_.buffers.give(request.data, request.size_bytes);
    request.data = nullptr;
    core_.room_again();
}

void AppIo::free_if_unused(AppRequest& request) {
    if (!request.released || (request.started && !request.destroyed)) return;
    give_buffer(request);
    request.taken = false;
    core_.app_requests.give(&request);
    core_.room_again();
}

// ---- handles (wire protocol 7.7)
// -----------------------------------------------------------------------------------

wire::BlockId AppIo::block_id_of(const AppRequest& request, size_t index) {
    return {uint64_t{request.serial} << 32 | index};
}

AppRequest* AppIo::find(wire::BlockId block_id, Sector sector) {
    AppRequest* request = core_.app_requests.at(block_id.raw & 0xffffffff);
    const bool known = request && request->taken && request->started && request->net_part &&
                       !request->destroyed && request->device == &device_ &&
                       request->serial == block_id.raw >> 32 && request->sector == sector;
    return known ? request : nullptr;
}

}  // namespace duplex::engine
