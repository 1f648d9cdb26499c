#include "engine/verify.hpp"

#include <algorithm>

#include "engine/core.hpp"

namespace duplex::engine {

namespace {

// As for a resync: asking for more would only queue up behind what is not sent yet.
constexpr uint64_t unsent_bytes_max = 256 << 10;

}  // namespace

Verify::~Verify() {
    core_.ports.clock.cancel(timer_);
    outstanding_.clear();
}

// ---- start and end (states 13.1, 13.3)
// ---------------------------------------------------------------------------------

Task<Reply> Verify::command(VerifyCommand wanted) {
    if (!device_.disk) co_return Reply{error_code::no_disk, {}};
    if (running_ && source_) {
        stop_sector_ = wanted.stop_sector;
        check_complete();
        co_return Reply{};
    }
    device_.app.suspend();
    while (device_.app.in_flight() > 0 && !core_.suspended()) {
        auto woken = core_.changed.wait();
        co_await woken;
    }
    if (wanted.start_sector) next_start_bit_ = bit_of(Sector(*wanted.start_sector)).value;
    stop_sector_ = wanted.stop_sector;
    Task<StateChangeResult> requested =
        device_.request_state(wire::request_for(wire::StateChangeKind::start_verify), true);
    const StateChangeResult result = co_await requested;
    device_.app.resume();
    co_return Reply{static_cast<int>(result), {}};
}

void Verify::state_changed(ConnState old_conn, ConnState new_conn) {
    if (is_verify(old_conn) && !is_verify(new_conn)) ended();
    if (!is_verify(old_conn) && is_verify(new_conn)) begin(new_conn == ConnState::verify_s);
}

void Verify::begin(bool source) {
    running_ = true;
    source_ = source;
    started_ = finishing_ = false;
    found_bits_ = differing_sectors_ = 0;
    control_.reset();
    const uint64_t bits = device_.bitmap.bits();
    position_ = source ? std::min(next_start_bit_, bits - 1) : 0;
    left_bits_ = bits - position_;
    marks_.begin(core_.ports.clock.now_ms(), left_bits_);
    if (!source) return;
    device_.log(LogLevel::info, "Starting Online Verify from sector {}",
                first_sector_of(BitNr(position_)).value);
    core_.ports.clock.arm(timer_, 0);
}

// What is at the disk or with the peer goes on to its end, without a lock.
void Verify::ended() {
    core_.ports.clock.cancel(timer_);
    running_ = finishing_ = false;
    next_start_bit_ = left_bits_ == 0 ? 0 : device_.bitmap.bits() - left_bits_;
    if (left_bits_ > 0 && started_)
        device_.log(LogLevel::info, "Online Verify reached sector {}",
                    first_sector_of(BitNr(next_start_bit_)).value);
    device_.peer.forget_resync_extents();
    if (device_.disk) device_.disk->resync_extents.reset();
    while (!outstanding_.empty()) {
        PeerRequest& block = outstanding_.pop_front();
        if (!block.submitted) device_.peer.give(block);
    }
    core_.notify();
}

void Verify::check_complete() {
    if (!running_ || finishing_) return;
    const bool complete = source_ ? all_requested() && outstanding_.empty() : started_ && left_bits_ == 0;
    if (!complete) return;
    finishing_ = true;
    core_.tasks.add(finish());
}

void Verify::peer_finished() {
    if (!running_ || source_ || finishing_) return;
    finishing_ = true;
    core_.tasks.add(finish());
}

Task<> Verify::finish() {
    Link& link = core_.connection.link;
    const uint64_t answers = link.ping_answers();
    link.request_ping();
    while (link.ping_answers() == answers && is_verify(device_.state().conn) && link.is_open()) {
        auto woken = link.answered.wait();
        co_await woken;
    }
    if (!running_ || !is_verify(device_.state().conn)) co_return;
    report_out_of_sync();
    const uint64_t now = core_.ports.clock.now_ms();
    device_.log(LogLevel::info, "Online verify done (total {} sec; paused {} sec; {} K/sec)",
                marks_.running_s(now), marks_.paused_s(),
                marks_.average_kib(now, marks_.total_bits() - left_bits_));
    if (found_bits_ > 0)
        device_.log(LogLevel::alert, "Online verify found {} 4k block out of sync!", found_bits_);
    State wanted = device_.state();
    wanted.conn = ConnState::connected;
    const StateChangeResult result = device_.change_state(wanted, ChangeKind::wish);
    if (!wire::is_success(result) || device_.bitmap.set_bits() == 0) co_return;
    Task<int> told = device_.run_handler("out-of-sync");
    co_await told;
}

// ---- source (states 13.2)
// --------------------------------------------------------------------------------------------

bool Verify::all_requested() const {
    const bool stops = core_.connection.agreed_protocol() != protocol_without_stop_sector;
    return position_ >= device_.bitmap.bits() ||
           (stops && started_ && first_sector_of(BitNr(position_)).value >= stop_sector_);
}

void Verify::tick() {
    if (!running_) return;
    marks_.mark(core_.ports.clock.now_ms(), left_bits_);
    core_.ports.clock.arm(timer_, ResyncControl::tick_ms);
    if (device_.resync_steps_back(speed_kib())) {
        device_.disk->resync_extents.reopen_unlocked();
        return;
    }
    const int64_t in_flight_max = core_.connection.options().max_buffers / 2;
    int64_t allowed = control_.blocks_this_tick(device_.disk->options, in_flight_max);
    while (allowed > 0 && make_request()) --allowed;
    check_complete();
}

bool Verify::make_request() {
    if (all_requested() || core_.connection.link.unsent_bytes(Channel::data) > unsent_bytes_max) return false;
    if (!core_.room_for_own_request()) return false;
    const Sector sector = first_sector_of(BitNr(position_));
    const auto size_bytes = static_cast<uint32_t>(
        std::min<uint64_t>(bit_bytes, (device_.bitmap.size_sectors() - sector.value) * sector_bytes));
    if (!device_.disk->resync_extents.lock(resync_extent_of(sector))) return false;
    PeerRequest* block = device_.peer.take(PeerKind::verify_block, sector, size_bytes, 0);
    if (!block) {
        device_.disk->resync_extents.unlock(resync_extent_of(sector));
        return false;
    }
    block->extent_locked = true;
    outstanding_.push_back(*block);
    ++position_;
    started_ = true;
    control_.requested(size_bytes / static_cast<int64_t>(sector_bytes));
    return core_.connection.link.send_packet(Channel::data, wire::Command::ov_request, device_.wire_number(),
                                             wire::BlockRequest{sector, wire::block_id_resync, size_bytes});
}

PeerRequest* Verify::find_outstanding(Sector sector, uint32_t size_bytes) {
    for (PeerRequest& block : outstanding_)
        if (block.sector == sector && block.size_bytes == size_bytes && !block.submitted) return &block;
    return nullptr;
}

bool Verify::reply_arrived(Sector sector, uint32_t size_bytes, std::span<const uint8_t> digest) {
    PeerRequest* block = find_outstanding(sector, size_bytes);
    if (!block) {  // of a run that was broken off here
        send_result(sector, size_bytes, true);
        return true;
    }
    if (!device_.peer.take_buffer(*block)) return false;
    control_.answered(size_bytes / static_cast<int64_t>(sector_bytes));
    std::copy(digest.begin(), digest.end(), block->digest.bytes.begin());
    block->digest.size = digest.size();
    device_.peer.read_block(*block);
    return true;
}

void Verify::own_block_read(PeerRequest& block, int error) {
    if (error) device_.data_io_failed(error, true);
    if (!block.orphan) {
        const auto algorithm = core_.connection.verify_alg();
        const bool in_sync = !error && algorithm &&
                             digest(*algorithm, {block.buffer, block.size_bytes}).equals(block.digest.view());
        if (!in_sync) device_.set_out_of_sync(block.sector, block.size_bytes);
        send_result(block.sector, block.size_bytes, in_sync);
        if (running_) count(block.sector, block.size_bytes, in_sync);
    }
    done_with(block);
}

bool Verify::block_refused(Sector sector, uint32_t size_bytes) {
    PeerRequest* block = find_outstanding(sector, size_bytes);
    if (!block) return false;
    control_.withdrawn(size_bytes / static_cast<int64_t>(sector_bytes));
    count(sector, size_bytes, true);
    done_with(*block);
    return true;
}

void Verify::send_result(Sector sector, uint32_t size_bytes, bool in_sync) {
    const wire::BlockAck result{sector, in_sync ? wire::block_id_in_sync : wire::block_id_out_of_sync,
                                size_bytes, device_.next_seq()};
    core_.connection.link.send_packet(Channel::meta, wire::Command::ov_result, device_.wire_number(), result);
}

void Verify::done_with(PeerRequest& block) {
    if (block.extent_locked && device_.disk)
        device_.disk->resync_extents.unlock(resync_extent_of(block.sector));
    block.extent_locked = false;
    if (static_cast<ListNode<InQueue>&>(block).linked()) outstanding_.remove(block);
    device_.peer.give(block);
    core_.notify();
    check_complete();
}

// ---- target
// ----------------------------------------------------------------------------------------------------------

void Verify::request_arrived(Sector sector) {
    if (!running_ || source_ || started_) return;
    started_ = true;
    left_bits_ = device_.bitmap.bits() - bit_of(sector).value;
    marks_.begin(core_.ports.clock.now_ms(), left_bits_);
    device_.log(LogLevel::info, "Online Verify start sector: {}", sector.value);
}

void Verify::peer_block_read(PeerRequest& block, int error) {
    const auto algorithm = core_.connection.verify_alg();
    if (error) device_.data_io_failed(error, true);
    if (block.orphan || !algorithm) {
        device_.peer.end_resync_read(block);
        return;
    }
    DigestValue value;
    value.size = digest_size_bytes(*algorithm);
    if (!error) value = digest(*algorithm, {block.buffer, block.size_bytes});
    device_.peer.await_answer(block);
    core_.connection.link.send_with_digest(Channel::data, wire::Command::ov_reply, device_.wire_number(),
                                           wire::BlockRequest{block.sector, block.block_id, block.size_bytes},
                                           value.view());
}

void Verify::result_arrived(Sector sector, uint32_t size_bytes, bool in_sync) {
    if (!in_sync) device_.set_out_of_sync(sector, size_bytes);
    device_.peer.verify_read_answered(sector, size_bytes);
    if (!running_ || source_) return;
    marks_.mark(core_.ports.clock.now_ms(), left_bits_);
    count(sector, size_bytes, in_sync);
    check_complete();
}

// ---- both
// ------------------------------------------------------------------------------------------------------------

void Verify::count(Sector sector, uint32_t size_bytes, bool in_sync) {
    if (left_bits_ > 0) --left_bits_;
    if (in_sync) {
        report_out_of_sync();
        return;
    }
    ++found_bits_;
    const uint64_t sectors = size_bytes / sector_bytes;
    if (differing_sectors_ > 0 && differing_.value + differing_sectors_ == sector.value) {
        differing_sectors_ += sectors;
        return;
    }
    report_out_of_sync();
    differing_ = sector;
    differing_sectors_ = sectors;
}

void Verify::report_out_of_sync() {
    if (differing_sectors_ > 0)
        device_.log(LogLevel::error, "Out of sync: start={}, size={} (sectors)", differing_.value,
                    differing_sectors_);
    differing_sectors_ = 0;
}

uint64_t Verify::speed_kib() const {
    return marks_.recent_kib(core_.ports.clock.now_ms(), left_bits_);
}

std::optional<SyncProgress> Verify::progress() const {
    if (!running_) return std::nullopt;
    SyncProgress p = marks_.progress(core_.ports.clock.now_ms(), left_bits_);
    p.verify = true;
    if (source_) p.wanted_kib = control_.wanted_kib();
    p.position_bit = source_ ? position_ : device_.bitmap.bits() - left_bits_;
    return p;
}

}  // namespace duplex::engine
