// What arrives on the data socket (wire protocol 7, 9 to 12). Every packet was checked against the table of
// lengths and phases when it was framed, and is checked by its decoder; here it is held against the volume's
// size and state.
#include <algorithm>

#include "engine/core.hpp"
#include "engine/sabotage.hpp"
#include "wire/decode.hpp"

namespace duplex::engine {

using wire::Command;

bool Connection::packet_arrived(Channel channel, const wire::PacketReader& reader) {
    if (channel == Channel::meta) {
        meta_packet(reader);
        return true;
    }
    if (handshaking_) {
        packet_ = &reader;
        core_.notify();
        return false;
    }
    const bool done = data_packet(reader);
    if (!done && waiting_for_room_) retry_packet_ = &reader;
    return done;
}

// Whatever the data socket stands still for may be over.
void Connection::retry_receiver() {
    if (!established()) return;
    if (write_waits_) {
        if (continue_write()) link.resume(Channel::data);
    } else if (retry_packet_) {
        const wire::PacketReader* packet = std::exchange(retry_packet_, nullptr);
        if (data_packet(*packet))
            link.resume(Channel::data);
        else if (waiting_for_room_)
            retry_packet_ = packet;
    } else if (link.block_waits()) {
        link.resume(Channel::data);
    }
}

bool Connection::protocol_error(const Error& what) {
    drop(ConnState::protocol_error, what.text);
    return false;
}

bool Connection::data_packet(const wire::PacketReader& reader) {
    waiting_for_room_ = false;
    const wire::PacketInfo& info = reader.info();
    switch (info.command()) {
        case Command::protocol:
        case Command::protocol_update:
            return receive_protocol(reader);
        case Command::barrier:
            return receive_barrier(reader);
        case Command::conn_st_chg_req:
            return receive_connection_request(reader);
        case Command::unplug_remote:
        case Command::delay_probe:
            return true;
        default:
            break;
    }
    Device* device = core_.find(info.volume());
    const bool parameter = info.command() == Command::sync_param89 || info.command() == Command::sizes ||
                           info.command() == Command::uuids || info.command() == Command::state;
    if (device && !parameter && !accepted_by_peer(*device)) return established() && no_room();
    if (device) return dispatch(*device, reader);
    if (!parameter)
        return protocol_error(
            error("{}: volume {} is not configured", name_of(info.command()), info.volume()));
    log(LogLevel::info, "{}: volume {} is not configured here, ignored", name_of(info.command()),
        info.volume());
    return true;
}

// false: not before what follows from it is on stable storage (I16); the packet comes again then.
bool Connection::accepted_by_peer(Device& device) {
    if (device.waits_for_acceptance() && !procedure_running_) {
        procedure_running_ = true;
        procedure_.emplace(finish_acceptance(device));
    }
    return !procedure_running_ && established();
}

Task<> Connection::finish_acceptance(Device& device) {
    Task<> accepted = device.peer_accepts();
    co_await accepted;
    procedure_running_ = false;
    core_.notify();
}

bool Connection::dispatch(Device& device, const wire::PacketReader& reader) {
    const wire::PacketInfo& info = reader.info();
    switch (info.command()) {
        case Command::data:
            return receive_write(reader);
        case Command::trim:
        case Command::zeroes:
            return receive_trim(device, reader);
        case Command::data_reply:
            return receive_data_reply(device, reader);
        case Command::rs_data_reply:
            return receive_resync_reply(device, reader);
        case Command::rs_deallocated:
            return receive_deallocated(device, reader);
        case Command::data_request:
            return receive_read_request(device, reader);
        case Command::rs_data_request:
        case Command::rs_thin_req:
        case Command::csum_rs_request:
            return receive_resync_request(device, reader);
        case Command::ov_request:
            return receive_verify_request(device, reader);
        case Command::ov_reply:
            return receive_verify_reply(device, reader);
        case Command::out_of_sync:
            return receive_out_of_sync(device, reader);
        case Command::bitmap:
        case Command::compressed_bitmap: {
            const Status merged = device.receive_bitmap(info, reader.variable());
            return merged ? true : protocol_error(merged.error());
        }
        case Command::state_chg_req:
            return receive_state_request(device, reader);
        default:
            return receive_parameter(device, reader);
    }
}

bool Connection::receive_parameter(Device& device, const wire::PacketReader& reader) {
    const wire::PacketInfo& info = reader.info();
    switch (info.command()) {
        case Command::sync_param89: {
            const Result<wire::SyncParam> packet = wire::decode_sync_param(info, reader.body());
            if (!packet) return protocol_error(packet.error());
            device.receive_sync_param(*packet);
            return established();
        }
        case Command::sizes: {
            const Result<wire::Sizes> packet = wire::decode_sizes(info, reader.body());
            return packet ? start_procedure(device.receive_sizes(*packet)) : protocol_error(packet.error());
        }
        case Command::uuids: {
            const Result<wire::Uuids> packet = wire::decode_uuids(info, reader.body());
            return packet ? start_procedure(device.receive_uuids(*packet)) : protocol_error(packet.error());
        }
        case Command::state: {
            const Result<wire::StatePacket> packet = wire::decode_state(info, reader.body());
            return packet ? start_procedure(device.receive_state(*packet)) : protocol_error(packet.error());
        }
        case Command::sync_uuid: {
            const Result<wire::SyncUuid> packet = wire::decode_sync_uuid(info, reader.body());
            return packet ? start_procedure(device.receive_sync_uuid(packet->uuid))
                          : protocol_error(packet.error());
        }
        default:
            return protocol_error(error("{}: not expected on the data socket now", name_of(info.command())));
    }
}

// A packet whose processing takes its time: the data socket stands still until it has ended.
bool Connection::start_procedure(Task<> task) {
    if (task.done()) return established();
    procedure_running_ = true;
    procedure_.emplace(finish_procedure(std::move(task)));
    return false;
}

Task<> Connection::finish_procedure(Task<> task) {
    co_await task;
    procedure_running_ = false;
    core_.notify();
    if (established()) link.resume(Channel::data);
}

// ---- data blocks
// ---------------------------------------------------------------------------------------------------

Result<std::span<uint8_t>> Connection::data_block_follows(const wire::PacketReader& reader) {
    const wire::PacketInfo& info = reader.info();
    Device* device = core_.find(info.volume());
    if (!device) return error("{}: volume {} is not configured", name_of(info.command()), info.volume());
    const Result<wire::Data> packet = wire::decode_data(info, reader.fixed());
    if (!packet) return packet.error();
    const uint32_t size = info.variable_bytes;
    const Status in_range = wire::check_range(info, packet->sector, size, device->size_sectors());
    if (!in_range) return in_range.error();
    switch (info.command()) {
        case Command::data:
            return block_for_write(*device, *packet, size);
        case Command::data_reply:
            return block_for_read(*device, *packet, size);
        default:
            return block_for_resync(*device, *packet, size);
    }
}

Result<std::span<uint8_t>> Connection::block_for_write(Device& device, const wire::Data& packet,
                                                       uint32_t size) {
    if (two_primaries() && !(packet.dp_flags & wire::dp_flag::send_write_ack))
        return error("P_DATA, volume {}: dp_flags 0x{:x} without SEND_WRITE_ACK, with allow-two-primaries",
                     device.number(), packet.dp_flags);
    incoming_ = device.peer.take(PeerKind::write, packet.sector, size, size);
    if (!incoming_) return std::span<uint8_t>{};
    incoming_->block_id = packet.block_id;
    incoming_->dp_flags = packet.dp_flags;
    incoming_->seq_num = packet.seq_num;
    incoming_->command = Command::data;
    return std::span(incoming_->buffer, size);
}

Result<std::span<uint8_t>> Connection::block_for_read(Device& device, const wire::Data& packet,
                                                      uint32_t size) {
    AppRequest* request = device.app.find(packet.block_id, packet.sector);
    if (!request || request->op != Op::read || !request->net_pending || request->size_bytes != size)
        return error("P_DATA_REPLY, volume {}: no read of {} bytes at sector {} is outstanding",
                     device.number(), size, packet.sector.value);
    incoming_read_ = request;
    return std::span(request->data, size);
}

Result<std::span<uint8_t>> Connection::block_for_resync(Device& device, const wire::Data& packet,
                                                        uint32_t size) {
    PeerRequest* request = device.resync.find_outstanding(packet.sector, size);
    if (request) {
        if (!device.peer.take_buffer(*request)) return std::span<uint8_t>{};
    } else {
        // We have just stopped being its target: taken in, refused, forgotten (wire protocol 17.3).
        const ConnState conn = device.state().conn;
        if (conn == ConnState::sync_target)
            return error("P_RS_DATA_REPLY, volume {}: no request of {} bytes at sector {} is outstanding",
                         device.number(), size, packet.sector.value);
        request = device.peer.take(PeerKind::resync_write, packet.sector, size, size);
        if (!request) return std::span<uint8_t>{};
        request->orphan = true;
    }
    incoming_ = request;
    return std::span(request->buffer, size);
}

bool Connection::digest_matches(const wire::PacketReader& reader) {
    if (!integrity_in_) return true;
    if (digest(*integrity_in_, reader.variable()).equals(reader.digest())) return true;
    protocol_error(error("{}, volume {}: Digest integrity check FAILED", name_of(reader.info().command()),
                         reader.info().volume()));
    return false;
}

// ---- writes (states 9.5)
// ---------------------------------------------------------------------------------------------

bool Connection::receive_write(const wire::PacketReader& reader) {
    if (!digest_matches(reader)) return false;
    ++epoch_size_;
    return continue_write();
}

bool Connection::receive_trim(Device& device, const wire::PacketReader& reader) {
    const wire::PacketInfo& info = reader.info();
    const Result<wire::Trim> packet = wire::decode_trim(info, reader.body(), features_);
    if (!packet) return protocol_error(packet.error());
    const Status in_range =
        wire::check_range(info, packet->sector, packet->size_bytes, device.size_sectors());
    if (!in_range) return protocol_error(in_range.error());
    incoming_ = device.peer.take(PeerKind::write, packet->sector, packet->size_bytes, 0);
    if (!incoming_) return no_room();
    incoming_->block_id = packet->block_id;
    incoming_->dp_flags = packet->dp_flags;
    incoming_->seq_num = packet->seq_num;
    incoming_->command = info.command();
    ++epoch_size_;
    return continue_write();
}

bool Connection::no_room() {
    waiting_for_room_ = true;
    return false;
}

// false: it waits for something, and the data socket with it; not for ever (wire protocol 8.2, states 10.4).
bool Connection::continue_write() {
    PeerRequest& write = *incoming_;
    const Started started = write.device->peer.start_write(write);
    if (started == Started::yes) {
        incoming_ = nullptr;
        write_waits_ = false;
        core_.ports.clock.cancel(stand_still_timer_);
        check_barrier();
        return true;
    }
    if (!write_waits_ && started != Started::waits_for_disk) {
        const uint64_t sequence_ms = options_.ping_timeout_ds * uint64_t{100};
        const uint64_t conflict_ms = uint64_t{options_.timeout_ds} * 100 * options_.ko_count;
        const uint64_t limit_ms = started == Started::waits_for_sequence ? sequence_ms : conflict_ms;
        if (limit_ms > 0) core_.ports.clock.arm(stand_still_timer_, limit_ms);
    }
    write_waits_ = true;
    return false;
}

void Connection::stood_still_too_long() {
    if (!write_waits_ || !incoming_) return;
    drop(ConnState::timeout,
         fmt::format("a write of the peer at sector {} had to wait for too long", incoming_->sector.value));
}

// ---- epochs (wire protocol 7.6)
// --------------------------------------------------------------------------------------

bool Connection::receive_barrier(const wire::PacketReader& reader) {
    const Result<wire::Barrier> packet = wire::decode_barrier(reader.info(), reader.body());
    if (!packet) return protocol_error(packet.error());
    if (epoch_size_ == 0 && !epoch_dropped_)
        return protocol_error(error("P_BARRIER: no write since the last one"));
    barrier_ = packet->barrier;
    check_barrier();
    return !barrier_;
}

// The epoch's writes are at no disk any more: make them stable, then say so. The writes of the next epoch
// wait (I25), and the ack comes after the flush (I26): the sender will forget that these areas might differ.
void Connection::check_barrier() {
    if (!barrier_ || flushes_pending_ > 0 || core_.active_peer_writes() > 0) return;
    if (!epoch_flushed_ && !sabotage::barrier_flush) {
        epoch_flushed_ = true;
        for (auto& [number, device] : core_.devices) {
            if (sabotage::other_volumes_flush && number > 0) continue;
            flushes_pending_ += device->flush_epoch() ? 1 : 0;
        }
        if (flushes_pending_ > 0) return;
    }
    if (epoch_size_ > 0)
        link.send_packet(Channel::meta, Command::barrier_ack, 0, wire::BarrierAck{*barrier_, epoch_size_});
    epoch_size_ = 0;
    epoch_dropped_ = epoch_flushed_ = false;
    barrier_.reset();
}

void Connection::epoch_flush_done() {
    --flushes_pending_;
    core_.notify();
    if (flushes_pending_ > 0 || !barrier_) return;
    check_barrier();
    if (!barrier_) link.resume(Channel::data);
}

void Connection::active_writes_changed() {
    const bool waited = barrier_.has_value();
    check_barrier();
    if (waited && !barrier_) link.resume(Channel::data);
}

void Connection::barrier_before(uint32_t epoch) {
    if (!transfer_log.barrier_due_before(epoch) || !established()) return;
    const uint32_t number = transfer_log.barrier_sent(core_.ports.clock.now_ms());
    link.send_packet(Channel::data, Command::barrier, 0, wire::Barrier{number});
}

void Connection::turn_ends() {
    barrier_before(transfer_log.current_epoch());
}

// ---- reads, resync
// ---------------------------------------------------------------------------------------------------

// Nothing, and the connection dropped, if it does not fit the packet or the device.
std::optional<wire::BlockRequest> Connection::block_request(const Device& device,
                                                            const wire::PacketReader& reader) {
    const wire::PacketInfo& info = reader.info();
    const Result<wire::BlockRequest> packet = wire::decode_block_request(info, reader.body());
    const Status in_range =
        packet ? wire::check_range(info, packet->sector, packet->size_bytes, device.size_sectors())
               : Status(packet.error());
    if (in_range) return *packet;
    protocol_error(in_range.error());
    return std::nullopt;
}

bool Connection::receive_read_request(Device& device, const wire::PacketReader& reader) {
    const std::optional<wire::BlockRequest> packet = block_request(device, reader);
    if (!packet) return false;
    PeerRequest* read =
        device.peer.take(PeerKind::read, packet->sector, packet->size_bytes, packet->size_bytes);
    if (!read) return no_room();
    read->block_id = packet->block_id;
    device.peer.serve_read(*read);
    return true;
}

bool Connection::receive_resync_request(Device& device, const wire::PacketReader& reader) {
    const std::optional<wire::BlockRequest> packet = block_request(device, reader);
    if (!packet) return false;
    PeerRequest* read =
        device.peer.take(PeerKind::resync_read, packet->sector, packet->size_bytes, packet->size_bytes);
    if (!read) return no_room();
    read->command = reader.info().command();
    const auto sent_digest = reader.digest();
    std::copy(sent_digest.begin(), sent_digest.end(), read->digest.bytes.begin());
    read->digest.size = sent_digest.size();
    device.peer.serve_resync_read(*read);
    return true;
}

bool Connection::receive_verify_request(Device& device, const wire::PacketReader& reader) {
    const std::optional<wire::BlockRequest> packet = block_request(device, reader);
    if (!packet) return false;
    if (!verify_) return protocol_error(error("P_OV_REQUEST, volume {}: no verify-alg", device.number()));
    PeerRequest* read =
        device.peer.take(PeerKind::verify_read, packet->sector, packet->size_bytes, packet->size_bytes);
    if (!read) return no_room();
    read->block_id = packet->block_id;
    device.verify.request_arrived(packet->sector);
    device.peer.serve_resync_read(*read);
    return true;
}

bool Connection::receive_verify_reply(Device& device, const wire::PacketReader& reader) {
    const Result<wire::BlockRequest> packet = wire::decode_block_request(reader.info(), reader.body());
    if (!packet) return protocol_error(packet.error());
    return device.verify.reply_arrived(packet->sector, packet->size_bytes, reader.digest()) || no_room();
}

bool Connection::receive_data_reply(Device& device, const wire::PacketReader& reader) {
    AppRequest* read = std::exchange(incoming_read_, nullptr);
    if (!digest_matches(reader)) return false;
    if (read) device.app.read_answered(*read);
    return true;
}

bool Connection::receive_resync_reply(Device& device, const wire::PacketReader& reader) {
    PeerRequest* block = std::exchange(incoming_, nullptr);
    if (!digest_matches(reader)) {
        if (block->orphan) device.peer.give(*block);
        return false;
    }
    device.peer.resync_block_arrived(*block, false);
    return true;
}

bool Connection::receive_deallocated(Device& device, const wire::PacketReader& reader) {
    const Result<wire::BlockDesc> packet = wire::decode_block_desc(reader.info(), reader.body());
    if (!packet) return protocol_error(packet.error());
    PeerRequest* block = device.resync.find_outstanding(packet->sector, packet->size_bytes);
    if (!block)
        return protocol_error(
            error("P_RS_DEALLOCATED, volume {}: no request of {} bytes at sector {} is outstanding",
                  device.number(), packet->size_bytes, packet->sector.value));
    device.peer.resync_block_arrived(*block, true);
    return true;
}

bool Connection::receive_out_of_sync(Device& device, const wire::PacketReader& reader) {
    const wire::PacketInfo& info = reader.info();
    const Result<wire::BlockDesc> packet = wire::decode_block_desc(info, reader.body());
    if (!packet) return protocol_error(packet.error());
    const Status in_range =
        wire::check_range(info, packet->sector, packet->size_bytes, device.size_sectors());
    if (!in_range) return protocol_error(in_range.error());
    const ConnState conn = device.state().conn;
    if (conn != ConnState::wf_sync_uuid && conn != ConnState::wf_bitmap_t && conn != ConnState::behind)
        device.log(LogLevel::error, "ASSERT FAILED cstate = {}, expected: WFSyncUUID|WFBitMapT|Behind",
                   name_of(conn));
    device.set_out_of_sync(packet->sector, packet->size_bytes);
    return true;
}

// ---- state changes that the peer asks for (wire protocol 6.4, 17.4)
// ------------------------------------------------------

bool Connection::receive_state_request(Device& device, const wire::PacketReader& reader) {
    const StateChangeRequest request = wire::decode_state_change_request(reader.body());
    StateChangeResult result = StateChangeResult::not_supported;
    if (wire::known_request(Command::state_chg_req, request))
        result = device.peer_requests_state(mirror(request));
    link.send_packet(Channel::meta, Command::state_chg_reply, device.wire_number(),
                     wire::StateChangeReply{static_cast<int32_t>(result)});
    return established();
}

bool Connection::receive_connection_request(const wire::PacketReader& reader) {
    const StateChangeRequest request = wire::decode_state_change_request(reader.body());
    StateChangeResult result = StateChangeResult::not_supported;
    if (wire::known_request(Command::conn_st_chg_req, request))
        result = resolver_ && disconnect_pending_ ? StateChangeResult::concurrent_st_chg
                                                  : peer_requests_state(mirror(request));
    link.send_packet(Channel::meta, Command::conn_st_chg_reply, 0,
                     wire::StateChangeReply{static_cast<int32_t>(result)});
    return established();
}

}  // namespace duplex::engine
