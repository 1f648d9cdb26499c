#include "engine/transfer_log.hpp"

namespace duplex::engine {

void TransferLog::add(AppRequest& write, uint32_t epoch_size_max) {
    write.epoch = epoch_;
    log_.push_back(write);
    if (++epoch_writes_ >= epoch_size_max) close_epoch();
}

void TransferLog::close_epoch() {
    if (epoch_writes_ == 0) return;
    ++epoch_;
    epoch_writes_ = 0;
}

uint32_t TransferLog::writes_of(uint32_t epoch) {
    uint32_t writes = 0;
    for (const AppRequest& request : log_) {
        if (is_after(request.epoch, epoch)) break;
        writes += request.epoch == epoch;
    }
    return writes;
}

AppRequest* TransferLog::oldest_of(uint32_t epoch) {
    for (AppRequest& request : log_) {
        if (request.epoch == epoch) return &request;
        if (is_after(request.epoch, epoch)) break;
    }
    return nullptr;
}

uint32_t TransferLog::barrier_sent(uint64_t now_ms) {
    ensure(unbarriered_writes_ > 0);  // the peer would count an empty epoch's barrier to the next write (7.6)
    unbarriered_writes_ = 0;
    ++epochs_open_;
    last_barrier_ms_ = now_ms;
    return sending_epoch_;
}

void TransferLog::write_sent(uint32_t epoch) {
    ensure(!barrier_due_before(epoch));
    sending_epoch_ = epoch;
    ++unbarriered_writes_;
}

}  // namespace duplex::engine
