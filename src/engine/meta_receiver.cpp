// What arrives on the meta socket: acknowledgements, answers, pings (wire protocol 7.4, 14). Never waits for
// anything; a P_PING is answered when everything before it has been dealt with, which 12.9 relies on.
#include "engine/core.hpp"
#include "wire/decode.hpp"

namespace duplex::engine {

using wire::Command;

void Connection::meta_packet(const wire::PacketReader& reader) {
    const wire::PacketInfo& info = reader.info();
    switch (info.command()) {
        case Command::ping:
            link.send_bytes(Channel::meta, Command::ping_ack, 0, {});
            return;
        case Command::ping_ack:
            link.ping_answered();
            return;
        case Command::delay_probe:
            return;
        case Command::barrier_ack: {
            const Result<wire::BarrierAck> ack = wire::decode_barrier_ack(info, reader.body());
            if (ack)
                barrier_ack(*ack);
            else
                protocol_error(ack.error());
            return;
        }
        case Command::conn_st_chg_reply:
        case Command::state_chg_reply:
            state_change_reply(reader);
            return;
        default:
            break;
    }
    Device* device = core_.find(info.volume());
    const Result<wire::BlockAck> ack = wire::decode_block_ack(info, reader.body());
    if (!device)
        protocol_error(error("{}: volume {} is not configured", name_of(info.command()), info.volume()));
    else if (!ack)
        protocol_error(ack.error());
    else
        block_ack(*device, info.command(), *ack);
}

void Connection::state_change_reply(const wire::PacketReader& reader) {
    const Result<wire::StateChangeReply> reply =
        wire::decode_state_change_reply(reader.info(), reader.body());
    if (!reply) {
        protocol_error(reply.error());
        return;
    }
    if (reader.info().command() == Command::conn_st_chg_reply) {
        disconnect_answer_ = reply->retcode;
        core_.notify();
    } else if (Device* device = core_.find(reader.info().volume())) {
        device->peer_answered(reply->retcode);
    }
}

void Connection::block_ack(Device& device, Command command, const wire::BlockAck& ack) {
    switch (command) {
        case Command::recv_ack:
        case Command::write_ack:
        case Command::rs_write_ack:
        case Command::superseded:
        case Command::retry_write:
            write_ack(device, command, ack);
            break;
        case Command::neg_ack:
            neg_ack(device, ack);
            break;
        case Command::neg_dreply: {
            AppRequest* read = device.app.find(ack.block_id, ack.sector);
            if (read && read->op == Op::read && read->net_pending)
                device.app.read_refused(*read);
            else
                unknown_ack(device, command, ack);
            break;
        }
        case Command::neg_rs_dreply:
        case Command::rs_is_in_sync:
        case Command::rs_cancel:
            resync_answer(device, command, ack);
            break;
        case Command::ov_result:
            verify_result(device, ack);
            break;
        default:
            unknown_ack(device, command, ack);
    }
    // Only now does a write that the peer sent after this ack count as sent after it (wire protocol 8.2).
    device.see_peer_sequence(ack.seq_num);
    if (write_waits_) core_.notify();
}

void Connection::unknown_ack(const Device& device, Command command, const wire::BlockAck& ack) {
    drop(ConnState::network_failure,
         fmt::format("{}, volume {}: sector {}, {} bytes: nothing of the kind is outstanding",
                     name_of(command), device.number(), ack.sector.value, ack.size_bytes));
}

void Connection::write_ack(Device& device, Command command, const wire::BlockAck& ack) {
    if (ack.block_id == wire::block_id_resync) {
        const bool resync_write = command == Command::write_ack || command == Command::rs_write_ack;
        if (!resync_write || !device.peer.resync_block_acked(ack.sector, ack.size_bytes, true))
            stray_resync_ack(device, command, ack);
        return;
    }
    AppRequest* write = device.app.find(ack.block_id, ack.sector);
    const uint32_t flag =
        command == Command::recv_ack ? wire::dp_flag::send_receive_ack : wire::dp_flag::send_write_ack;
    if (!write || !write->is_write() || write->size_bytes != ack.size_bytes || !(write->dp_flags & flag)) {
        unknown_ack(device, command, ack);
        return;
    }
    const bool verdict = command == Command::superseded || command == Command::retry_write;
    if (verdict && (!two_primaries() || resolver_ || !write->net_pending)) {
        unknown_ack(device, command, ack);
        return;
    }
    if (verdict) transfer_log.note_conflict(write->epoch);
    if (command == Command::superseded)
        device.app.superseded(*write);
    else if (command == Command::retry_write)
        device.app.to_be_retried(*write);
    else
        device.app.acked(*write, command == Command::rs_write_ack);
}

// An ack for a resync that ended or broke off here meanwhile is late, not wrong.
void Connection::stray_resync_ack(Device& device, Command command, const wire::BlockAck& ack) {
    const ConnState conn = device.state().conn;
    if (conn == ConnState::sync_source || conn == ConnState::sync_target) unknown_ack(device, command, ack);
}

void Connection::neg_ack(Device& device, const wire::BlockAck& ack) {
    if (ack.block_id == wire::block_id_resync) {
        if (!device.peer.resync_block_acked(ack.sector, ack.size_bytes, false))
            stray_resync_ack(device, Command::neg_ack, ack);
        return;
    }
    AppRequest* write = device.app.find(ack.block_id, ack.sector);
    if (write && write->is_write()) {
        device.app.neg_acked(*write);
        return;
    }
    // Legal under protocol A and B: the request is gone already (wire protocol 7.4).
    const bool in_range = ack.sector.value < device.size_sectors() && ack.size_bytes <= wire::trim_bytes_max;
    if (in_range) device.set_out_of_sync(ack.sector, ack.size_bytes);
}

void Connection::verify_result(Device& device, const wire::BlockAck& ack) {
    const uint64_t sectors = ack.size_bytes / sector_bytes;
    if (ack.sector.value > device.size_sectors() || sectors > device.size_sectors() - ack.sector.value)
        unknown_ack(device, Command::ov_result, ack);
    else
        device.verify.result_arrived(ack.sector, ack.size_bytes, ack.block_id == wire::block_id_in_sync);
}

void Connection::resync_answer(Device& device, Command command, const wire::BlockAck& ack) {
    if (command == Command::neg_rs_dreply && device.verify.block_refused(ack.sector, ack.size_bytes)) return;
    PeerRequest* request = device.resync.find_outstanding(ack.sector, ack.size_bytes);
    if (!request)
        stray_resync_ack(device, command, ack);
    else if (command == Command::rs_is_in_sync)
        device.resync.block_in_sync(*request);
    else if (command == Command::rs_cancel)
        device.resync.block_cancelled(*request);
    else
        device.resync.block_refused(*request);
}

// Wire protocol 7.6, 8.4: an epoch with exactly its writes. A later one may come first: where the last writes
// of two epochs were on different volumes, a kernel acknowledges them in the order of the volumes. An epoch
// that lost writes to conflicts may be skipped, and its count may be with or without them.
void Connection::barrier_ack(const wire::BarrierAck& ack) {
    TransferLog::Requests& log = transfer_log.requests();
    while (!log.empty() && log.front().epoch != ack.barrier && transfer_log.had_conflict(log.front().epoch))
        acknowledge_epoch(log.front().epoch);
    const uint32_t writes = transfer_log.writes_of(ack.barrier);
    const bool conflict = transfer_log.had_conflict(ack.barrier);
    if (writes == 0 && !conflict) {
        drop(ConnState::protocol_error,
             fmt::format("BAD! BarrierAck #{} received, expected #{}!", ack.barrier,
                         log.empty() ? transfer_log.current_epoch() : log.front().epoch));
        return;
    }
    if (writes != ack.set_size && !conflict) {
        drop(ConnState::protocol_error,
             fmt::format("BAD! BarrierAck #{} received with n_writes={}, expected n_writes={}!", ack.barrier,
                         ack.set_size, writes));
        return;
    }
    acknowledge_epoch(ack.barrier);
    transfer_log.epoch_acknowledged();
}

void Connection::acknowledge_epoch(uint32_t epoch) {
    while (AppRequest* request = transfer_log.oldest_of(epoch)) {
        transfer_log.remove(*request);
        if (request->postponed) transfer_log.not_in_an_epoch.push_back(*request);
        request->device->app.barrier_acked(*request);
    }
    transfer_log.forget_conflict(epoch);
    while (!transfer_log.acked_before.empty()) {
        AppRequest& request = transfer_log.acked_before.pop_front();
        request.device->app.barrier_acked(request);
    }
}

void Connection::end_flushes() {
    while (transfer_log.first_flush_done()) {
        AppRequest& flush = transfer_log.flushes.pop_front();
        flush.device->app.stable_at_peer(flush);
    }
}

}  // namespace duplex::engine
