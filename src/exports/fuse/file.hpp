// The FUSE file system behind the loop device: one file, which is its own mount point. Served from the loop
// through libfuse's low-level interface: requests are answered when the engine has completed them.
//
// Written for its one intended user, the loop driver (direct I/O in whole sectors, up to 128 requests at a
// time), but correct for any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#define FUSE_USE_VERSION 312
#include <fuse3/fuse_lowlevel.h>

#include "base/list.hpp"
#include "base/pool.hpp"
#include "base/result.hpp"
#include "engine/volume.hpp"
#include "exports/log.hpp"
#include "runtime/loop.hpp"
#include "runtime/operation.hpp"

namespace duplex::exports::fuse {

class File final : public engine::User {
  public:
    File(runtime::Loop& loop, engine::Volume& volume, Log log);
    ~File();  // not mounted, or unmounted
    File(const File&) = delete;
    File& operator=(const File&) = delete;

    // Mounts over the file at path, which is made if need be; a mount that an earlier process left there is
    // undone first.
    Status mount(const std::string& path);
    // Takes the mount away, finishes the requests already taken, and ends the connection: later ones fail
    // with EIO in the kernel. `done` comes from the loop.
    void unmount(std::function<void()> done);

    // engine::User
    void completed(engine::Request& request) override;
    void room() override;

  private:
    // One FUSE request. It holds at most one engine request at a time; large discards are done piece by
    // piece.
    struct Call : ListNode<Call> {
        fuse_req_t fuse = nullptr;
        engine::Op op = engine::Op::read;
        bool may_unmap = false;
        uint64_t position_bytes = 0;
        uint64_t left_bytes = 0;
        const char* data = nullptr;  // write: in the receive buffer, as long as the call waits
        engine::Request* request = nullptr;
    };

    static constexpr size_t calls_max = 512;
    static constexpr unsigned background_max = 256;  // the loop driver's requests, in the kernel's count
    static constexpr unsigned batch_max = 64;  // requests taken before others in the process get their turn

    static const fuse_lowlevel_ops& operations();
    static File& of(fuse_req_t request);
    void initialized(fuse_conn_info& connection);
    void get_attributes(fuse_req_t request);
    void get_statistics(fuse_req_t request);
    void begin_io(fuse_req_t request, engine::Op op, uint64_t size_bytes, int64_t position_bytes,
                  const char* data);
    void begin_allocate(fuse_req_t request, int mode, int64_t position_bytes, int64_t size_bytes);
    void begin(fuse_req_t request, engine::Op op, uint64_t position_bytes, uint64_t size_bytes,
               const char* data, bool may_unmap);

    fuse_session* new_session();
    Status mount_at(const std::string& path, int fd);
    void wait_for_requests();
    void readable(int result);
    void take_requests();
    void go_on();
    bool start_piece(Call& call);
    void answer(Call& call, int error);
    void settle();

    runtime::Loop& loop_;
    engine::Volume& volume_;
    Log log_;
    std::string path_;
    fuse_session* session_ = nullptr;
    bool room_awaited_ = false;
    bool unmounting_ = false;
    bool connection_over_ = false;
    std::function<void()> unmounted_;

    std::unique_ptr<char, void (*)(char*)> buffer_;
    Pool<Call> calls_{calls_max};
    List<Call, Call> waiting_;  // for room in the engine; nothing is received meanwhile

    runtime::On<&File::readable> poll_{loop_, *this};
    runtime::CallLater<&File::take_requests> take_soon_{*this};
    runtime::CallLater<&File::go_on> go_on_soon_{*this};
    runtime::CallLater<&File::settle> settle_soon_{*this};
};

}  // namespace duplex::exports::fuse
