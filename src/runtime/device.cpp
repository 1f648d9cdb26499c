#include "runtime/device.hpp"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <limits>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <memory>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <liburing.h>

#include "base/units.hpp"
#include "meta/layout.hpp"
#include "runtime/log.hpp"

namespace duplex::runtime {

namespace {

// Locks of the open file, not of the process: two volumes of one process keep each other out as well.
bool lock_range(int fd, int command, uint64_t first_byte, uint64_t length_bytes) {
    struct flock range {};
    range.l_type = F_WRLCK;
    range.l_whence = SEEK_SET;
    range.l_start = static_cast<off_t>(first_byte);
    range.l_len = static_cast<off_t>(length_bytes);  // 0: to the end of everything
    return fcntl(fd, command, &range) == 0;
}

Status lock_device(int fd, const std::string& path, std::optional<uint32_t> slot) {
    constexpr uint64_t slot_bytes = meta::slot_sectors * sector_bytes;
    if (slot ? lock_range(fd, F_OFD_SETLK, *slot * slot_bytes, slot_bytes)
             : lock_range(fd, F_OFD_SETLK, 0, 0))
        return Ok{};
    const std::string what = slot ? fmt::format("slot {} of {}", *slot, path) : path;
    return error("cannot lock {}: {}", what,
                 errno == EAGAIN || errno == EACCES ? "in use by another process" : strerror(errno));
}

Error cannot_open(const std::string& path) {
    return error("cannot open {}: {}", path,
                 errno == EBUSY
                     ? "in use (mounted, swap, part of a volume group or RAID, or another process's)"
                     : strerror(errno));
}

// Who has a slot only cannot hold the O_EXCL claim, which is one opener's; it looks whether somebody else
// does. One looks at a time, or two would take each other for an owner: the last byte is the turn to look.
Status check_unclaimed(const std::string& path) {
    constexpr uint64_t turn_byte = std::numeric_limits<off_t>::max() - 1;
    const Fd turn(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!turn || !lock_range(turn.get(), F_OFD_SETLKW, turn_byte, 1))
        return error("cannot lock {}: {}", path, strerror(errno));
    const Fd probe(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_EXCL));
    return probe ? Status(Ok{}) : cannot_open(path);
}

Result<Fd> open_and_claim(const std::string& path, bool block_device, std::optional<uint32_t> slot,
                          bool& direct) {
    const int flags = O_RDWR | O_CLOEXEC | O_LARGEFILE | (block_device && !slot ? O_EXCL : 0);
    Fd fd(::open(path.c_str(), flags | O_DIRECT));
    if (!fd && errno == EINVAL) {
        fd = Fd(::open(path.c_str(), flags));
        direct = false;
    }
    if (!fd) return cannot_open(path);
    if (Status locked = lock_device(fd.get(), path, slot); !locked) return locked.error();
    if (block_device && slot)
        if (Status unclaimed = check_unclaimed(path); !unclaimed) return unclaimed.error();
    return fd;
}

// A number from the device's folder in sysfs; a partition's queue is its disk's. 0 if there is none.
uint64_t queue_number(dev_t device, const char* name) {
    for (const char* where : {"queue", "../queue"}) {
        const std::string path =
            fmt::format("/sys/dev/block/{}:{}/{}/{}", major(device), minor(device), where, name);
        std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "re"), std::fclose);
        unsigned long long value = 0;
        if (file && std::fscanf(file.get(), "%llu", &value) == 1) return value;
    }
    return 0;
}

// Whether the kernel knows the discard command. It is asked with an empty range, which it refuses with EINVAL
// when it does, on a ring of its own: this happens once per opened device, where nothing else may be
// disturbed.
bool knows_discard_command(int fd) {
    io_uring ring{};
    if (io_uring_queue_init(2, &ring, 0) != 0) return false;
    io_uring_sqe* entry = io_uring_get_sqe(&ring);
    io_uring_prep_rw(IORING_OP_URING_CMD, entry, fd, nullptr, 0, 0);
    entry->cmd_op = discard_command_code;
    io_uring_cqe* done = nullptr;
    const bool known = io_uring_submit_and_wait(&ring, 1) == 1 && io_uring_peek_cqe(&ring, &done) == 0 &&
                       done->res == -EINVAL;
    io_uring_queue_exit(&ring);
    return known;
}

