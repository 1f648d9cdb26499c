// The transmission phase's requests on their way through the engine, and their replies.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "exports/nbd/connection.hpp"
#include "exports/nbd/server.hpp"

namespace duplex::exports::nbd {

namespace {

engine::Op op_of(Command command) {
    switch (command) {
        case Command::read:
            return engine::Op::read;
        case Command::write:
            return engine::Op::write;
        case Command::flush:
            return engine::Op::flush;
        case Command::trim:
            return engine::Op::discard;
        case Command::write_zeroes:
            return engine::Op::write_zeroes;
        case Command::disconnect:
        case Command::cache:
        case Command::block_status:
            break;
    }
    ensure_failed("a command that makes a request", __FILE__, __LINE__);
}

// Do the call's requests have a buffer?
bool has_data(const Call& call) {
    return call.header.command == Command::read || call.header.command == Command::write ||
           call.zeroes_by_writing;
}

}  // namespace

// ---- calls

// 0, or the errno value a request is refused with before the engine sees it.
int Connection::check(const RequestHeader& header) const {
    const bool writes = header.command == Command::write || header.command == Command::trim ||
                        header.command == Command::write_zeroes;
    uint16_t flags = command_flag_fua;
    if (header.command == Command::write_zeroes) flags |= command_flag_no_hole;
    if (header.command == Command::read && structured_) flags |= command_flag_df;
    if (header.flags & ~flags) return EINVAL;

    if (header.command == Command::flush)
        return header.offset_bytes == 0 && header.length_bytes == 0 ? 0 : EINVAL;
    if (header.command != Command::read && !writes) return EINVAL;
    if (writes && read_only_) return EROFS;
    if (header.command == Command::trim && !volume_.can_discard()) return EOPNOTSUPP;

    if (header.length_bytes == 0 || header.length_bytes % sector_bytes != 0 ||
        header.offset_bytes % sector_bytes != 0)
        return EINVAL;
    if (header.command == Command::read && header.length_bytes > call_bytes_max) return EINVAL;
    if ((header.flags & command_flag_df) && header.length_bytes > engine::request_bytes_max) return EOVERFLOW;
    const uint64_t size_bytes = volume_.size_sectors() * sector_bytes;
    if (header.offset_bytes > size_bytes || header.length_bytes > size_bytes - header.offset_bytes)
        return header.command == Command::write || header.command == Command::write_zeroes ? ENOSPC : EINVAL;
    return 0;
}

void Connection::begin(const RequestHeader& header) {
    if (header.command == Command::disconnect) {
        finish();
        return;
    }
    const bool is_write = header.command == Command::write;
    if (is_write && header.length_bytes > call_bytes_max) {
        hang_up(fmt::format("a write of {} bytes; {} is the most", header.length_bytes, call_bytes_max));
        return;
    }
    Call& call = *calls_.take();
    call.owner = this;
    call.header = header;
    call.position_bytes = header.offset_bytes;
    call.left_bytes = header.length_bytes;
    call.error = 0;
    call.zeroes_by_writing = false;
    call.has_begun_reply = false;
    if (const int error = check(header)) {
        complain(header, error);
        refuse(call, error);
        return;
    }
    if (is_write) writing_ = &call;
    if (!waiting_.empty() || !start_piece(call)) waiting_.push_back(call);
}

// What waited for the engine, for this client's replies to leave, or for the piece before.
void Connection::go_on() {
    while (!waiting_.empty() && phase_ != Phase::ending) {
        Call& call = waiting_.pop_front();
        if (start_piece(call)) continue;
        waiting_.push_front(call);
        break;
    }
    take_requests();
    if (phase_ > Phase::transmission) loop_.next_turn(settle_soon_);
}

// Takes the engine's request for the call's next piece and, unless its data has yet to be received, submits
// it. False: nothing free now.
bool Connection::start_piece(Call& call) {
    const Command command = call.header.command;
    const uint32_t bytes_max = has_data(call) ? engine::request_bytes_max : engine::discard_request_bytes_max;
    const uint32_t bytes = std::min(call.left_bytes, bytes_max);
    if (has_data(call) && held_bytes_ > 0 && held_bytes_ + bytes > held_bytes_max) return false;
    const engine::Op op = call.zeroes_by_writing ? engine::Op::write : op_of(command);
    engine::Request* request = server_.take_request(op, Sector(call.position_bytes / sector_bytes), bytes);
    if (request == nullptr) return false;
    if (has_data(call)) held_bytes_ += bytes;
    request->fua =
        (call.header.flags & command_flag_fua) && command != Command::read && command != Command::flush;
    request->may_unmap = op == engine::Op::write_zeroes && !(call.header.flags & command_flag_no_hole);
    request->user_data = &call;
    call.request = request;
    if (call.zeroes_by_writing) std::memset(request->data, 0, bytes);
    if (command != Command::write) submit(call);
    return true;
}

void Connection::submit(Call& call) {
    call.in_engine = true;
    ++in_engine_;
    volume_.submit(*call.request);
}

void Connection::completed(Call& call) {
    ensure(call.in_engine);
    call.in_engine = false;
    call.error = call.request->error;
    --in_engine_;
    if (phase_ != Phase::ending) {
        piece_done(call);
        return;
    }
    if (&call == writing_) writing_ = nullptr;
    drop(call);
    loop_.next_turn(settle_soon_);
}

void Connection::piece_done(Call& call) {
    const uint32_t bytes = call.request->size_bytes;
    if (call.error == EOPNOTSUPP && call.header.command == Command::write_zeroes && !call.zeroes_by_writing) {
        // What the peer agreed to decides whether the engine can. Clients, who were told once that we do,
        // need not know.
        release_request(call);
        call.zeroes_by_writing = true;
        waiting_.push_back(call);
    } else if (call.error != 0) {
        release_request(call);
        call.left_bytes -= bytes;
        if (&call == writing_) writing_ = nullptr;
        refuse(call, call.error);
    } else if (call.header.command == Command::read) {
        queue_reply(call);
    } else {
        release_request(call);
        call.position_bytes += bytes;
        call.left_bytes -= bytes;
        if (call.left_bytes == 0) {
            queue_reply(call);
        } else if (phase_ == Phase::finishing && &call == writing_) {
            writing_ = nullptr;  // its data will not come any more
            drop(call);
        } else {
            waiting_.push_back(call);
        }
    }
    if (!waiting_.empty() || writing_ != nullptr || phase_ == Phase::finishing) loop_.next_turn(go_on_soon_);
}

// Answers with an error, once the data that a write still has to bring is out of the way.
void Connection::refuse(Call& call, int error) {
    call.error = error;
    if (call.header.command == Command::write && call.left_bytes > 0) {
        writing_ = &call;
        drain_bytes_ = call.left_bytes;
        return;
    }
    if (!call.has_begun_reply) {
        queue_error(call, error);
        return;
    }
    // A simple reply has no way to take back the success it began with.
    drop(call);
    hang_up(fmt::format("a read failed after its first part had been sent: {}", strerrordesc_np(error)));
}

void Connection::release_request(Call& call) {
    if (call.request == nullptr) return;
    if (has_data(call)) held_bytes_ -= call.request->size_bytes;
    volume_.release(*call.request);
    call.request = nullptr;
}

void Connection::drop(Call& call) {
    release_request(call);
    calls_.give(&call);
}

void Connection::room() {
    loop_.next_turn(go_on_soon_);
}

void Connection::complain(const RequestHeader& header, int error) {
    if (++complaints_ > complaints_max) return;
    log_client(fmt::format("{} of {} bytes at {} with flags {:#x} refused: {}{}", name_of(header.command),
                           header.length_bytes, header.offset_bytes, header.flags, strerrordesc_np(error),
                           complaints_ == complaints_max ? " (no more of these are logged)" : ""));
}

// ---- sending

// The call's (or, of a read, its current piece's) success.
void Connection::queue_reply(Call& call) {
    const bool is_read = call.header.command == Command::read;
    call.payload_bytes = is_read ? call.request->size_bytes : 0;
    call.is_last = call.payload_bytes == call.left_bytes;
    size_t bytes = 0;
    if (is_read && structured_) {
        bytes = put_chunk_header(call.head, call.header.cookie, Chunk::offset_data, call.is_last,
                                 8 + call.payload_bytes);
        store_be(call.head + bytes, call.position_bytes);
        bytes += 8;
    } else if (!call.has_begun_reply) {
        bytes = put_simple_reply(call.head, call.header.cookie, WireError::none);
        call.has_begun_reply = true;
    }
    call.head_bytes = static_cast<uint32_t>(bytes);
    sending_.push_back(call);
    loop_.end_of_turn(send_soon_);
}

void Connection::queue_error(Call& call, int error) {
    const WireError wire_error = wire_error_of(error);
    call.payload_bytes = 0;
    call.is_last = true;
    size_t bytes = 0;
    if (structured_) {
        const std::string_view text = strerrordesc_np(error);
        const size_t text_bytes = std::min(text.size(), Call::head_bytes_max - chunk_header_bytes - 6);
        bytes = put_chunk_header(call.head, call.header.cookie, Chunk::error, true,
                                 static_cast<uint32_t>(6 + text_bytes));
        store_be(call.head + bytes, static_cast<uint32_t>(wire_error));
        store_be(call.head + bytes + 4, static_cast<uint16_t>(text_bytes));
        std::memcpy(call.head + bytes + 6, text.data(), text_bytes);
        bytes += 6 + text_bytes;
    } else {
        bytes = put_simple_reply(call.head, call.header.cookie, wire_error);
    }
    call.head_bytes = static_cast<uint32_t>(bytes);
    sending_.push_back(call);
    loop_.end_of_turn(send_soon_);
}

void Connection::send() {
    if (send_.busy() || phase_ == Phase::ending) return;
    if (!handshake_out_.empty()) {
        send_.send(fd_.get(), std::span(handshake_out_).subspan(handshake_sent_bytes_));
        return;
    }
    if (sending_.empty()) return;
    gather();
    send_.sendmsg(fd_.get(), out_message_);
}

void Connection::gather() {
    size_t skip = front_sent_bytes_;
    size_t count = 0;
    for (Call& call : sending_) {
        if (count + 2 > iovecs_max) break;
        if (skip < call.head_bytes) out_iovecs_[count++] = {call.head + skip, call.head_bytes - skip};
        const size_t payload_skip = skip > call.head_bytes ? skip - call.head_bytes : 0;
        if (payload_skip < call.payload_bytes)
            out_iovecs_[count++] = {call.request->data + payload_skip, call.payload_bytes - payload_skip};
        skip = 0;
    }
    out_message_.msg_iov = out_iovecs_.data();
    out_message_.msg_iovlen = count;
}

void Connection::sent(int result) {
    if (phase_ == Phase::ending) {
        loop_.next_turn(settle_soon_);
        return;
    }
    if (result < 0) {
        if (result != -EPIPE && result != -ECONNRESET)
            log_client(fmt::format("send: {}", strerrordesc_np(-result)));
        end();
        return;
    }
    if (!handshake_out_.empty()) {
        handshake_sent(static_cast<size_t>(result));
        return;
    }
    account_sent(static_cast<size_t>(result));
    send();
    go_on();
}

void Connection::handshake_sent(size_t bytes) {
    handshake_sent_bytes_ += bytes;
    if (handshake_sent_bytes_ < handshake_out_.size()) {
        send();
        return;
    }
    handshake_out_.clear();
    handshake_sent_bytes_ = 0;
    if (phase_ == Phase::finishing || negotiation_.outcome() == Negotiation::Outcome::close) {
        end();
    } else if (negotiation_.outcome() == Negotiation::Outcome::going_on) {
        take_handshake();
    } else {
        loop_.cancel(handshake_timer_);
        structured_ = negotiation_.structured_replies();
        phase_ = Phase::transmission;
        take_requests();
    }
}

void Connection::account_sent(size_t bytes) {
    front_sent_bytes_ += bytes;
    while (!sending_.empty()) {
        Call& call = sending_.front();
        const size_t reply_bytes = size_t{call.head_bytes} + call.payload_bytes;
        if (front_sent_bytes_ < reply_bytes) break;
        front_sent_bytes_ -= reply_bytes;
        sending_.remove(call);
        reply_left(call);
    }
}

void Connection::reply_left(Call& call) {
    release_request(call);
    if (call.is_last) {
        calls_.give(&call);
        return;
    }
    call.position_bytes += call.payload_bytes;
    call.left_bytes -= call.payload_bytes;
    waiting_.push_back(call);
}

}  // namespace duplex::exports::nbd
