// Both bitmaps to their union, before a resync (wire protocol 11.1): the source sends its own, the target
// merges it into its own and sends the result, the source merges that.
#include <array>

#include "engine/core.hpp"

namespace duplex::engine {

namespace {

struct BitmapPacket final : OutPacket {
    void done(bool) override {
        busy = false;
        drained->notify();
    }
    Event* drained = nullptr;
    bool busy = false;
    std::array<uint8_t, wire::bitmap_payload_bytes_max> bytes;
};

// What of a transfer is on its way; stays until the link has let go of all of it.
struct Transfer {
    explicit Transfer(Executor& executor) : drained(executor) {
        for (BitmapPacket& packet : packets) packet.drained = &drained;
    }
    BitmapPacket* idle() {
        for (BitmapPacket& packet : packets)
            if (!packet.busy) return &packet;
        return nullptr;
    }
    bool all_idle() const {
        for (const BitmapPacket& packet : packets)
            if (packet.busy) return false;
        return true;
    }
    Event drained;
    std::array<BitmapPacket, 16> packets;
};

}  // namespace

Task<> Device::send_bitmap() {
    const ConnState entered = state_.conn;
    if (entered != ConnState::wf_bitmap_s && entered != ConnState::wf_bitmap_t) co_return;
    app.suspend();
    // The writes in flight set their bits, or were on both sides, before the bitmap is looked at; so do those
    // that are complete (protocol A, B) and that a peer without a disk has yet to refuse.
    while ((app.in_flight() > 0 || app.writes_undone() > 0) && state_.conn == entered) {
        auto woken = core_.changed.wait();
        co_await woken;
    }
    if (state_.conn == entered && disk && (disk->meta_io.superblock.flags & meta::flag::full_sync)) {
        Task<int> set = set_all_and_write();
        co_await set;
    }
    while (core_.connection.link.holds_data() && state_.conn == entered) {
        auto woken = core_.changed.wait();
        co_await woken;
    }
    bool sent = false;
    if (state_.conn == entered && disk && core_.connection.link.hold_data()) {
        Task<bool> transferred = transfer_bitmap(entered);
        sent = co_await transferred;
        core_.connection.link.release_data();
        core_.notify();
    }
    app.resume();
    if (!sent || state_.conn != entered) co_return;
    bitmap_sent_ = true;
    if (entered == ConnState::wf_bitmap_t) {
        State wanted = state();
        wanted.conn = ConnState::wf_sync_uuid;
        change_state(wanted, ChangeKind::wish);
    }
}

Task<bool> Device::transfer_bitmap(ConnState entered) {
    const auto transfer = std::make_unique<Transfer>(core_.executor);
    wire::BitmapSender sender(bitmap.bits(), core_.connection.options().use_rle);
    uint64_t bytes = 0;
    bool up = true;
    while (up && !sender.done() && state_.conn == entered) {
        BitmapPacket* packet = transfer->idle();
        if (!packet) {
            auto drained = transfer->drained.wait();
            co_await drained;
            continue;
        }
        const wire::BitmapSender::Chunk chunk = sender.next(bitmap.words(), packet->bytes);
        packet->head_bytes = static_cast<uint32_t>(
            wire::encode_packet(chunk.command, wire_number(), packet->head, chunk.length_bytes));
        packet->payload = packet->bytes.data();
        packet->payload_bytes = chunk.length_bytes;
        bytes += packet->head_bytes + chunk.length_bytes;
        packet->busy = up = core_.connection.link.send_held_through(*packet);
    }
    while (!transfer->all_idle()) {
        auto drained = transfer->drained.wait();
        co_await drained;
    }
    const bool complete = sender.done();
    if (complete) log(LogLevel::info, "send bitmap: {} bits in {} bytes", bitmap.bits(), bytes);
    co_return complete;
}

Status Device::receive_bitmap(const wire::PacketInfo& info, std::span<const uint8_t> payload) {
    const bool as_source = state_.conn == ConnState::wf_bitmap_s && bitmap_sent_;
    const bool as_target = state_.conn == ConnState::wf_bitmap_t && !bitmap_received_;
    if (!(as_source || as_target) || !disk)
        return error("{}, volume {}: not expected in {}", name_of(info.command()), number_,
                     name_of(state_.conn));
    if (!bitmap_receiver_) bitmap_receiver_.emplace(bitmap.bits());
    const Status merged = bitmap_receiver_->receive(info, payload, bitmap.words());
    if (!merged) return merged.error();
    bitmap.mark_words_dirty(bitmap_receiver_->first_word(), bitmap_receiver_->end_word());
    if (!bitmap_receiver_->done()) return Ok{};
    bitmap.recount();
    bitmap_receiver_.reset();
    log(LogLevel::info, "receive bitmap: {} bits are set now", bitmap.set_bits());
    if (as_source) {
        core_.tasks.add(resync.start(false));
    } else {
        bitmap_received_ = true;
        core_.tasks.add(send_bitmap());
    }
    return Ok{};
}

}  // namespace duplex::engine
