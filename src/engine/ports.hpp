// Where the engine meets the world. The process binds these to io_uring (runtime/), the simulator to seeded
// disks, networks and clocks (sim/). The engine makes no system call, reads no clock and draws no random
// number except through them.
//
// The rule for every port: a call only submits. Its completion comes later, from the loop, never from inside
// the call; after each batch of completions the loop calls Resource::run(). One thread makes all calls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/list.hpp"
#include "base/result.hpp"
#include "base/units.hpp"

namespace duplex::engine {

// ---- disks
// ---------------------------------------------------------------------------------------------------

enum class IoKind : uint8_t { read, write, flush, discard, write_zeroes };

// One operation on a backing device. Owned by the engine, which keeps it and its buffer alive until
// completed(). The list node is the port's while the operation is in flight.
class DiskIo : public ListNode<DiskIo> {
  public:
    IoKind kind = IoKind::read;
    bool fua = false;        // write: on stable storage when it completes
    bool may_unmap = false;  // write_zeroes: the range may be deallocated
    Sector sector;           // on the backing device
    uint32_t size_bytes = 0;
    uint8_t* data = nullptr;  // read, write: size_bytes, aligned for direct I/O

    // error is 0 or an errno value. A flush that completes with 0 made every operation stable that had
    // completed before the flush was submitted.
    virtual void completed(int error) = 0;

  protected:
    ~DiskIo() = default;
};

struct DiskLimits {
    uint64_t size_sectors = 0;
    uint32_t logical_block_bytes = 512;
    uint32_t physical_block_bytes = 512;
    uint32_t io_bytes_max = 1u << 20;
    bool can_discard = false;
    uint32_t discard_granularity_bytes = 0;
};

class Disk {
  public:
    virtual void submit(DiskIo& io) = 0;
    virtual const DiskLimits& limits() const = 0;
    // Looks at the size again, at once: the device may have been enlarged. limits() follows.
    virtual Status refresh_size() = 0;

  protected:
    ~Disk() = default;
};

// ---- the link to the peer
// --------------------------------------------------------------------------------------

// One packet on its way out: the bytes of head, then those of payload. Owned by the engine until done().
class OutPacket : public ListNode<OutPacket> {
  public:
    static constexpr size_t head_bytes_max =
        168;  // header100 and the largest fixed part (P_SYNC_PARAM89), rounded up

    uint8_t head[head_bytes_max];
    uint32_t head_bytes = 0;
    const uint8_t* payload = nullptr;
    uint32_t payload_bytes = 0;

    // sent: every byte was handed to the local TCP stack. Not sent: the socket was closed before.
    virtual void done(bool sent) = 0;

  protected:
    ~OutPacket() = default;
};

class Socket;

class SocketEvents {
  public:
    // Takes some or all of the bytes, in order; returns how many. Taking fewer means "wait": the port keeps
    // the rest, reads no more, and offers them again after Socket::resume().
    virtual size_t received(Socket& socket, std::span<const uint8_t> bytes) = 0;
    // The peer closed (error 0) or the socket failed (an errno value). Comes after all received bytes were
    // taken; nothing comes after it. The engine still has to close().
    virtual void closed(Socket& socket, int error) = 0;

  protected:
    ~SocketEvents() = default;
};

class Socket {
  public:
    // Who gets the events. None are lost before it is set: the port reads nothing until then.
    virtual void set_events(SocketEvents& events) = 0;
    // Sends in the order of the calls; what is queued in one batch leaves in as few system calls as possible.
    virtual void send(OutPacket& packet) = 0;
    virtual void resume() = 0;
    // Gives the socket up: no event comes any more, queued packets get done(false) from the loop, and the
    // object must not be used again by the engine. orderly: what is queued is still sent before the FIN, for
    // one second.
    virtual void close(bool orderly) = 0;
    // Bytes handed to TCP since the socket was made: to see whether a send makes progress (wire
    // protocol 14.3).
    virtual uint64_t sent_bytes() const = 0;

  protected:
    ~Socket() = default;
};

class NetworkEvents {
  public:
    // The new socket belongs to the engine, which sets its events or closes it.
    virtual void connected(Socket& socket) = 0;
    virtual void connect_failed(std::string_view why) = 0;
    virtual void accepted(Socket& socket) = 0;

  protected:
    ~NetworkEvents() = default;
};

struct Endpoint {
    std::string family;   // "ipv4", "ipv6", "ssocks", "sdp" as in drbd.conf; only the first two can be used
    std::string address;  // textual
    uint16_t port = 0;
    bool operator==(const Endpoint&) const = default;
};

struct SocketLimits {
    uint32_t sndbuf_bytes = 0;  // 0: leave it to the kernel
    uint32_t rcvbuf_bytes = 0;
    bool cork = true;
};

class Network {
  public:
    virtual void configure(const Endpoint& local, const Endpoint& peer, const SocketLimits& limits,
                           NetworkEvents& events) = 0;
    // Listens on the local address. Connections from any address but the peer's are closed and logged by the
    // port.
    virtual Status listen() = 0;
    virtual void stop_listening() = 0;
    // One attempt from the local address (any port) to the peer; ends in connected() or connect_failed(). An
    // error here is a local one (cannot create or bind the socket).
    virtual Status connect() = 0;
    virtual void cancel_connect() = 0;

  protected:
    ~Network() = default;
};

// ---- time
// ------------------------------------------------------------------------------------------------------

class Timer : public ListNode<Timer> {
  public:
    virtual void fired() = 0;
    bool armed() const { return linked(); }
    uint64_t deadline_ms = 0;  // the clock's, while armed

  protected:
    ~Timer() = default;
};

class Clock {
  public:
    virtual uint64_t now_ms() const = 0;  // monotonic
    // Fires once, delay_ms from now; an armed timer is moved.
    virtual void arm(Timer& timer, uint64_t delay_ms) = 0;
    virtual void cancel(Timer& timer) = 0;  // harmless when not armed

  protected:
    ~Clock() = default;
};

// ---- the node
// --------------------------------------------------------------------------------------------------

enum class LogLevel : uint8_t { debug, info, warning, error, alert };

class Host {
  public:
    // One line, without its end, in the kernel's words ("block drbd0: ..." or "drbd r0: ...").
    virtual void log(LogLevel level, std::string_view line) = 0;
    virtual uint64_t random64() = 0;
    virtual void random_bytes(std::span<uint8_t> bytes) = 0;

    // Opens a backing device for this volume alone; with a slot, as a meta disk whose other slots others may
    // have open (meta data 3.1). The Disk is the engine's until close_disk().
    virtual Result<Disk*> open_disk(const std::string& path, std::optional<uint32_t> slot) = 0;
    virtual void close_disk(Disk& disk) = 0;

    // Runs a helper program ("before-resync-target", ...); done gets its exit code, from the loop. minor -1:
    // for the whole resource.
    virtual void run_handler(std::string_view name, int minor, std::function<void(int exit_code)> done) = 0;

    // Something a status listener would show has changed; volume -1: in the resource or connection.
    virtual void changed(int volume) = 0;

  protected:
    ~Host() = default;
};

struct Ports {
    Clock& clock;
    Network& network;
    Host& host;
};

}  // namespace duplex::engine
