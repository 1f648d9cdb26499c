#include "engine/activation.hpp"

#include "engine/sabotage.hpp"

namespace duplex::engine {

namespace {

ResyncExtent around(AlExtent extent) {
    return ResyncExtent(extent.value * al_extent_bytes / resync_extent_bytes);
}

template <typename Condition>
bool any_resync_extent(const AlUser& user, Condition condition) {
    const ResyncExtent last = around(AlExtent(user.end_extent.value - 1));
    for (ResyncExtent extent = around(user.first_extent); extent <= last; ++extent)
        if (condition(extent)) return true;
    return false;
}

}  // namespace

Activation::Activation(Executor& executor, MetaIo& meta_io, ActivityLog& log, Bitmap& bitmap,
                       ResyncExtents& resync_extents, std::function<void(int)> transaction_ended)
    : meta_io_(meta_io),
      log_(log),
      bitmap_(bitmap),
      resync_extents_(resync_extents),
      transaction_ended_(std::move(transaction_ended)),
      retry_(executor),
      submitter_(submit()) {}

bool Activation::activate(AlUser& user, Sector sector, uint64_t size_bytes) {
    user.first_extent = user.next_extent_ = al_extent_of(sector);
    user.end_extent = al_extent_of(sector + (size_bytes / sector_bytes - 1)) + 1;
    if (user.end_extent - user.first_extent == 1 && take_hot(user)) return true;
    queue_.push_back(user);
    retry_.notify();
    return false;
}

void Activation::release(AlUser& user) {
    ensure(user.holds_extents);
    user.holds_extents = false;
    holders_.remove(user);
    for (AlExtent extent = user.first_extent; extent < user.end_extent; ++extent) log_.put(extent);
    if (!queue_.empty()) retry_.notify();
}

void Activation::hold(AlUser& user) {
    // I41
    ensure(!any_resync_extent(user, [this](ResyncExtent extent) { return resync_extents_.locked(extent); }));
    user.holds_extents = true;
    holders_.push_back(user);
}

void Activation::abandon() {
    while (!holders_.empty()) holders_.pop_front().holds_extents = false;
    while (!granted_.empty()) granted_.pop_front().extents_active();
    while (!queue_.empty()) queue_.pop_front().extents_active();
}

bool Activation::closed_for_resync(const AlUser& user) {
    return any_resync_extent(
        user, [this](ResyncExtent extent) { return resync_extents_.closed_to_writes(extent); });
}

bool Activation::take_hot(AlUser& user) {
    if (closed_for_resync(user)) return false;
    if (log_.get_hot(user.first_extent) != ActivityLog::Get::granted) return false;
    user.next_extent_ = user.end_extent;
    hold(user);
    return true;
}

// What it gets it keeps, also if the rest has to come with the next transaction. Meanwhile a resync may have
// got an extent of the rest, and ends without those it keeps.
void Activation::take_rest(AlUser& user) {
    while (user.next_extent_ < user.end_extent && !resync_extents_.locked(around(user.next_extent_)) &&
           log_.get(user.next_extent_) == ActivityLog::Get::granted)
        ++user.next_extent_;
}

Task<> Activation::submit() {
    for (;;) {
        for (auto at = queue_.begin(); at != queue_.end();) {
            AlUser& user = *at;
            ++at;
            // Whoever holds a part already must not be held up by a resync that has not got its extent yet:
            // that waits for these references.
            if (user.next_extent_ == user.first_extent && closed_for_resync(user)) continue;
            take_rest(user);
            if (user.next_extent_ < user.end_extent) break;  // in order: the next ones come after this one
            queue_.remove(user);
            granted_.push_back(user);
        }
        if (!log_.changing() && granted_.empty()) {
            auto woken = retry_.wait();
            co_await woken;
            continue;
        }
        if (log_.changing()) {
            log_.lock();
            transaction_running_ = true;
            int error = 0;
            if (updates_ && !sabotage::activity_log) {
                Task<int> written = meta_io_.write_al(log_, bitmap_);
                error = co_await written;
            }
            log_.commit();
            transaction_running_ = false;
            transaction_ended_(error);
        }
        while (!granted_.empty()) {
            AlUser& user = granted_.pop_front();
            hold(user);
            user.extents_active();
        }
    }
}

}  // namespace duplex::engine
