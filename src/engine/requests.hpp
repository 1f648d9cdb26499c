// The engine's own view of requests: what the application asked for, and what the peer asked for. Both come
// from fixed pools and carry everything they need on their way: their place in the lists, the disk operation,
// the packet.
#pragma once

#include <cstdint>

#include "base/digest.hpp"
#include "base/list.hpp"
#include "engine/activation.hpp"
#include "engine/interval_set.hpp"
#include "engine/ports.hpp"
#include "engine/request.hpp"
#include "wire/packet.hpp"

namespace duplex::engine {

class Device;

struct InTransferLog;
struct InQueue;

// An application's request (states 9.6). Its life: admitted, active in the log, started (local disk and peer
// at the same time), completed to the application, done (barrier ack), destroyed.
struct AppRequest final : Request, ListNode<InTransferLog>, ListNode<InQueue>, AlUser {
    struct LocalIo final : DiskIo {
        AppRequest* request = nullptr;
        void completed(int error) override;
    };
    struct Packet final : OutPacket {
        AppRequest* request = nullptr;
        void done(bool sent) override;
    };
    struct Range final : Interval {
        AppRequest* request = nullptr;
    };
    void extents_active() override;
    // As if it had never been started.
    void reset_progress() {
        local_pending = local_ok = net_queued = net_pending = net_ok = net_done = net_part = false;
        sis = postponed = superseded = retry_wanted = destroyed = frozen = false;
        local_error = 0;
    }

    bool is_write() const { return op == Op::write || op == Op::discard || op == Op::write_zeroes; }
    Sector end_sector() const { return sector + size_bytes / sector_bytes; }
    // A write: acknowledged, or so long complete that its data are gone.
    bool peer_had_it() const { return net_ok || completed; }

    Device* device = nullptr;
    uint32_t serial = 0;  // changes with every use of the object, so that a stale block id finds nothing
    LocalIo local_io;
    Packet packet;
    Range interval;
    uint32_t epoch = 0;
    uint64_t submitted_ms = 0;
    uint64_t sent_ms = 0;
    uint32_t dp_flags = 0;  // as sent

    bool taken = false;      // out of the pool
    bool submitted = false;  // the export has let go of it until completed()
    bool in_flight = false;  // counted by the volume
    bool started = false;    // got past all waits
    bool local_pending = false;
    bool local_ok = false;
    bool net_queued = false;   // the packet is in the link's hands
    bool net_pending = false;  // the peer has to answer
    bool net_ok = false;
    bool net_done = false;    // nothing more comes from the peer
    bool net_part = false;    // was to be sent at all
    bool sis = false;         // the peer has marked it in sync
    bool postponed = false;   // the resolver wants it again, later (states 10.3)
    bool superseded = false;  // the resolver's write took its place
    bool completed = false;
    bool released = false;   // by the export
    bool destroyed = false;  // nothing of it is left but the object, which the export may still hold
    bool buffer_held = false;
    bool retry_wanted = false;  // a read that has to find another way
    bool frozen = false;        // kept over the loss of the connection, to be sent again (states 9.8)
    // The disk is given up, but still has the operation: object and buffer stay until it lets go of them.
    bool abandoned = false;
    uint8_t* abandoned_data = nullptr;  // of a read that goes on with another buffer
    uint64_t local_since_ms = 0;        // while local_pending
    uint32_t retries = 0;
    int local_error = 0;
};

struct InService;

enum class PeerKind : uint8_t {
    write,         // P_DATA, P_TRIM, P_ZEROES
    read,          // P_DATA_REQUEST
    resync_read,   // P_RS_DATA_REQUEST, P_RS_THIN_REQ, P_CSUM_RS_REQUEST: we are the source
    resync_write,  // our own request as target, and the block that answers it
    verify_read,   // P_OV_REQUEST: we are the verify target
    verify_block,  // our own request as verify source, and our block that it is compared with
};

// A request of the peer's, or of our resync, that touches the local disk on the peer's behalf.
struct PeerRequest final : ListNode<InService>, ListNode<InQueue>, AlUser {
    struct LocalIo final : DiskIo {
        PeerRequest* request = nullptr;
        void completed(int error) override;
    };
    struct Packet final : OutPacket {
        PeerRequest* request = nullptr;
        void done(bool sent) override;
    };
    void extents_active() override;

    Sector end_sector() const { return sector + size_bytes / sector_bytes; }

    Device* device = nullptr;
    PeerKind kind = PeerKind::write;
    LocalIo local_io;
    Packet packet;
    Interval interval;
    Sector sector;
    uint32_t size_bytes = 0;
    uint8_t* buffer = nullptr;  // of the BufferPool, for size_bytes
    wire::BlockId block_id;
    uint32_t dp_flags = 0;
    uint32_t seq_num = 0;
    wire::Command command = wire::Command::data;
    bool extent_locked = false;  // holds a reference on its resync extent
    bool submitted = false;      // at the disk
    bool packet_queued = false;  // in the link's hands
    bool compares = false;       // resync_write: our own block is read for its checksum
    bool answered = false;       // resync_read: the block is on its way, or with the peer
    bool orphan = false;         // the connection it belongs to is gone
    bool receive_acked = false;  // protocol B
    bool sequence_passed = false;
    bool extents_asked = false;
    bool abandoned = false;      // by us; the disk, given up, still has the operation
    bool given_back = false;     // while abandoned
    uint64_t not_before_ms = 0;  // resync_read, verify_read: put off for the applications
    DigestValue digest;          // P_CSUM_RS_REQUEST: the target's

    void reset() {
        extent_locked = submitted = packet_queued = compares = answered = orphan = receive_acked = false;
        sequence_passed = extents_asked = abandoned = given_back = false;
        dp_flags = seq_num = 0;
        not_before_ms = 0;
        block_id = wire::block_id_resync;
        digest.size = 0;
    }
};

}  // namespace duplex::engine
