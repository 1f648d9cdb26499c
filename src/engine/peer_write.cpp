// The peer's writes (states 9.5), and how they and ours get along with two Primaries (states 10).
#include "engine/core.hpp"
#include "engine/kib.hpp"

namespace duplex::engine {

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

}  // namespace duplex::engine
