#include "exports/nbd/connection.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sys/socket.h>
#include <utility>

#include <fmt/format.h>

#include "exports/nbd/server.hpp"

namespace duplex::exports::nbd {

namespace {

// Who is at the other end of a Unix socket, for people: "fio[1234] via NBD".
std::string peer_of(int fd) {
    ucred peer{};
    socklen_t peer_bytes = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_bytes) != 0) return "unknown via NBD";
    std::string name;
    std::getline(std::ifstream(fmt::format("/proc/{}/comm", peer.pid)), name);
    return fmt::format("{}[{}] via NBD", name.empty() ? "unknown" : name, peer.pid);
}

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
    ensure(!"a command that makes no request");
    return engine::Op::read;
}

bool has_data(Command command) {
    return command == Command::read || command == Command::write;
}

uint32_t piece_bytes_max(Command command) {
    return has_data(command) ? engine::request_bytes_max : engine::discard_request_bytes_max;
}

}  // namespace

Connection::Connection(Server& server, runtime::Loop& loop, engine::Volume& volume, runtime::Fd fd)
    : server_(server), loop_(loop), volume_(volume), fd_(std::move(fd)), client_(peer_of(fd_.get())) {
    static_assert(in_bytes_max >= Negotiation::window_bytes);
}

Connection::~Connection() {
    loop_.cancel(send_soon_);
    loop_.cancel(go_on_soon_);
    loop_.cancel(settle_soon_);
    loop_.cancel(handshake_timer_);
    ensure(in_engine_ == 0 && held_bytes_ == 0 && !opened_);
}

void Connection::start() {
    loop_.arm(handshake_timer_, handshake_limit_ms);
    negotiation_.greet(handshake_out_);
    send();
}

// ---- receiving

void Connection::receive() {
    if (receive_.busy() || phase_ > Phase::transmission) return;
    if (begin_ > 0) {
        std::memmove(in_.get(), in_.get() + begin_, buffered_bytes());
        end_ -= begin_;
        begin_ = 0;
    }
    const size_t ahead_bytes = large_writes_ && drain_bytes_ == 0 ? RequestHeader::size_bytes : in_bytes_max;
    scattered_ = writing_ != nullptr && writing_->error == 0;
    if (!scattered_) {
        ensure(end_ < ahead_bytes);
        receive_.recv(fd_.get(), {in_.get() + end_, ahead_bytes - end_});
        return;
    }
    ensure(end_ == 0);
    const engine::Request& request = *writing_->request;
    in_iovecs_[0] = {request.data + written_bytes_, request.size_bytes - written_bytes_};
    in_iovecs_[1] = {in_.get(), ahead_bytes};
    in_message_.msg_iov = in_iovecs_.data();
    in_message_.msg_iovlen = in_iovecs_.size();
    receive_.recvmsg(fd_.get(), in_message_);
}

void Connection::received(int result) {
    if (phase_ > Phase::transmission) {
        loop_.next_turn(settle_soon_);
        return;
    }
    if (result == 0 && phase_ == Phase::handshake) {
        end();  // only looked whether somebody answers, or was refused
        return;
    }
    if (result == 0) {
        if (in_engine_ > 0 || writing_ != nullptr) log_client("hung up with requests in flight");
        end();
        return;
    }
    if (result < 0) {
        hang_up(fmt::format("receive: {}", strerrordesc_np(-result)));
        return;
    }
    size_t bytes = static_cast<size_t>(result);
    if (scattered_) {
        const size_t data_bytes = std::min(bytes, in_iovecs_[0].iov_len);
        written_bytes_ += static_cast<uint32_t>(data_bytes);
        bytes -= data_bytes;
    }
    end_ += bytes;
    phase_ == Phase::handshake ? take_handshake() : take_requests();
}

void Connection::take_handshake() {
    begin_ += negotiation_.received({in_.get() + begin_, buffered_bytes()}, handshake_out_);
    if (!handshake_out_.empty()) {
        send();
    } else if (negotiation_.outcome() == Negotiation::Outcome::close) {
        end();
    } else {
        receive();
    }
}

// Goes on until the socket, the engine or the client's limits make it wait.
void Connection::take_requests() {
    if (receive_.busy()) return;
    while (phase_ == Phase::transmission) {
        if (writing_ != nullptr && writing_->error != 0) {
            if (drain_write_data()) continue;
            receive();
            return;
        }
        if (writing_ != nullptr) {
            if (writing_->request == nullptr || writing_->in_engine) return;  // go_on() comes back here
            if (take_write_data()) continue;
            receive();
            return;
        }
        if (calls_.available() == 0) return;  // sent() comes back here
        if (take_header()) continue;
        receive();
        return;
    }
}

bool Connection::take_header() {
    if (buffered_bytes() < RequestHeader::size_bytes) return false;
    const auto header = RequestHeader::decode(in_.get() + begin_);
    begin_ += RequestHeader::size_bytes;
    if (header.magic != request_magic) {
        hang_up(fmt::format("a request with the magic number {:#x}", header.magic));
        return true;
    }
    large_writes_ = header.command == Command::write && header.length_bytes >= large_write_bytes;
    begin(header);
    return true;
}

