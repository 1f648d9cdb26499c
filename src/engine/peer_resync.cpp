// Blocks that a resync or an online verify moves or compares, at both ends (states 12, 13).
#include <algorithm>

#include "engine/core.hpp"
#include "engine/kib.hpp"

namespace duplex::engine {

namespace {

constexpr uint64_t delay_ms = 100;

bool all_zero(const uint8_t* data, uint32_t size_bytes) {
    return data[0] == 0 && std::equal(data, data + size_bytes - 1, data + 1);
}

}  // namespace

// ---- resync, as source (states 12.3, 12.5)
// ------------------------------------------------------------------------------

void PeerIo::serve_resync_read(PeerRequest& read) {
    if (device_.state().disk != DiskState::up_to_date) {
        send_ack(wire::Command::neg_rs_dreply, read);
        give(read);
        return;
    }
    put_off(read);
    if (!waiting_reads_.empty() || read.not_before_ms > 0 || !lock_and_read(read))
        waiting_reads_.push_back(read);
}

// Once, by 0.1 s, where the applications need the disk (states 12.5); not for a Primary, whose own
// applications' reads would wait behind it.
void PeerIo::put_off(PeerRequest& read) {
    const bool verifies = read.kind == PeerKind::verify_read;
    const uint64_t speed_kib = verifies ? device_.verify.speed_kib() : device_.resync.speed_kib();
    if (device_.state().peer == Role::primary || !device_.resync_steps_back(speed_kib)) return;
    read.not_before_ms = core_.ports.clock.now_ms() + delay_ms;
    if (!delay_timer_.armed()) core_.ports.clock.arm(delay_timer_, delay_ms);
}

bool PeerIo::lock_and_read(PeerRequest& read) {
    if (!device_.disk->resync_extents.lock(resync_extent_of(read.sector))) return false;
    read.extent_locked = true;
    device_.counters.read_kib += kib(read.size_bytes);
    submit(read, IoKind::read);
    return true;
}

void PeerIo::retry_resync_reads() {
    while (!waiting_reads_.empty()) {
        PeerRequest& read = waiting_reads_.front();
        if (const uint64_t now = core_.ports.clock.now_ms(); read.not_before_ms > now) {
            if (!delay_timer_.armed()) core_.ports.clock.arm(delay_timer_, read.not_before_ms - now);
            return;
        }
        if (!device_.has_disk(DiskState::inconsistent)) {
            waiting_reads_.remove(read);
            send_ack(wire::Command::neg_rs_dreply, read);
            give(read);
        } else if (lock_and_read(read)) {
            waiting_reads_.remove(read);
        } else {
            return;
        }
    }
}

void PeerIo::resync_read_completed(PeerRequest& read, int error) {
    if (error) {
        device_.data_io_failed(error, true);
        device_.resync.count_failed(bits_for(read.size_bytes / sector_bytes));
        if (!read.orphan) send_ack(wire::Command::neg_rs_dreply, read);
        end_resync_read(read);
        return;
    }
    // Never to a peer whose disk may be gone: it could not take it (wire protocol 12.6).
    const State s = device_.state();
    if (read.orphan || s.conn < ConnState::connected || s.pdsk < DiskState::inconsistent) {
        end_resync_read(read);
        return;
    }
    // Also where checksums were to be compared, unlike the kernel: its extent is no longer locked.
    if (s.conn == ConnState::ahead) {
        send_ack(wire::Command::rs_cancel, read);
        end_resync_read(read);
        return;
    }
    if (read.command == wire::Command::csum_rs_request && core_.connection.csums() &&
        digest(*core_.connection.csums(), {read.buffer, read.size_bytes}).equals(read.digest.view())) {
        device_.set_in_sync(read.sector, read.size_bytes);
        device_.resync.count_equal(read);
        send_ack(wire::Command::rs_is_in_sync, read);
        end_resync_read(read);
        device_.resync.check_complete();
        return;
    }
    read.submitted = false;
    read.answered = true;
    if (read.command == wire::Command::rs_thin_req && all_zero(read.buffer, read.size_bytes)) {
        core_.connection.link.send_packet(Channel::data, wire::Command::rs_deallocated, device_.wire_number(),
                                          wire::BlockDesc{read.sector, read.size_bytes});
        give_buffer(read);
        return;
    }
    if (!send_block(read, wire::Command::rs_data_reply)) end_resync_read(read);
}

bool PeerIo::resync_block_acked(Sector sector, uint32_t size_bytes, bool written) {
    for (PeerRequest& read : in_service_) {
        if (read.kind != PeerKind::resync_read || !read.answered || read.sector != sector ||
            read.size_bytes != size_bytes)
            continue;
        if (written)
            device_.peer_marked_in_sync(sector, size_bytes);
        else
            device_.resync.count_failed(bits_for(size_bytes / sector_bytes));
        end_resync_read(read);
        device_.resync.check_complete();
        return true;
    }
    return false;
}

uint64_t PeerIo::unacknowledged_resync_bits() {
    uint64_t bits = 0;
    for (const PeerRequest& read : in_service_)
        if (read.kind == PeerKind::resync_read && read.answered)
            bits += bits_for(read.size_bytes / sector_bytes);
    return bits;
}

void PeerIo::end_resync_read(PeerRequest& read) {
    if (read.extent_locked && device_.disk)
        device_.disk->resync_extents.unlock(resync_extent_of(read.sector));
    read.extent_locked = false;
    read.answered = false;
    core_.notify();
    if (read.packet_queued)
        read.orphan = true;  // packet_done() gives it back
    else
        give(read);
}

// ---- resync, as target
// ---------------------------------------------------------------------------------------------

void PeerIo::resync_block_arrived(PeerRequest& request, bool deallocated) {
    if (request.orphan) {
        send_ack(wire::Command::neg_ack, request);
        give(request);
        return;
    }
    device_.resync.answered(request);
    device_.counters.received_kib += kib(request.size_bytes);
    device_.counters.written_kib += kib(request.size_bytes);
    request.dp_flags = deallocated ? wire::dp_flag::discard : 0;
    submit(request, deallocated ? IoKind::write_zeroes : IoKind::write);
}

void PeerIo::resync_write_completed(PeerRequest& write, int error) {
    if (error) device_.data_io_failed(error, false);
    if (write.orphan) {  // of a resync that was broken off; the source waits for word of every block
        send_ack(wire::Command::neg_ack, write);
        give(write);
        return;
    }
    // In sync here before the ack that lets the source say so too (I39).
    if (!error) device_.set_in_sync(write.sector, write.size_bytes);
    send_ack(error ? wire::Command::neg_ack : wire::Command::rs_write_ack, write);
    device_.resync.block_written(write, error == 0);
}

// ---- online verify, as target
// --------------------------------------------------------------------------------------

void PeerIo::await_answer(PeerRequest& read) {
    read.submitted = false;
    read.answered = true;
    give_buffer(read);
}

void PeerIo::verify_read_answered(Sector sector, uint32_t size_bytes) {
    for (PeerRequest& read : in_service_) {
        if (read.kind != PeerKind::verify_read || !read.answered || read.sector != sector ||
            read.size_bytes != size_bytes)
            continue;
        end_resync_read(read);
        return;
    }
}

}  // namespace duplex::engine
