#include "engine/resync.hpp"

#include <algorithm>

#include "engine/core.hpp"

namespace duplex::engine {

namespace {

// More than this unsent on the data socket: asking for more would only queue up behind it.
constexpr uint64_t unsent_bytes_max = 256 << 10;
constexpr uint64_t bitmap_write_interval_ms = 2000;
constexpr uint64_t source_tick_ms = 1000;

bool is_resync(ConnState conn) {
    return conn == ConnState::sync_source || conn == ConnState::sync_target ||
           conn == ConnState::paused_sync_s || conn == ConnState::paused_sync_t;
}

bool is_paused(ConnState conn) {
    return conn == ConnState::paused_sync_s || conn == ConnState::paused_sync_t;
}

}  // namespace

Resync::~Resync() {
    core_.ports.clock.cancel(timer_);
    outstanding_.clear();
}

// ---- start (states 12.2)
// -------------------------------------------------------------------------------------------

Task<> Resync::start(bool target) {
    if (is_resync(device_.state().conn)) co_return;
    const uint64_t conn_changes = conn_changes_;
    Event answered(core_.executor);
    std::optional<int> exit_code;
    core_.ports.host.run_handler(target ? "before-resync-target" : "before-resync-source",
                                 static_cast<int>(device_.minor()), [&](int code) {
                                     exit_code = code;
                                     answered.notify();
                                 });
    while (!exit_code) {
        auto woken = answered.wait();
        co_await woken;
    }
    if (*exit_code > 0 && !(*exit_code == 3 && !target)) {
        core_.connection.go_stand_alone(
            fmt::format("before-resync-{} handler returned {}, dropping connection.",
                        target ? "target" : "source", *exit_code));
        co_return;
    }
    // What the handler was started for may be over: either disk, or the connection, for which the next one
    // has a bitmap exchange and a handler of its own.
    if (conn_changes_ != conn_changes) co_return;
    State wanted = device_.state();
    if (wanted.conn < ConnState::connected || wanted.disk < DiskState::negotiating ||
        wanted.pdsk < DiskState::negotiating)
        co_return;
    wanted.conn = target ? ConnState::sync_target : ConnState::sync_source;
    (target ? wanted.disk : wanted.pdsk) = DiskState::inconsistent;
    const StateChangeResult result = device_.change_state(wanted, ChangeKind::wish);
    if (!wire::is_success(result)) co_return;
    if (target) {
        // The source forgets a block when it is acknowledged: this bitmap, with what came from the source's,
        // must remember it until it is stable here.
        Task<int> bitmap_written = device_.write_bitmap();
        const int bitmap_error = co_await bitmap_written;
        if (bitmap_error || !is_resync(device_.state().conn)) co_return;
        // I14: the superblock no longer calls this disk consistent before the first block is overwritten.
        if (device_.disk) device_.disk->meta_io.mark_dirty();  // its flush makes the bitmap stable, too
        Task<int> written = device_.write_superblock();
        const int error = co_await written;
        if (error || !is_resync(device_.state().conn)) co_return;
    }
    begin(target);
}

void Resync::begin(bool target) {
    target_ = target;
    running_ = true;
    finishing_ = peer_finished_ = false;
    position_ = failed_bits_ = equal_bits_ = 0;
    own_blocks_failed_ = false;
    const config::NetOptions& net = core_.connection.options();
    checksums_ = core_.connection.csums() &&
                 (!target || !net.csums_after_crash_only || (device_.disk && device_.disk->crashed_primary));
    const uint64_t total_bits = device_.bitmap.set_bits();
    bitmap_written_ms_ = core_.ports.clock.now_ms();
    marks_.begin(bitmap_written_ms_, total_bits);
    if (is_paused(device_.state().conn)) marks_.pause(bitmap_written_ms_);
    control_.reset();
    device_.log(LogLevel::info, "Began resync as {} (will sync {} KB [{} bits set]).",
                name_of(device_.state().conn), total_bits * 4, total_bits);
    core_.ports.clock.arm(timer_, 0);
}

void Resync::state_changed(ConnState old_conn, ConnState new_conn) {
    if (old_conn != new_conn) ++conn_changes_;
    if (is_paused(old_conn) == is_paused(new_conn) && is_resync(old_conn) == is_resync(new_conn)) return;
    const uint64_t now = core_.ports.clock.now_ms();
    if (is_paused(new_conn)) {
        marks_.pause(now);
        // No tick will try again for the extent that is closed to writes and not ours yet.
        if (target_ && device_.disk) device_.disk->resync_extents.reopen_unlocked();
    }
    if (is_paused(old_conn)) marks_.resume(now);
    if (is_resync(old_conn) && !is_resync(new_conn)) reset();
    if (running_ && !is_paused(new_conn)) core_.ports.clock.arm(timer_, 0);
}

void Resync::reset() {
    running_ = false;
    core_.ports.clock.cancel(timer_);
    device_.peer.forget_resync_extents();
    if (device_.disk) device_.disk->resync_extents.reset();
    while (!outstanding_.empty()) {
        PeerRequest& request = outstanding_.pop_front();
        request.orphan = true;
        if (!request.submitted && !core_.connection.is_receiving(request)) device_.peer.give(request);
    }
    core_.notify();
}

// ---- the target's requests (states 12.3)
// ------------------------------------------------------------------------------

void Resync::tick() {
    if (!running_) return;
    const uint64_t now = core_.ports.clock.now_ms();
    marks_.mark(now, device_.bitmap.set_bits());
    if (device_.disk && device_.bitmap.dirty_pages() > 0 &&
        now - bitmap_written_ms_ >= bitmap_write_interval_ms) {
        bitmap_written_ms_ = now;
        core_.tasks.add(write_bitmap());
    }
    core_.ports.clock.arm(timer_, target_ ? ResyncControl::tick_ms : source_tick_ms);
    if (!target_ || device_.state().conn != ConnState::sync_target) return;
    check_complete();
    if (finishing_) return;
    if (device_.resync_steps_back(speed_kib())) {
        device_.disk->resync_extents.reopen_unlocked();
        return;
    }
    const int64_t in_flight_max = core_.connection.options().max_buffers / 2;
    const int64_t allowed = control_.blocks_this_tick(device_.disk->options, in_flight_max);
    int64_t made = 0;
    while (made < allowed && make_request(made, allowed)) {
    }
}

Task<> Resync::write_bitmap() {
    Task<int> written = device_.write_bitmap();
    co_await written;
}

// How much one request may cover, starting at a set bit: no more than its natural alignment, one resync
// extent, and the bits that are set. The last of a tick may be one block larger than what is left
// (states 12.3).
uint32_t Resync::request_bytes(BitNr first, int64_t allowed, int64_t& blocks) const {
    const uint32_t bytes_max = std::min(request_bytes_max, device_.disk->data.limits().io_bytes_max);
    const bool thin = core_.connection.features() & wire::feature::thin_resync;
    const uint32_t thin_bytes = thin ? device_.disk->options.rs_discard_granularity_bytes : 0;
    uint64_t bit = first.value;
    uint32_t bytes = bit_bytes;
    unsigned align = 1;
    blocks = 1;
    while (blocks <= allowed && bytes != thin_bytes && bytes + bit_bytes <= bytes_max &&
           first_sector_of(first).value % (8u << align) == 0) {
        const uint64_t next = bit + 1;
        if (next % bits_per_resync_extent == 0 || next >= device_.bitmap.bits() ||
            !device_.bitmap.test(BitNr(next)))
            break;
        bit = next;
        bytes += static_cast<uint32_t>(bit_bytes);
        ++blocks;
        if ((bit_bytes << align) <= bytes) ++align;
    }
    const uint64_t room_sectors = device_.bitmap.size_sectors() - first_sector_of(first).value;
    return static_cast<uint32_t>(std::min<uint64_t>(bytes, room_sectors * sector_bytes));
}

bool Resync::make_request(int64_t& made, int64_t allowed) {
    if (core_.connection.link.unsent_bytes(Channel::data) > unsent_bytes_max) return false;
    if (!core_.room_for_own_request()) return false;
    const std::optional<BitNr> bit = device_.bitmap.find_next(BitNr(position_));
    if (!bit) {
        // Bits behind us can have been set again, by a write that failed: once more from the start.
        position_ = outstanding_.empty() ? 0 : device_.bitmap.bits();
        return false;
    }
    const Sector sector = first_sector_of(*bit);
    if (!device_.disk->resync_extents.lock(resync_extent_of(sector))) {
        position_ = bit->value;
        return false;
    }
    int64_t blocks = 0;
    const uint32_t bytes = request_bytes(*bit, allowed - made, blocks);
    PeerRequest* request = device_.peer.take(PeerKind::resync_write, sector, bytes, checksums_ ? bytes : 0);
    if (!request) {
        device_.disk->resync_extents.unlock(resync_extent_of(sector));
        position_ = bit->value;
        return false;
    }
    request->extent_locked = true;
    outstanding_.push_back(*request);
    position_ = bit->value + static_cast<uint64_t>(blocks);
    made += blocks;
    control_.requested(bytes / static_cast<int64_t>(sector_bytes));
    if (!checksums_) return send_request(*request);
    request->compares = true;
    device_.peer.read_block(*request);
    return true;
}

bool Resync::send_request(PeerRequest& request) {
    Connection& connection = core_.connection;
    const wire::BlockRequest packet{request.sector, wire::block_id_resync, request.size_bytes};
    if (request.digest.size > 0)
        return connection.link.send_with_digest(Channel::data, wire::Command::csum_rs_request,
                                                device_.wire_number(), packet, request.digest.view());
    const bool thin = (connection.features() & wire::feature::thin_resync) &&
                      request.size_bytes == device_.disk->options.rs_discard_granularity_bytes;
    return connection.link.send_packet(Channel::data,
                                       thin ? wire::Command::rs_thin_req : wire::Command::rs_data_request,
                                       device_.wire_number(), packet);
}

// A block that cannot be read is asked for as it is.
void Resync::own_block_read(PeerRequest& request, int error) {
    request.compares = false;
    if (error) device_.data_io_failed(error, true);
    if (request.orphan) {
        device_.peer.give(request);
        return;
    }
    request.submitted = false;
    const auto algorithm = core_.connection.csums();
    if (!error && algorithm) request.digest = digest(*algorithm, {request.buffer, request.size_bytes});
    device_.peer.give_buffer(request);
    send_request(request);
}

void Resync::count_equal(const PeerRequest& request) {
    equal_bits_ += bits_for(request.size_bytes / sector_bytes);
}

PeerRequest* Resync::find_outstanding(Sector sector, uint32_t size_bytes) {
    for (PeerRequest& request : outstanding_)
        if (request.sector == sector && request.size_bytes == size_bytes && !request.submitted &&
            !request.buffer)
            return &request;
    return nullptr;
}

void Resync::answered(const PeerRequest& request) {
    control_.answered(request.size_bytes / static_cast<int64_t>(sector_bytes));
}

void Resync::block_written(PeerRequest& request, bool in_sync) {
    if (!in_sync) failed_bits_ += bits_for(request.size_bytes / sector_bytes);
    done_with(request);
}

void Resync::block_in_sync(PeerRequest& request) {
    answered(request);
    count_equal(request);
    device_.set_in_sync(request.sector, request.size_bytes);
    done_with(request);
}

void Resync::block_refused(PeerRequest& request) {
    control_.withdrawn(request.size_bytes / static_cast<int64_t>(sector_bytes));
    failed_bits_ += bits_for(request.size_bytes / sector_bytes);
    done_with(request);
}

void Resync::block_cancelled(PeerRequest& request) {
    control_.withdrawn(request.size_bytes / static_cast<int64_t>(sector_bytes));
    done_with(request);
}

void Resync::done_with(PeerRequest& request) {
    if (request.extent_locked && device_.disk)
        device_.disk->resync_extents.unlock(resync_extent_of(request.sector));
    request.extent_locked = false;
    if (static_cast<ListNode<InQueue>&>(request).linked()) outstanding_.remove(request);
    device_.peer.give(request);
    core_.notify();
    check_complete();
}

bool Resync::target_may_have_finished() const {
    if (!running_ || target_) return false;
    uint64_t under_way = device_.peer.unacknowledged_resync_bits();
    for (const AppRequest& write : core_.connection.transfer_log.requests())
        if (write.device == &device_) under_way += bits_for(write.size_bytes / sector_bytes) + 1;
    return device_.bitmap.set_bits() <= under_way;
}

// ---- the end (states 12.8)
// -----------------------------------------------------------------------------------------

bool Resync::complete() const {
    // A block may have become clean by an application write while its resync is under way: first let that
    // end. What the source's own disk has failed nobody asks for; the kernel waits for it for ever.
    const bool nothing_left = device_.bitmap.set_bits() <= failed_bits_ || own_blocks_failed_;
    return running_ && nothing_left && outstanding_.empty();
}

void Resync::check_complete() {
    if (!complete() || finishing_) return;
    const ConnState conn = device_.state().conn;
    const bool target_done = target_ && (conn == ConnState::sync_target || conn == ConnState::paused_sync_t);
    const bool source_done = !target_ && peer_finished_ && is_resync(conn);
    if (!target_done && !source_done) return;
    finishing_ = true;
    core_.tasks.add(finish());
}

Task<> Resync::finish() {
    // The answer proves that the peer has dealt with every ack sent before it (wire protocol 12.9).
    Link& link = core_.connection.link;
    const uint64_t answers = link.ping_answers();
    link.request_ping();
    while (link.ping_answers() == answers && device_.state().conn > ConnState::connected && link.is_open()) {
        auto woken = link.answered.wait();
        co_await woken;
    }
    if (!running_ || !is_resync(device_.state().conn)) co_return;
    finishing_ = false;
    if (!complete()) co_return;

    const uint64_t now = core_.ports.clock.now_ms();
    device_.log(LogLevel::info, "Resync done (total {} sec; paused {} sec; {} K/sec)", marks_.running_s(now),
                marks_.paused_s(), marks_.average_kib(now, marks_.total_bits() - failed_bits_));
    const uint64_t total = marks_.total_bits();
    if (checksums_)
        device_.log(LogLevel::info, "{} % had equal checksums, eliminated: {}K; transferred {}K total {}K",
                    total == 0 ? 0 : equal_bits_ * 100 / total, equal_bits_ * 4,
                    (total - std::min(total, equal_bits_)) * 4, total * 4);
    if (failed_bits_ == 0) {
        device_.resync_succeeded(target_);
    } else {
        device_.log(LogLevel::error, "            {} failed blocks", failed_bits_);
    }
    const ConnState conn = device_.state().conn;
    const State wanted = finished_state();
    running_ = false;
    const StateChangeResult result = device_.change_state(wanted, ChangeKind::wish);
    const bool was_source = conn == ConnState::sync_source;
    if (wire::is_success(result) && was_source) core_.fencing.unfence_peer();
    if (wire::is_success(result) && target_)
        core_.ports.host.run_handler("after-resync-target", static_cast<int>(device_.minor()), [](int) {});
}

State Resync::finished_state() const {
    State wanted = device_.state();
    wanted.conn = ConnState::connected;
    wanted.disk = wanted.pdsk = DiskState::up_to_date;
    if (failed_bits_ > 0)
        (target_ ? wanted.disk : wanted.pdsk) = DiskState::inconsistent;
    else if (own_blocks_failed_ && device_.bitmap.set_bits() > 0)
        // While it was the only good disk, pass_on could not lower it (states 2.5); the target's is as good
        // now, and better in these blocks.
        wanted.disk = DiskState::inconsistent;
    return wanted;
}

// ---- progress (states 12.5, cli 26.4)
// -------------------------------------------------------------------------------

uint64_t Resync::speed_kib() const {
    return marks_.recent_kib(core_.ports.clock.now_ms(), device_.bitmap.set_bits());
}

std::optional<SyncProgress> Resync::progress() const {
    if (!running_ || !is_resync(device_.state().conn)) return std::nullopt;
    SyncProgress p = marks_.progress(core_.ports.clock.now_ms(), device_.bitmap.set_bits());
    p.failed_bits = failed_bits_;
    if (target_) p.wanted_kib = control_.wanted_kib();
    p.position_bit = position_;
    return p;
}

}  // namespace duplex::engine
