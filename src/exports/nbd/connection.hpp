// One client of the NBD server.
//
// Large data go from the socket straight into the engine's buffers: the receive that takes them also takes
// the header that follows, and nothing more. Small writes are received many at a time through in_, because a
// copy of 4 KiB costs less than a receive of its own. Reads leave from the engine's buffers, many replies in
// one sendmsg.
//
// A client's request is a Call. It holds at most one engine request at a time and, while it waits for one,
// none: a large read, write or trim is done piece by piece, so Calls can never wait for each other's buffers.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/list.hpp"
#include "base/pool.hpp"
#include "base/result.hpp"
#include "engine/volume.hpp"
#include "exports/nbd/negotiation.hpp"
#include "exports/nbd/protocol.hpp"
#include "runtime/fd.hpp"
#include "runtime/operation.hpp"

namespace duplex::exports::nbd {

class Server;

class Connection;

struct Call : ListNode<Call> {
    static constexpr size_t head_bytes_max = 160;

    Connection* owner = nullptr;
    RequestHeader header;
    uint64_t position_bytes = 0;  // where the current or next piece begins, from the start of the device
    uint32_t left_bytes = 0;      // from there to the end of the call
    engine::Request* request = nullptr;
    int error = 0;
    bool in_engine = false;
    bool zeroes_by_writing = false;  // write-zeroes, where the engine cannot: as writes of zeroes
    bool has_begun_reply = false;    // a simple reply's header has left: no error can be told any more

    // The reply (or the part of one) that waits to be sent: head, then payload (in the request's buffer).
    uint8_t head[head_bytes_max];
    uint32_t head_bytes = 0;
    uint32_t payload_bytes = 0;
    bool is_last = false;
};

class Connection final : public NegotiationHost, public ListNode<Connection> {
  public:
    static constexpr size_t calls_max = 128;
    // Of buffers held by calls in flight or not yet sent; a single call may always go on.
    static constexpr uint32_t held_bytes_max = 16u << 20;
    // A longer write ends the connection, a longer read is refused. The protocol lets clients that never
    // asked for the block size send this much.
    static constexpr uint32_t call_bytes_max = 32u << 20;
    static constexpr uint64_t handshake_limit_ms = 10'000;
    static constexpr unsigned complaints_max = 5;  // log lines about bad requests, per connection

    Connection(Server& server, runtime::Loop& loop, engine::Volume& volume, runtime::Fd fd);
    ~Connection();

    void start();
    // No more requests are read; what was taken is finished and answered, then the connection ends.
    void finish();

    void completed(Call& call);
    void room();

    // NegotiationHost
    bool has_name(std::string_view name) const override;
    std::string_view canonical_name() const override;
    std::string_view description() const override;
    Result<ExportFacts> look_at_export() override;
    Result<ExportFacts> open_export() override;
    void log_client(std::string_view what) override;

  private:
    enum class Phase : uint8_t {
        handshake,
        transmission,
        finishing,  // reads nothing more, answers what it has
        ending,     // sends nothing more either
    };

    // ---- receiving
    void receive();
    void received(int result);
    void take_handshake();
    void take_requests();
    bool take_header();
    bool take_write_data();
    bool drain_write_data();
    size_t buffered_bytes() const { return end_ - begin_; }

    // ---- calls
    int check(const RequestHeader& header) const;
    void begin(const RequestHeader& header);
    void go_on();
    bool start_piece(Call& call);
    void submit(Call& call);
    void piece_done(Call& call);
    void refuse(Call& call, int error);
    void release_request(Call& call);
    void drop(Call& call);
    void complain(const RequestHeader& header, int error);

    // ---- sending
    void queue_reply(Call& call);
    void queue_error(Call& call, int error);
    void send();
    void sent(int result);
    void account_sent(size_t bytes);
    void reply_left(Call& call);
    void gather();
    void handshake_sent(size_t bytes);

    // ---- ending
    void hang_up(std::string_view why);
    void end();
    void handshake_too_slow();
    void settle();

    Server& server_;
    runtime::Loop& loop_;
    engine::Volume& volume_;
    runtime::Fd fd_;
    std::string client_;  // "fio[1234] via NBD"
    Phase phase_ = Phase::handshake;
    Negotiation negotiation_{*this};
    bool opened_ = false;
    bool read_only_ = false;
    bool structured_ = false;
    unsigned complaints_ = 0;

    static constexpr size_t in_bytes_max = 32u << 10;
    static constexpr uint32_t large_write_bytes = 16u << 10;
    std::unique_ptr<uint8_t[]> in_ = std::make_unique<uint8_t[]>(in_bytes_max);
    size_t begin_ = 0;
    size_t end_ = 0;
    bool large_writes_ = false;  // the last request was one: receive no more than a header ahead
    bool scattered_ = false;     // the receive in flight goes to in_iovecs_
    msghdr in_message_{};
    std::array<iovec, 2> in_iovecs_{};

    Call* writing_ = nullptr;     // its data is next on the socket
    uint32_t written_bytes_ = 0;  // of its current piece's data, received
    uint32_t drain_bytes_ = 0;    // of its data, if it has failed, still to come

    Pool<Call> calls_{calls_max};
    List<Call, Call> waiting_;  // for room in the engine, in order of arrival
    List<Call, Call> sending_;
    size_t in_engine_ = 0;
    uint32_t held_bytes_ = 0;
    size_t front_sent_bytes_ = 0;  // of the first call in sending_

    std::vector<uint8_t> handshake_out_;
    size_t handshake_sent_bytes_ = 0;

    static constexpr size_t iovecs_max = 64;
    msghdr out_message_{};
    std::array<iovec, iovecs_max> out_iovecs_{};

    runtime::On<&Connection::received> receive_{loop_, *this};
    runtime::On<&Connection::sent> send_{loop_, *this};
    runtime::CallLater<&Connection::send> send_soon_{*this};
    runtime::CallLater<&Connection::go_on> go_on_soon_{*this};
    runtime::CallLater<&Connection::settle> settle_soon_{*this};
    runtime::CallAfter<&Connection::handshake_too_slow> handshake_timer_{*this};
};

}  // namespace duplex::exports::nbd
