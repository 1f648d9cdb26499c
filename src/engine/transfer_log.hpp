// The sender's epochs (states 9.4, wire protocol 7.6): every replicated write belongs to the epoch that was
// current when it started; whatever the application issues after it saw a write complete is in a later one.
// The log keeps the writes in order until the peer's barrier ack says that an epoch is on its disk.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "engine/requests.hpp"

namespace duplex::engine {

class TransferLog {
  public:
    using Requests = List<AppRequest, InTransferLog>;

    // The current epoch gets one more write; closed when it has epoch_size_max.
    void add(AppRequest& write, uint32_t epoch_size_max);
    void remove(AppRequest& write) { log_.remove(write); }
    // Ends the current epoch if it has a write.
    void close_epoch();
    uint32_t current_epoch() const { return epoch_; }

    // A new connection: nothing was sent on it yet.
    void connection_started() {
        unbarriered_writes_ = 0;
        conflicts_.clear();
    }
    // To be asked before a packet of `epoch` is sent: must a barrier for an earlier epoch go first?
    bool barrier_due_before(uint32_t epoch) const {
        return unbarriered_writes_ > 0 && sending_epoch_ != epoch;
    }
    // The epoch whose writes were sent is closed, and its barrier was not sent yet.
    bool barrier_due() const { return barrier_due_before(epoch_); }
    uint32_t barrier_sent(uint64_t now_ms);  // returns the number to send
    void write_sent(uint32_t epoch);
    uint64_t last_barrier_ms() const { return last_barrier_ms_; }

    Requests& requests() { return log_; }
    // The writes of an epoch that are in the log; the oldest of them, or nullptr.
    uint32_t writes_of(uint32_t epoch);
    AppRequest* oldest_of(uint32_t epoch);
    // Lost with the connection like the writes: reads that the peer is to answer, and writes that it wants
    // again although their epoch is acknowledged.
    Requests not_in_an_epoch;
    // Acknowledged on an earlier connection, which ended before their barrier ack: stable with the next one,
    // whatever its epoch, because the peer flushes all that it has.
    Requests acked_before;
    // Applications' flushes that wait for the barrier ack of `epoch` and of all before it, in their order.
    Requests flushes;
    bool first_flush_done() {
        return !flushes.empty() && (log_.empty() || is_after(log_.front().epoch, flushes.front().epoch));
    }
    uint32_t epochs_open() const { return epochs_open_; }
    // Its barrier has left: no write of it is still to be sent.
    bool barrier_sent_for(uint32_t epoch) const {
        return epoch != epoch_ && !(unbarriered_writes_ > 0 && epoch == sending_epoch_);
    }
    // Epochs of which the resolver took writes out (wire protocol 8.4).
    void note_conflict(uint32_t epoch) {
        if (!had_conflict(epoch)) conflicts_.push_back(epoch);
    }
    bool had_conflict(uint32_t epoch) const {
        return std::find(conflicts_.begin(), conflicts_.end(), epoch) != conflicts_.end();
    }
    void forget_conflict(uint32_t epoch) { std::erase(conflicts_, epoch); }
    void epoch_acknowledged() {
        if (epochs_open_ > 0) --epochs_open_;
    }
    void all_acknowledged() { epochs_open_ = 0; }

  private:
    static bool is_after(uint32_t epoch, uint32_t other) { return static_cast<int32_t>(epoch - other) > 0; }

    Requests log_;  // the epochs in their order
    uint32_t epoch_ = 0;
    uint32_t epoch_writes_ = 0;
    uint32_t sending_epoch_ = 0;
    uint32_t unbarriered_writes_ = 0;
    uint32_t epochs_open_ = 0;  // barriers sent, not acknowledged
    uint64_t last_barrier_ms_ = 0;
    std::vector<uint32_t> conflicts_;
};

}  // namespace duplex::engine
