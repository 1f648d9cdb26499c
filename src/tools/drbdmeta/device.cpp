#include "tools/drbdmeta/device.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <linux/fs.h>
#include <optional>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "base/ensure.hpp"
#include "tools/drbdmeta/ask.hpp"
#include "tools/drbdmeta/exit_code.hpp"

namespace duplex::drbdmeta {

namespace {

constexpr size_t buffer_bytes = size_t{1} << 20;
constexpr size_t direct_io_alignment = 4096;

int open_direct(const std::string& name, int extra_flags) {
    int fd = ::open(name.c_str(), O_RDWR | O_CLOEXEC | O_DIRECT | extra_flags);
    if (fd >= 0 || errno != EINVAL) return fd;
    fmt::print(stderr, "open({}) failed: {}\ncould not open with O_DIRECT, retrying without\n", name,
               std::strerror(EINVAL));
    return ::open(name.c_str(), O_RDWR | O_CLOEXEC | extra_flags);
}

// A regular file has no O_EXCL, and a block device that minors share as their meta disk is claimed by none of
// them. Their processes hold locks: on all of it, or on their slots.
int open_exclusively(const std::string& name) {
    const int fd = open_direct(name, O_EXCL);
    if (fd < 0) return fd;
    struct flock all {};
    all.l_type = F_WRLCK;
    all.l_whence = SEEK_SET;
    if (fcntl(fd, F_OFD_SETLK, &all) != 0 && (errno == EAGAIN || errno == EACCES)) {
        close(fd);
        errno = EBUSY;
        return -1;
    }
    return fd;
}

int open_as_far_as_allowed(const Options& options) {
    if (options.index.is_slot()) return open_direct(options.device, 0);
    const int fd = open_exclusively(options.device);
    if (fd >= 0 || errno != EBUSY) return fd;
    fmt::print(stderr, "open({}) failed: {}\n", options.device, std::strerror(EBUSY));
    // Applying the activity log under the feet of whoever uses the device needs more than a "yes".
    const bool anyway = (options.command != "apply-al" || options.force) &&
                        confirmed(options, "Exclusive open failed. Do it anyways?");
    if (!anyway) {
        fmt::print("Operation canceled.\n");
        errno = ECANCELED;
        return -1;
    }
    return open_direct(options.device, 0);
}

// Size in bytes; nullopt after having told the user.
std::optional<uint64_t> usable_size(const Options& options, int fd, const struct stat& status) {
    if (!S_ISBLK(status.st_mode)) {
        if (!options.force || !S_ISREG(status.st_mode)) {
            fmt::print(stderr, "'{}' is not a block device!\n", options.device);
            return std::nullopt;
        }
        fmt::print(stderr, "ioctl(md_fd, BLKSSZGET) returned -1, assuming hard_sect_size is 512 Byte\n");
        return static_cast<uint64_t>(status.st_size);
    }
    uint64_t bytes = 0;
    if (ioctl(fd, BLKGETSIZE64, &bytes) != 0) {
        fmt::print(stderr, "cannot find out the size of {}: {}\n", options.device, std::strerror(errno));
        return std::nullopt;
    }
    return bytes;
}

}  // namespace

void Device::Free::operator()(uint8_t* buffer) const {
    std::free(buffer);
}

Device::Device(const Options& options, int fd, uint64_t size_bytes, bool is_block_device)
    : options_(options),
      name_(options.device),
      fd_(fd),
      size_bytes_(size_bytes),
      is_block_device_(is_block_device),
      buffer_(static_cast<uint8_t*>(std::aligned_alloc(direct_io_alignment, buffer_bytes))) {
    ensure(buffer_ != nullptr);
}

Device::~Device() {
    close(fd_);
}

std::unique_ptr<Device> Device::open(const Options& options, int& exit_code) {
    exit_code = exit_usage;
    const int fd = open_as_far_as_allowed(options);
    if (fd < 0) {
        if (errno != ECANCELED)
            fmt::print(stderr, "open({}) failed: {}\n", options.device, std::strerror(errno));
        return nullptr;
    }
    struct stat status {};
    const std::optional<uint64_t> size =
        fstat(fd, &status) == 0 ? usable_size(options, fd, status) : std::nullopt;
    if (!size) {
        close(fd);
        return nullptr;
    }
    const uint64_t size_bytes = *size;
    exit_code = exit_io;
    const auto superblock = meta::superblock_sector(options.index, size_bytes / sector_bytes);
    if (size_bytes < meta::min_meta_device_bytes) {
        fmt::print(stderr, "{} is only {} bytes. That's not enough.\n", options.device, size_bytes);
    } else if (!superblock) {
        fmt::print(
            stderr,
            "Device too small: expecting meta data block at\nbyte offset {}, but {} is only {} bytes.\n",
            static_cast<uint64_t>(options.index.value()) * meta::slot_sectors * sector_bytes, options.device,
            size_bytes);
    } else {
        exit_code = exit_ok;
        return std::unique_ptr<Device>(new Device(options, fd, size_bytes, S_ISBLK(status.st_mode)));
    }
    close(fd);
    return nullptr;
}

Status Device::read(uint64_t offset_bytes, std::span<uint8_t> bytes) {
    for (size_t done = 0; done < bytes.size();) {
        const size_t length = std::min(bytes.size() - done, buffer_bytes);
        const ssize_t got = pread(fd_, buffer_.get(), length, static_cast<off_t>(offset_bytes + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0)
            return error("pread({}, ..., {}, {}) failed: {}", name_, length, offset_bytes + done,
                         std::strerror(errno));
        if (got == 0 || got % 512 != 0)
            return error("pread({}, ..., {}, {}) returned only {} bytes", name_, length, offset_bytes + done,
                         got);
        std::memcpy(bytes.data() + done, buffer_.get(), static_cast<size_t>(got));
        done += static_cast<size_t>(got);
    }
    return Ok{};
}

void Device::permit_writes(uint64_t first_byte, uint64_t length_bytes) {
    permitted_.push_back({first_byte, first_byte + length_bytes});
}

Status Device::check_permitted(uint64_t offset_bytes, uint64_t length_bytes, const char* what) const {
    if (options_.ignore_sanity_checks) return Ok{};
    for (const Range& range : permitted_)
        if (offset_bytes >= range.first && offset_bytes + length_bytes <= range.end) return Ok{};
    return error("confused in {}: bytes {} to {} of {} are not part of the meta data", what, offset_bytes,
                 offset_bytes + length_bytes, name_);
}

bool Device::announce_only(uint64_t offset_bytes, uint64_t length_bytes, const char* what) const {
    if (!options_.dry_run && options_.verbose < 3) return false;
    fmt::print(stderr, " {:<26}: pwrite({}, ...,{:6},{:12}){}\n", what, fd_, length_bytes, offset_bytes,
               options_.dry_run ? " SKIPPED DUE TO DRY-RUN" : "");
    return options_.dry_run;
}

Status Device::write(uint64_t offset_bytes, std::span<const uint8_t> bytes, const char* what) {
    if (Status s = check_permitted(offset_bytes, bytes.size(), what); !s) return s;
    if (announce_only(offset_bytes, bytes.size(), what)) return Ok{};
    for (size_t done = 0; done < bytes.size();) {
        const size_t length = std::min(bytes.size() - done, buffer_bytes);
        std::memcpy(buffer_.get(), bytes.data() + done, length);
        const ssize_t put = pwrite(fd_, buffer_.get(), length, static_cast<off_t>(offset_bytes + done));
        if (put < 0 && errno == EINTR) continue;
        if (put < 0)
            return error("pwrite({}, ..., {}, {}) failed: {}", name_, length, offset_bytes + done,
                         std::strerror(errno));
        if (put == 0 || put % 512 != 0)
            return error("pwrite({}, ..., {}, {}) wrote only {} bytes", name_, length, offset_bytes + done,
                         put);
        done += static_cast<size_t>(put);
    }
    return Ok{};
}

Status Device::zero(uint64_t offset_bytes, uint64_t length_bytes, BitmapInit how, const char* what) {
    if (how == BitmapInit::skip || length_bytes == 0) return Ok{};
    if (Status s = check_permitted(offset_bytes, length_bytes, what); !s) return s;
    if (announce_only(offset_bytes, length_bytes, what)) return Ok{};
    if (how != BitmapInit::pwrite) {
        uint64_t range[2] = {offset_bytes, length_bytes};
        const int done = is_block_device_
                             ? ioctl(fd_, BLKZEROOUT, range)
                             : fallocate(fd_, FALLOC_FL_ZERO_RANGE, static_cast<off_t>(offset_bytes),
                                         static_cast<off_t>(length_bytes));
        if (done == 0) return Ok{};
        if (how == BitmapInit::zeroout)
            return error("zeroing bytes {} to {} of {} failed: {}", offset_bytes, offset_bytes + length_bytes,
                         name_, std::strerror(errno));
    }
    const std::vector<uint8_t> zeros(std::min<uint64_t>(buffer_bytes, length_bytes));
    for (uint64_t done = 0; done < length_bytes; done += zeros.size()) {
        const auto part = std::span(zeros).first(std::min<uint64_t>(zeros.size(), length_bytes - done));
        if (Status s = write(offset_bytes + done, part, what); !s) return s;
    }
    return Ok{};
}

Status Device::flush() {
    if (options_.dry_run) return Ok{};
    if (fsync(fd_) != 0) return error("fsync({}) failed: {}", name_, std::strerror(errno));
    return Ok{};
}

}  // namespace duplex::drbdmeta
