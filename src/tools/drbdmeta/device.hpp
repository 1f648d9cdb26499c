// The meta data device: a block device, or with --force a regular file. Plain synchronous I/O, direct where
// the device allows it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "base/units.hpp"
#include "tools/drbdmeta/options.hpp"

namespace duplex::drbdmeta {

class Device {
  public:
    // Opens for reading and writing; exclusively unless the index is a slot, which minors share (meta
    // data 15.2). nullptr after having told the user, with the exit code in `exit_code`.
    static std::unique_ptr<Device> open(const Options& options, int& exit_code);
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;
    ~Device();

    const std::string& name() const { return name_; }
    uint64_t size_bytes() const { return size_bytes_; }
    uint64_t size_sectors() const { return size_bytes_ / sector_bytes; }

    // Offsets and lengths are multiples of 512. Reading beyond the end is an error.
    Status read(uint64_t offset_bytes, std::span<uint8_t> bytes);
    // Writes outside all permitted ranges are refused; nothing is permitted at first. `what` names the
    // caller.
    void permit_writes(uint64_t first_byte, uint64_t length_bytes);
    Status write(uint64_t offset_bytes, std::span<const uint8_t> bytes, const char* what);
    Status zero(uint64_t offset_bytes, uint64_t length_bytes, BitmapInit how, const char* what);
    // What was written is durable afterwards.
    Status flush();

  private:
    Device(const Options& options, int fd, uint64_t size_bytes, bool is_block_device);
    Status check_permitted(uint64_t offset_bytes, uint64_t length_bytes, const char* what) const;
    bool announce_only(uint64_t offset_bytes, uint64_t length_bytes, const char* what) const;

    struct Range {
        uint64_t first;
        uint64_t end;
    };
    struct Free {
        void operator()(uint8_t* buffer) const;
    };
    const Options& options_;
    std::string name_;
    int fd_;
    uint64_t size_bytes_;
    bool is_block_device_;
    std::vector<Range> permitted_;
    std::unique_ptr<uint8_t[], Free> buffer_;  // aligned for direct I/O
};

}  // namespace duplex::drbdmeta
