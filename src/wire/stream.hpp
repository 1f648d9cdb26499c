// Splits the byte stream of one socket into packets. The reader says where it wants the next bytes; the
// caller puts them there (by a read straight into that place, or by feed() from a receive buffer) and hears
// what became complete.
//
//   header ── checked ──> body: fixed part, digest and every short variable part, in the reader's own buffer
//                             └─ Event::head ── only for data blocks: the caller names a buffer for the block
//                                                    └─ Event::packet
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.hpp"
#include "wire/bitmap_codec.hpp"
#include "wire/rules.hpp"

namespace duplex::wire {

class PacketReader {
  public:
    enum class Event : uint8_t {
        none,    // more bytes are wanted
        head,    // a data block comes next: call set_data_buffer() before anything else
        packet,  // a whole packet is there; info(), fixed(), digest(), variable() hold until the next byte
    };
    struct Fed {
        size_t consumed_bytes = 0;
        Event event = Event::none;
    };

    explicit PacketReader(Socket socket) : socket_(socket) {}

    // Decides header format and legal packets from the next packet on; to be changed between packets only.
    const Agreement& agreement() const { return agreement_; }
    void set_agreement(const Agreement& agreement);

    // Where the next bytes belong and how many are wanted; never empty, except when Event::head waits for its
    // buffer.
    std::span<uint8_t> wanted();
    // That `count_bytes` <= wanted().size() bytes have been put there. An error is final: drop the
    // connection.
    Result<Event> arrived(size_t count_bytes);

    // Takes bytes from `bytes` up to the next event. The rest is the caller's, to be fed after handling the
    // event.
    Result<Fed> feed(std::span<const uint8_t> bytes);

    // After Event::head: a buffer of info().variable_bytes bytes that stays valid until Event::packet.
    void set_data_buffer(std::span<uint8_t> buffer);

    const PacketInfo& info() const { return info_; }
    std::span<const uint8_t> fixed() const { return {body_.data(), info_.fixed_bytes}; }
    std::span<const uint8_t> digest() const { return {body_.data() + info_.fixed_bytes, info_.digest_bytes}; }
    // Text, challenge or bitmap; for a data block the buffer that was set.
    std::span<const uint8_t> variable() const;
    // What decode_...() takes: the fixed part, with the text behind it if there is one.
    std::span<const uint8_t> body() const;

    // The error was a header that is none: wrong magic, pad not 0. What came may be no packet at all.
    bool header_unreadable() const { return header_unreadable_; }

    // True between two packets: the peer may close the connection here without cutting a packet.
    bool at_packet_start() const { return stage_ == Stage::header && filled_bytes_ == 0; }

  private:
    enum class Stage : uint8_t { header, body, data_buffer, data };

    size_t body_bytes() const;
    Event packet_complete();
    Result<Event> header_complete();

    Socket socket_;
    Stage stage_ = Stage::header;
    Agreement agreement_;
    PacketInfo info_;
    bool header_unreadable_ = false;
    size_t filled_bytes_ = 0;  // of the current stage
    std::span<uint8_t> data_;
    std::array<uint8_t, header_bytes_max> header_{};
    std::array<uint8_t, bitmap_payload_bytes_max> body_{};
};

}  // namespace duplex::wire
