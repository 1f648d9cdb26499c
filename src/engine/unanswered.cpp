// What becomes of the transfer log when the connection is lost, or the peer does not answer
// (states 9.8, 15.3; wire protocol 14.4).
#include <algorithm>

#include "engine/core.hpp"

namespace duplex::engine {

void Connection::lose(TransferLog::Requests& requests) {
    while (!requests.empty()) {
        AppRequest& request = requests.pop_front();
        request.device->app.connection_lost(request);
    }
}

// Every write without a barrier ack may be missing at the peer, whether it was acknowledged or not
// (states 9.8).
void Connection::clean_transfer_log() {
    transfer_log.close_epoch();
    transfer_log.all_acknowledged();
    log_is_frozen_ = false;
    lose(transfer_log.acked_before);
    lose(transfer_log.requests());
    lose(transfer_log.not_in_an_epoch);
    lose(transfer_log.flushes);
}

// Reads and flushes start anew when I/O goes on.
void Connection::freeze_transfer_log() {
    transfer_log.close_epoch();
    transfer_log.all_acknowledged();
    log_is_frozen_ = true;
    for (AppRequest& request : transfer_log.requests()) request.device->app.freeze(request);
    lose(transfer_log.not_in_an_epoch);
    lose(transfer_log.flushes);
}

bool Connection::resend_frozen() {
    if (!log_is_frozen_) return false;
    TransferLog::Requests& log = transfer_log.requests();
    bool sends = false, keeps = !transfer_log.acked_before.empty();
    for (const AppRequest& request : log) {
        if (!replicate(request.device->state())) continue;
        (request.peer_had_it() ? keeps : sends) = true;
    }
    // Nothing would make stable at the peer what it has acknowledged.
    if (keeps && !sends) {
        clean_transfer_log();
        return false;
    }
    log_is_frozen_ = false;
    for (auto at = log.begin(); at != log.end();) {
        AppRequest& request = *at;
        ++at;
        AppIo& app = request.device->app;
        if (replicate(request.device->state()) && !request.peer_had_it()) {
            app.send_again(request);
            continue;
        }
        log.remove(request);
        if (replicate(request.device->state())) {
            transfer_log.acked_before.push_back(request);
            app.unfreeze(request);
        } else {
            app.connection_lost(request);
        }
    }
    return true;
}

void Connection::release_frozen() {
    if (log_is_frozen_) clean_transfer_log();
}

// Wire protocol 14.4.
void Connection::check_oldest_request() {
    core_.ports.clock.arm(request_timer_, request_check_ms);
    const uint64_t limit_ms = uint64_t{options_.timeout_ds} * 100 * options_.ko_count;
    const uint64_t now = core_.ports.clock.now_ms();
    if (limit_ms == 0 || now - established_ms_ < limit_ms) return;
    waive_conflict_epochs(now - limit_ms);
    for (AppRequest& request : transfer_log.requests()) {
        if (request.superseded || request.postponed || request.frozen) continue;
        const uint64_t since_ms =
            std::max(request.sent_ms, request.net_pending ? 0 : transfer_log.last_barrier_ms());
        const bool waits = request.net_pending || transfer_log.barrier_sent_for(request.epoch);
        if (waits && now - since_ms > limit_ms)
            drop(ConnState::timeout, "Remote failed to finish a request within ko-count * timeout");
        return;
    }
}

// A kernel that is the resolver never acknowledges an epoch in which it gave a verdict (wire protocol 8.4).
// When no later epoch follows, nothing releases it: a flush would wait until the connection is dropped, which
// is a split brain. It has had the time that any epoch has.
void Connection::waive_conflict_epochs(uint64_t before_ms) {
    TransferLog::Requests& log = transfer_log.requests();
    while (!log.empty()) {
        const uint32_t epoch = log.front().epoch;
        if (!transfer_log.had_conflict(epoch) || !transfer_log.barrier_sent_for(epoch)) return;
        if (transfer_log.last_barrier_ms() > before_ms) return;
        for (const AppRequest& request : log) {
            if (request.epoch != epoch) break;
            if (request.net_pending) return;
        }
        acknowledge_epoch(epoch);
    }
}

}  // namespace duplex::engine