// True: the piece is complete and on its way.
bool Connection::take_write_data() {
    engine::Request& request = *writing_->request;
    const auto bytes =
        static_cast<uint32_t>(std::min<size_t>(buffered_bytes(), request.size_bytes - written_bytes_));
    std::memcpy(request.data + written_bytes_, in_.get() + begin_, bytes);
    begin_ += bytes;
    written_bytes_ += bytes;
    if (written_bytes_ < request.size_bytes) return false;
    Call& call = *writing_;
    written_bytes_ = 0;
    if (request.size_bytes == call.left_bytes) writing_ = nullptr;
    submit(call);
    return true;
}

// Clients do not expect an answer to what they have not yet finished sending, not even a refusal.
bool Connection::drain_write_data() {
    const auto bytes = static_cast<uint32_t>(std::min<size_t>(buffered_bytes(), drain_bytes_));
    begin_ += bytes;
    drain_bytes_ -= bytes;
    if (drain_bytes_ > 0) return false;
    Call& call = *std::exchange(writing_, nullptr);
    queue_error(call, call.error);
    return true;
}

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
    call.header = header;
    call.position_bytes = header.offset_bytes;
    call.left_bytes = header.length_bytes;
    call.error = 0;
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
    const uint32_t bytes = std::min(call.left_bytes, piece_bytes_max(command));
    if (has_data(command) && held_bytes_ > 0 && held_bytes_ + bytes > held_bytes_max) return false;
    engine::Request* request =
        volume_.take_request(op_of(command), Sector(call.position_bytes / sector_bytes), bytes, *this);
    if (request == nullptr) return false;
    if (has_data(command)) held_bytes_ += bytes;
    request->fua =
        (call.header.flags & command_flag_fua) && command != Command::read && command != Command::flush;
    request->may_unmap = command == Command::write_zeroes && !(call.header.flags & command_flag_no_hole);
    request->user_data = &call;
    call.request = request;
    if (command != Command::write) submit(call);
    return true;
}

void Connection::submit(Call& call) {
    call.in_engine = true;
    ++in_engine_;
    volume_.submit(*call.request);
}

void Connection::completed(engine::Request& request) {
    Call& call = *static_cast<Call*>(request.user_data);
    ensure(call.request == &request && call.in_engine);
    call.in_engine = false;
    call.error = request.error;
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
    if (call.error != 0) {
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
    if (!waiting_.empty() || writing_ != nullptr || phase_ == Phase::finishing)
        loop_.next_turn(go_on_soon_);
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
    if (has_data(call.header.command)) held_bytes_ -= call.request->size_bytes;
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

// ---- the handshake's questions

bool Connection::has_name(std::string_view name) const {
    return server_.has_name(name);
}
std::string_view Connection::canonical_name() const {
    return server_.name_;
}
std::string_view Connection::description() const {
    return server_.description_;
}

Result<ExportFacts> Connection::open_export() {
    int error_number = volume_.open(true, client_);
    read_only_ = error_number == EROFS;
    if (read_only_) error_number = volume_.open(false, client_);
    if (error_number == EROFS || error_number == EMEDIUMTYPE)
        return error("{} is Secondary: promote first", server_.device_name_);
    if (error_number != 0)
        return error("{} cannot be opened: {}", server_.device_name_, strerrordesc_np(error_number));
    opened_ = true;
    return ExportFacts{volume_.size_sectors() * sector_bytes, read_only_, volume_.can_discard()};
}

Result<ExportFacts> Connection::look_at_export() {
    Result<ExportFacts> facts = open_export();
    if (opened_) volume_.close(client_);
    opened_ = false;
    return facts;
}

void Connection::log_client(std::string_view what) {
    server_.log(engine::LogLevel::warning, fmt::format("{}: {}", client_, what));
}

// ---- ending

void Connection::finish() {
    if (phase_ == Phase::ending) return;
    if (phase_ == Phase::handshake && handshake_out_.empty()) {
        end();
        return;
    }
    phase_ = Phase::finishing;
    // A write whose data is still coming is given up; settle() takes its buffer back from the kernel.
    if (writing_ != nullptr && writing_->linked()) {
        waiting_.remove(*writing_);
        drop(*writing_);
        writing_ = nullptr;
    }
    loop_.next_turn(settle_soon_);
}

void Connection::hang_up(std::string_view why) {
    log_client(fmt::format("{}; connection closed", why));
    end();
}

void Connection::end() {
    if (phase_ == Phase::ending) return;
    phase_ = Phase::ending;
    shutdown(fd_.get(), SHUT_RDWR);
    receive_.cancel();
    send_.cancel();
    loop_.next_turn(settle_soon_);
}

void Connection::handshake_too_slow() {
    hang_up(fmt::format("no export chosen within {} s", handshake_limit_ms / 1000));
}

// The last step, taken again whenever something that could hold it up is over.
void Connection::settle() {
    if (phase_ == Phase::finishing) {
        if (in_engine_ > 0 || send_.busy() || !sending_.empty() || !waiting_.empty() ||
            !handshake_out_.empty())
            return;
        end();
    }
    if (phase_ != Phase::ending || in_engine_ > 0 || receive_.busy() || send_.busy()) return;
    if (writing_ != nullptr) {
        if (writing_->linked()) waiting_.remove(*writing_);
        drop(*writing_);
        writing_ = nullptr;
    }
    while (!sending_.empty()) drop(sending_.pop_front());
    while (!waiting_.empty()) drop(waiting_.pop_front());
    if (opened_) volume_.close(client_);
    opened_ = false;
    server_.gone(*this);
}

}  // namespace duplex::exports::nbd
