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
