// Gets writes their activity-log references. A write whose single extent is hot goes on at once; the others
// queue, and a submitter gathers them into transactions of up to 64 changes and lets them go on when the
// transaction is on stable storage (meta data 9.4). Writes into a resync extent that resync has closed wait
// here as well (meta data 11.3).
#pragma once

#include <cstdint>
#include <functional>

#include "engine/activity_log.hpp"
#include "engine/bitmap.hpp"
#include "engine/meta_io.hpp"
#include "engine/resync_extents.hpp"
#include "engine/task.hpp"

namespace duplex::engine {

// Somebody who needs references on the extents [first, end).
class AlUser : public ListNode<AlUser> {
  public:
    AlExtent first_extent;
    AlExtent end_extent;
    bool holds_extents = false;

    // All references are there, from the loop.
    virtual void extents_active() = 0;

  protected:
    ~AlUser() = default;

  private:
    friend class Activation;
    AlExtent next_extent_;  // the first one still to get
};

class Activation {
  public:
    // transaction_ended gets 0, or the error a transaction could not be written with; the references are
    // granted all the same, since a write to a disk that is being given up fails by itself and lives on at
    // the peer (8.6).
    Activation(Executor& executor, MetaIo& meta_io, ActivityLog& log, Bitmap& bitmap,
               ResyncExtents& resync_extents, std::function<void(int error)> transaction_ended);

    // al-updates no: the set changes in memory only.
    void set_updates(bool on) { updates_ = on; }

    // true: the references are held. false: queued, extents_active() follows.
    bool activate(AlUser& user, Sector sector, uint64_t size_bytes);
    void release(AlUser& user);
    // The disk is given up: whoever waits goes on without references, whoever holds some holds none any more.
    void abandon();

    // Writes wait for the activity log.
    bool busy() const { return !queue_.empty(); }
    bool transaction_running() const { return transaction_running_; }
    // Something changed that a queued user may wait for: an extent was given back, resync opened an extent.
    void retry() { retry_.notify(); }

  private:
    void hold(AlUser& user);
    bool closed_for_resync(const AlUser& user);
    bool take_hot(AlUser& user);
    void take_rest(AlUser& user);
    Task<> submit();

    MetaIo& meta_io_;
    ActivityLog& log_;
    Bitmap& bitmap_;
    ResyncExtents& resync_extents_;
    std::function<void(int)> transaction_ended_;
    List<AlUser, AlUser> queue_;    // in order of arrival
    List<AlUser, AlUser> granted_;  // have all their references, waiting for the transaction
    List<AlUser, AlUser> holders_;
    Event retry_;
    bool updates_ = true;
    bool transaction_running_ = false;
    Task<> submitter_;
};

}  // namespace duplex::engine
