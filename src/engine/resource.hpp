// A replicated resource: its connection, its volumes, and what an administrator can ask of them. This header
// and volume.hpp are all that the process and the simulator need to drive the engine.
//
// Commands are asynchronous: the answer comes through the callback, from a later Resource::run(), exactly
// once. Commands on one resource are processed one after the other in the order of the calls where DRBD
// serialises them.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/buffer_pool.hpp"
#include "config/options.hpp"
#include "engine/ports.hpp"
#include "engine/request.hpp"
#include "engine/status.hpp"

namespace duplex::engine {

class Volume;
class Core;

// The answer to a command, in DRBD's numbers (states 2.9): >= 1 success, <= 0 a refused state change,
// >= 100 a configuration error. info is what the kernel would add in words; may be empty.
struct Reply {
    int code = 1;
    std::string info;
    bool ok() const { return code >= 1 && code < 100; }
};
using Done = std::function<void(const Reply&)>;

namespace error_code {
inline constexpr int no_error = 101;
inline constexpr int local_address = 102;
inline constexpr int peer_address = 103;
inline constexpr int open_disk = 104;
inline constexpr int open_meta_disk = 105;
inline constexpr int disk_too_small = 111;
inline constexpr int meta_disk_too_small = 112;
inline constexpr int bad_meta_index = 116;
inline constexpr int meta_io = 118;
inline constexpr int meta_invalid = 119;
inline constexpr int auth_alg = 120;
inline constexpr int auth_alg_not_digest = 121;
inline constexpr int no_memory = 122;
inline constexpr int discard_impossible = 123;
inline constexpr int disk_configured = 124;
inline constexpr int net_configured = 125;
inline constexpr int mandatory_tag = 126;
inline constexpr int minor_invalid = 127;
inline constexpr int interrupted = 129;
inline constexpr int resize_during_resync = 130;
inline constexpr int need_one_primary = 131;
inline constexpr int resync_after = 132;
inline constexpr int resync_after_cycle = 133;
inline constexpr int pause_already_set = 134;
inline constexpr int pause_already_clear = 135;
inline constexpr int no_disk = 138;
inline constexpr int need_protocol_c = 139;
inline constexpr int no_memory_bitmap = 140;
inline constexpr int integrity_alg = 141;
inline constexpr int cpu_mask = 143;
inline constexpr int verify_alg = 146;
inline constexpr int csums_alg = 144;
inline constexpr int csums_during_resync = 148;
inline constexpr int verify_running = 149;
inline constexpr int data_not_current = 150;
inline constexpr int need_stand_alone = 151;
inline constexpr int stonith_and_protocol_a = 154;
inline constexpr int congestion_not_protocol_a = 155;
inline constexpr int paused_by_after = 156;
inline constexpr int paused_by_peer = 157;
inline constexpr int minor_configured = 160;
inline constexpr int need_protocol_100 = 163;
inline constexpr int need_allow_two_primaries = 164;
inline constexpr int meta_unclean = 165;
inline constexpr int al_needs_connection = 166;
inline constexpr int al_too_big = 167;
inline constexpr int al_too_small = 168;
inline constexpr int al_does_not_fit = 169;
inline constexpr int implicit_shrink = 170;
}  // namespace error_code

struct AttachCommand {
    std::string data_path;
    std::string meta_path;  // equal to data_path for internal meta data
    int meta_index = -1;    // -1 internal, -2 flexible external, >= 0 indexed
    config::DiskOptions options;
};

struct ConnectCommand {
    Endpoint local, peer;
    config::NetOptions options;
    bool discard_my_data = false;
    bool tentative = false;
};

struct PrimaryCommand {
    bool force = false;  // --force, --overwrite-data-of-peer
};

struct ResizeCommand {
    uint64_t size_sectors = 0;  // 0: all that both disks have
    bool assume_peer_has_space = false;
    bool assume_clean = false;
    std::optional<uint32_t> al_stripes;  // else as it is
    std::optional<uint32_t> al_stripe_size_kib;
};

struct VerifyCommand {
    std::optional<uint64_t> start_sector;  // else where the last run ended
    uint64_t stop_sector = UINT64_MAX;
};

// Sizes of everything that is allocated once.
struct Limits {
    size_t buffer_arena_bytes = size_t{48} << 20;  // the applications' data in flight
    size_t peer_arena_bytes = size_t{32} << 20;    // the peer's writes and reads, resync blocks
    uint32_t requests_max = 8192;                  // application requests until their barrier ack
    uint32_t peer_requests_max = 8192;             // the peer's writes, reads and resync requests in service
    uint32_t packets_max = 20480;  // small packets on their way out: an ack for each of the above, and some
};

class Resource {
  public:
    Resource(const Ports& ports, std::string name, const config::ResourceOptions& options,
             const Limits& limits);
    ~Resource();  // drops everything at once, as a power failure would: nothing more is written or sent

    const std::string& name() const;

    // Runs what became ready. The loop calls it after every batch of port completions and before it sleeps.
    void run();

    // ---- volumes: created before a disk is attached, and without a connection if need be
    // ------------------------ nullptr if the number is in use.
    Volume* add_volume(unsigned volume, unsigned minor);
    Volume* volume(unsigned number);
    void remove_volume(unsigned number, Done done);  // refused unless Secondary, Diskless

    // ---- commands
    // ------------------------------------------------------------------------------------------------
    void attach(unsigned volume, const AttachCommand& command, Done done);
    void detach(unsigned volume, bool force, Done done);
    void connect(const ConnectCommand& command, Done done);
    void disconnect(bool force, Done done);
    void primary(unsigned volume, const PrimaryCommand& command, Done done);
    void secondary(unsigned volume, Done done);
    void outdate(unsigned volume, Done done);
    void invalidate(unsigned volume, Done done);
    void invalidate_remote(unsigned volume, Done done);
    void resize(unsigned volume, const ResizeCommand& command, Done done);
    // Answered when it runs.
    void verify(unsigned volume, const VerifyCommand& command, Done done);
    void pause_sync(unsigned volume, Done done);
    // A volume that is to be resynced before this one (resync-after) is busy, or no longer (states 12.6). At
    // once.
    void pause_after_others(unsigned volume, bool pause);
    void resume_sync(unsigned volume, Done done);
    void suspend_io(unsigned volume, Done done);
    void resume_io(unsigned volume, Done done);
    void new_current_uuid(unsigned volume, bool clear_bitmap, Done done);
    void change_disk_options(unsigned volume, const config::DiskOptions& options, Done done);
    void change_net_options(const config::NetOptions& options, Done done);
    void change_resource_options(const config::ResourceOptions& options, Done done);

    ResourceStatus status() const;
    BufferPool& buffers();
    BufferPool& peer_buffers();

  private:
    std::unique_ptr<Core> core_;
};

}  // namespace duplex::engine
