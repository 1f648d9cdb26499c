// What happens to an application's request on its way (states 9.6, 9.8): answers of the disk and of the peer,
// a lost connection, a disk that is given up.
#include <algorithm>
#include <cerrno>
#include <utility>

#include "engine/core.hpp"
#include "engine/kib.hpp"
#include "engine/sabotage.hpp"

namespace duplex::engine {

// ---- events (states 9.6)
// -------------------------------------------------------------------------------------------

void AppIo::local_completed(AppRequest& request, int error) {
    if (request.abandoned) {
        let_go_by_disk(request);
        return;
    }
    // A disk that refuses a discard need not be broken (states 9.10), but one replica with the old data and
    // one without them, both UpToDate, is not to be had: nothing would ever resync them. Zeroes do as well.
    if (error && request.local_io.kind == IoKind::discard && device_.has_disk(DiskState::inconsistent)) {
        request.local_io.kind = IoKind::write_zeroes;
        request.local_io.may_unmap = false;  // not the same again under another name
        request.local_since_ms = core_.ports.clock.now_ms();
        device_.disk->data.submit(request.local_io);
        return;
    }
    request.local_pending = false;
    --local_pending_;
    request.local_ok = error == 0;
    request.local_error = error;
    if (error) {
        // The bits first, while the disk still counts as Inconsistent or better (I20).
        if (request.op != Op::flush) {
            device_.set_out_of_sync(request.sector, request.size_bytes);
            device_.resync.own_block_failed();
        }
        if (!request.is_write()) request.retry_wanted = true;  // the peer may be able to
        // Zeroes too: where the peer has them the request succeeds, and this disk still reads the old data.
        // (In the kernel it stays UpToDate.)
        device_.data_io_failed(error, request.op == Op::read);
    }
    check(request);
    device_.unuse_disk();
}

std::optional<uint64_t> AppIo::oldest_local_ms() const {
    std::optional<uint64_t> oldest;
    for (size_t i = 0; i < core_.app_requests.capacity(); ++i) {
        const AppRequest& request = *core_.app_requests.at(i);
        if (request.device != &device_ || !request.taken || !request.local_pending) continue;
        oldest = std::min(oldest.value_or(request.local_since_ms), request.local_since_ms);
    }
    return oldest;
}

void AppIo::abandon_local() {
    for (size_t i = 0; i < core_.app_requests.capacity(); ++i) {
        AppRequest& request = *core_.app_requests.at(i);
        if (request.device == &device_ && request.taken && request.local_pending) abandon(request);
    }
}

// What the disk still does must not be seen: a read that goes on elsewhere gets another buffer.
void AppIo::abandon(AppRequest& request) {
    request.abandoned = true;
    request.local_pending = request.local_ok = false;
    request.local_error = EIO;
    --local_pending_;
    if (!request.is_write()) request.retry_wanted = true;
    if (request.op == Op::read) {
        uint8_t* fresh = core_.buffers.take(request.size_bytes);
        if (fresh)
            request.abandoned_data = std::exchange(request.data, fresh);
        else
            request.retry_wanted = false;  // it ends with the error
    }
    check(request);
}

void AppIo::let_go_by_disk(AppRequest& request) {
    request.abandoned = false;
    if (request.abandoned_data) {
        core_.buffers.give(std::exchange(request.abandoned_data, nullptr), request.size_bytes);
        core_.room_again();
    }
    if (request.completed && request.is_write()) give_buffer(request);
    free_if_unused(request);
    device_.unuse_disk();
}

void AppIo::answered_by_peer(AppRequest& request) {
    if (!request.net_pending) return;
    request.net_pending = false;
    --peer_pending_;
}

void AppIo::packet_done(AppRequest& request, bool sent) {
    request.net_queued = false;
    const uint32_t acks =
        wire::dp_flag::send_write_ack | (sabotage::receive_ack ? 0 : wire::dp_flag::send_receive_ack);
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
    request.net_ok = request.postponed = request.frozen = false;
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

void AppIo::freeze(AppRequest& request) {
    answered_by_peer(request);
    request.frozen = true;
}

void AppIo::unfreeze(AppRequest& request) {
    request.frozen = false;
    check(request);
}

void AppIo::send_again(AppRequest& request) {
    ensure(!request.net_queued);
    request.frozen = false;
    request.net_pending = true;
    ++peer_pending_;
    core_.connection.barrier_before(request.epoch);
    send_write(request);
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

}  // namespace duplex::engine
