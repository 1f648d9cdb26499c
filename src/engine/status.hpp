// What the tools may know of a running resource: a plain copy, made on demand.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/options.hpp"
#include "engine/ports.hpp"
#include "wire/state.hpp"

namespace duplex::engine {

enum class WriteOrdering : uint8_t { none, drain, flush };  // 'n', 'd', 'f' of /proc/drbd

// Counters of /proc/drbd (cli 26): KiB where the kernel prints KiB.
struct VolumeCounters {
    uint64_t sent_kib = 0;       // ns
    uint64_t received_kib = 0;   // nr
    uint64_t written_kib = 0;    // dw
    uint64_t read_kib = 0;       // dr
    uint64_t al_writes = 0;      // al
    uint64_t bitmap_writes = 0;  // bm
    uint32_t local_pending = 0;  // lo
    uint32_t peer_pending = 0;   // pe: requests sent to the peer, not answered
    uint32_t unacked = 0;        // ua: the peer's requests, not answered
    uint32_t app_pending = 0;    // ap
    // The application's requests that were carried out, and the time they took altogether.
    uint64_t app_reads = 0;
    uint64_t app_writes = 0;  // discards and the like, too
    uint64_t app_ms = 0;
};

// A resync or verify that runs or is paused (cli 26.4).
struct SyncProgress {
    bool verify = false;
    uint64_t total_bits = 0;  // at its start
    uint64_t left_bits = 0;
    uint64_t failed_bits = 0;
    uint64_t started_ms = 0;  // of the port's clock
    uint64_t paused_ms = 0;
    uint64_t now_ms = 0;
    // About 18 s ago, or at the start: what has been done since then is the present speed.
    uint64_t mark_ms = 0;
    uint64_t mark_left_bits = 0;
    uint64_t wanted_kib = 0;  // per second: what the controller asks for (target, verify source); 0 elsewhere
    uint64_t position_bit = 0;
};

struct DiskStatus {
    std::string data_path;
    std::string meta_path;
    int meta_index = -1;  // -1 internal, -2 flexible external, >= 0 indexed (as drbdsetup's meta_index)
    config::DiskOptions options;
    uint64_t current_uuid = 0, bitmap_uuid = 0, history_uuids[2] = {};
    uint32_t flags = 0;  // of the superblock
};

struct VolumeStatus {
    unsigned volume = 0;
    unsigned minor = 0;
    wire::State state;
    bool al_suspended = false;
    // Attached as a Primary that had lost its peer left it, and not connected since (states 19.3).
    bool degraded = false;
    uint64_t size_sectors = 0;
    uint64_t out_of_sync_bits = 0;
    uint32_t epochs = 0;  // ep: of the connection
    WriteOrdering write_ordering = WriteOrdering::flush;
    VolumeCounters counters;
    uint32_t openers = 0;
    std::optional<SyncProgress> sync;
    std::optional<DiskStatus> disk;
};

struct ConnectionStatus {
    wire::ConnState state = wire::ConnState::stand_alone;
    Endpoint local, peer;
    config::NetOptions options;
    bool configured = false;       // local, peer and options are valid
    std::string peer_node;         // from drbd.conf, may be empty
    uint32_t agreed_protocol = 0;  // 100, 101; 0 while not connected
    uint32_t features = 0;
};

struct ResourceStatus {
    std::string name;
    config::ResourceOptions options;
    ConnectionStatus connection;
    std::vector<VolumeStatus> volumes;  // by volume number
};

}  // namespace duplex::engine
