// engine::Disk on a block device or a regular file, through io_uring with direct I/O.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/list.hpp"
#include "base/pool.hpp"
#include "engine/ports.hpp"
#include "runtime/fd.hpp"
#include "runtime/loop.hpp"

namespace duplex::runtime {

// What opening a device found out.
struct OpenedDevice {
    Fd fd;
    engine::DiskLimits limits;
    bool block_device = false;
    bool direct = true;               // false: the file system refuses O_DIRECT
    uint32_t buffer_alignment = 512;  // of memory, for direct I/O
    bool discard_command = false;     // block device: the kernel has discard as an io_uring command
};

// Opens for reading and writing, exclusively: O_EXCL for a block device (refused while it is mounted, a swap,
// a volume-group member or another process's), an exclusive lock for a regular file. The error names the path
// and, where the kernel knows, the reason.
Result<OpenedDevice> open_device(const std::string& path);

class Disk final : public engine::Disk {
  public:
    static Result<Disk*> open(Loop& loop, const std::string& path);

    void submit(engine::DiskIo& io) override;
    const engine::DiskLimits& limits() const override { return device_.limits; }

    // Reads the size again (an enlarged logical volume); limits() follows.
    Status refresh_size();

    // No submit() any more; what is in flight still completes. Then closes the device and destroys itself.
    void close();

    const std::string& path() const { return path_; }
    size_t in_flight() const { return slots_.used(); }
    size_t waiting() const { return waiting_.size(); }

  private:
    // One operation in the kernel. An engine operation may take several in turn: the rest of a short
    // transfer, or another way when the first is not supported.
    struct Slot final : Completion {
        void complete(int result, uint32_t flags) override { disk->finished(*this, result); }
        Disk* disk = nullptr;
        engine::DiskIo* io = nullptr;
        uint32_t done_bytes = 0;
        uint8_t way = 0;  // discard, write_zeroes: which of the ways is being tried
    };

    Disk(Loop& loop, std::string path, OpenedDevice device);
    ~Disk() = default;

    void start(Slot& slot);
    void start_transfer(Slot& slot);
    void start_discard(Slot& slot);
    void start_write_zeroes(Slot& slot);
    void start_fallocate(Slot& slot, int mode);
    void finished(Slot& slot, int result);
    bool next_way(Slot& slot, int error);
    void give_back(Slot& slot, int error);

    Loop* loop_;
    std::string path_;
    OpenedDevice device_;
    uint64_t size_bytes_;
    bool closing_ = false;
    Pool<Slot> slots_;
    List<engine::DiskIo, engine::DiskIo> waiting_;  // for a slot, in the order of submit()
};

}  // namespace duplex::runtime
