// Opening a backing device and finding out what it can do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.hpp"
#include "engine/ports.hpp"
#include "runtime/fd.hpp"

namespace duplex::runtime {

struct OpenedDevice {
    Fd fd;
    engine::DiskLimits limits;
    bool block_device = false;
    bool direct = true;  // false: the file system refuses O_DIRECT, everything goes through its cache
    bool discard_command = false;  // block device: discard by io_uring command (Linux 6.12)
};

// Opens for reading and writing, for this process alone: O_EXCL for a block device (refused while it is
// mounted, swap, part of a volume group or another process's) and a lock on all of it, which is what keeps
// others from a regular file. With a slot, a meta disk that others may use too (meta data 3.1): refused while
// somebody has it alone, or has the same slot. The error names the path.
Result<OpenedDevice> open_device(const std::string& path, std::optional<uint32_t> slot);

// The size now, in sectors; a last half sector does not count.
Result<uint64_t> device_sectors(const OpenedDevice& device, const std::string& path);

// BLOCK_URING_CMD_DISCARD of linux/blkdev.h; Debian 12's headers do not have it. addr: first byte, addr3:
// bytes.
inline constexpr uint32_t discard_command_code = 0x12u << 8;

}  // namespace duplex::runtime
