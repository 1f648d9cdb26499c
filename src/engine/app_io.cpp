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
    const bool exchanges = s.conn == ConnState::wf_bitmap_t || s.conn == ConnState::wf_sync_uuid;
    if (exchanges && !sabotage::admission) return false;
    return suspensions_ == 0 && !is_suspended(s) && s.disk != DiskState::attaching &&
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

// ---- completion
// ----------------------------------------------------------------------------------------------------

void AppIo::check(AppRequest& request) {
    if (request.local_pending || request.net_queued) return;
    if (!request.completed) {
        if (request.retry_wanted && (request.is_write() || request.retries++ < retries_max)) {
            start_over(request);
            return;
        }
        if (request.net_pending || request.postponed || request.frozen) return;
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
        if (request.epoch == core_.connection.transfer_log.current_epoch() && !sabotage::epochs)
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
    if (!request.buffer_held || (request.abandoned && !request.abandoned_data)) return;
    request.buffer_held = false;
    core_.buffers.give(request.data, request.size_bytes);
    request.data = nullptr;
    core_.room_again();
}

void AppIo::free_if_unused(AppRequest& request) {
    if (!request.released || request.abandoned || (request.started && !request.destroyed)) return;
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
