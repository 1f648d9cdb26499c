// The NBD handshake as data in, data out: fixed newstyle, as its protocol document describes. It knows no
// socket, so it can be fed byte by byte in tests and by a fuzzer. Whatever a client sends, the work and
// memory it can cause here are bounded: so many options, of such a length, then the connection ends.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "exports/nbd/protocol.hpp"

namespace duplex::exports::nbd {

// What a client is told about the export it chose.
struct ExportFacts {
    uint64_t size_bytes = 0;
    bool read_only = false;
    bool can_trim = false;
};

// The export behind one connection.
class NegotiationHost {
  public:
    virtual bool has_name(std::string_view name) const = 0;
    virtual std::string_view canonical_name() const = 0;
    virtual std::string_view description() const = 0;
    // May a client use it now? The error's text is sent to the client. open_export() makes this connection an
    // opener of the volume.
    virtual Result<ExportFacts> look_at_export() = 0;
    virtual Result<ExportFacts> open_export() = 0;
    virtual void log_client(std::string_view what) = 0;

  protected:
    ~NegotiationHost() = default;
};

class Negotiation {
  public:
    static constexpr unsigned options_max = 32;
    static constexpr uint32_t option_bytes_max = 8192;      // of data; longer ones are skipped and refused
    static constexpr uint32_t skipped_bytes_max = 1 << 20;  // beyond that the connection ends
    static constexpr uint32_t block_bytes_min = 512;
    static constexpr uint32_t block_bytes_preferred = 4096;
    static constexpr uint32_t block_bytes_max = 1 << 20;
    // The most that received() needs to see at once to make progress.
    static constexpr size_t window_bytes = 16 + option_bytes_max;

    explicit Negotiation(NegotiationHost& host) : host_(host) {}

    enum class Outcome : uint8_t { going_on, transmission, close };

    // The server's greeting, to be sent before anything is received.
    void greet(std::vector<uint8_t>& out);
    // Takes bytes from the front of `in` as far as it can, appends what is to be sent to `out`, and returns
    // how many it took. After each answered option it returns, so that the answer can be sent first. Once
    // outcome() is not going_on it takes nothing more.
    size_t received(std::span<const uint8_t> in, std::vector<uint8_t>& out);

    Outcome outcome() const { return outcome_; }
    bool structured_replies() const { return structured_replies_; }

  private:
    enum class Expect : uint8_t { client_flags, option, skipped };

    size_t take_client_flags(std::span<const uint8_t> in);
    size_t take_option(std::span<const uint8_t> in, std::vector<uint8_t>& out);
    size_t take_skipped(std::span<const uint8_t> in, std::vector<uint8_t>& out);
    void answer(std::span<const uint8_t> data, std::vector<uint8_t>& out);
    void export_name(std::span<const uint8_t> data, std::vector<uint8_t>& out);
    void info_or_go(std::span<const uint8_t> data, std::vector<uint8_t>& out);
    void list(std::vector<uint8_t>& out);
    void send_infos(const ExportFacts& facts, std::span<const uint8_t> wanted, std::vector<uint8_t>& out);
    void reply(std::vector<uint8_t>& out, OptionReply type, std::span<const uint8_t> data = {});
    void refuse(std::vector<uint8_t>& out, OptionReply type, std::string_view why);
    void hang_up(std::string_view why);

    NegotiationHost& host_;
    Expect expect_ = Expect::client_flags;
    Outcome outcome_ = Outcome::going_on;
    Option option_ = Option::abort;
    uint32_t skip_bytes_ = 0;
    unsigned options_ = 0;
    bool fixed_newstyle_ = false;
    bool no_zeroes_ = false;
    bool structured_replies_ = false;
};

uint16_t transmission_flags(const ExportFacts& facts);

}  // namespace duplex::exports::nbd