Status find_block_limits(OpenedDevice& device, dev_t number, const std::string& path) {
    int logical = 0;
    unsigned physical = 0;
    const int fd = device.fd.get();
    if (ioctl(fd, BLKSSZGET, &logical) != 0 || ioctl(fd, BLKPBSZGET, &physical) != 0)
        return error("cannot read the block size of {}: {}", path, strerror(errno));
    engine::DiskLimits& limits = device.limits;
    limits.logical_block_bytes = static_cast<uint32_t>(logical);
    limits.physical_block_bytes = physical;
    if (queue_number(number, "discard_max_bytes") == 0) return Ok{};
    device.discard_command = knows_discard_command(fd);
    // Before Linux 6.12 the only asynchronous way is to punch a hole, which the kernel does by writing zeroes
    // with permission to unmap; without that in the device it refuses.
    limits.can_discard = device.discard_command || queue_number(number, "write_zeroes_max_bytes") > 0;
    if (limits.can_discard)
        limits.discard_granularity_bytes = static_cast<uint32_t>(queue_number(number, "discard_granularity"));
    return Ok{};
}

// The smallest transfer that direct I/O takes: the block size of the disk below the file system, which only a
// trial tells for certain.
Result<uint32_t> direct_block_bytes(int fd, const std::string& path) {
    constexpr size_t largest = 4096;
    const std::unique_ptr<void, void (*)(void*)> buffer(std::aligned_alloc(largest, largest), std::free);
    for (uint32_t bytes = sector_bytes; bytes <= largest; bytes *= 2) {
        if (::pread(fd, buffer.get(), bytes, 0) >= 0) return bytes;
        if (errno != EINVAL) return error("cannot read {}: {}", path, strerror(errno));
    }
    return error("cannot read {} with direct I/O in blocks of 4096 bytes or less", path);
}

Status find_file_limits(OpenedDevice& device, const struct stat& status, const std::string& path) {
    engine::DiskLimits& limits = device.limits;
    const auto fs_block_bytes = static_cast<uint32_t>(status.st_blksize);
    if (device.direct) {
        const Result<uint32_t> block = direct_block_bytes(device.fd.get(), path);
        if (!block) return block.error();
        limits.logical_block_bytes = *block;
    }
    limits.physical_block_bytes = fs_block_bytes;
    // Behind the end of the file a hole changes nothing: only asks whether the file system can.
    limits.can_discard =
        ::fallocate(device.fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    (status.st_size / fs_block_bytes + 1) * fs_block_bytes, fs_block_bytes) == 0;
    if (limits.can_discard) limits.discard_granularity_bytes = fs_block_bytes;
    return Ok{};
}

}  // namespace

Result<uint64_t> device_sectors(const OpenedDevice& device, const std::string& path) {
    if (device.block_device) {
        uint64_t bytes = 0;
        if (ioctl(device.fd.get(), BLKGETSIZE64, &bytes) != 0)
            return error("cannot read the size of {}: {}", path, strerror(errno));
        return bytes / sector_bytes;
    }
    struct stat status {};
    if (fstat(device.fd.get(), &status) != 0)
        return error("cannot read the size of {}: {}", path, strerror(errno));
    return static_cast<uint64_t>(status.st_size) / sector_bytes;
}

Result<OpenedDevice> open_device(const std::string& path, std::optional<uint32_t> slot) {
    struct stat status {};
    if (stat(path.c_str(), &status) != 0) return error("cannot open {}: {}", path, strerror(errno));
    OpenedDevice device;
    device.block_device = S_ISBLK(status.st_mode);
    if (!device.block_device && !S_ISREG(status.st_mode))
        return error("cannot use {}: neither a block device nor a regular file", path);

    Result<Fd> fd = open_and_claim(path, device.block_device, slot, device.direct);
    if (!fd) return fd.error();
    device.fd = std::move(*fd);
    if (!device.direct)
        log_format(engine::LogLevel::warning,
                   "duplex: {}: its file system has no direct I/O; using its cache", path);

    if (fstat(device.fd.get(), &status) != 0) return error("cannot look at {}: {}", path, strerror(errno));
    if (S_ISBLK(status.st_mode) != device.block_device)
        return error("{} was exchanged while it was opened", path);
    const Status found = device.block_device ? find_block_limits(device, status.st_rdev, path)
                                             : find_file_limits(device, status, path);
    if (!found) return found.error();
    const Result<uint64_t> sectors = device_sectors(device, path);
    if (!sectors) return sectors.error();
    device.limits.size_sectors = *sectors;
    return device;
}

}  // namespace duplex::runtime
