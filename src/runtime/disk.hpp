// engine::Disk on a block device or a regular file, through io_uring with direct I/O.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/list.hpp"
#include "base/pool.hpp"
#include "engine/ports.hpp"
#include "runtime/device.hpp"
#include "runtime/loop.hpp"

namespace duplex::runtime {

class Disk final : public engine::Disk, public ListNode<Disk> {
  public:
    // See open_device().
    static Result<Disk*> open(Loop& loop, const std::string& path,
                              std::optional<uint32_t> slot = std::nullopt);

    void submit(engine::DiskIo& io) override;
    const engine::DiskLimits& limits() const override { return device_.limits; }

    Status refresh_size() override;

    // No submit() any more; what is in flight still completes. Then closes the device and destroys itself.
    void close();

    const std::string& path() const { return path_; }
    size_t in_flight() const { return slots_.used(); }
    size_t waiting() const { return waiting_.size(); }

  private:
    static constexpr size_t in_flight_max = 256;

    // The ways to discard or to write zeroes, best first.
    enum class Way : uint8_t { discard_command, punch_hole, zero_range, write_zeroes };

    // One operation in the kernel. An engine operation may take several in turn: the rest of a short
    // transfer, or the next way when one is not supported.
    struct Slot final : Completion {
        void complete(int result, uint32_t) override { disk->finished(*this, result); }
        Disk* disk = nullptr;
        engine::DiskIo* io = nullptr;
        uint32_t done_bytes = 0;
        Way way = Way::punch_hole;
    };

    Disk(Loop& loop, std::string path, OpenedDevice device);
    ~Disk() = default;

    void check(const engine::DiskIo& io) const;
    void start(engine::DiskIo& io);
    void go_on(Slot& slot);
    void transfer(Slot& slot);
    void write_zeroes(Slot& slot);
    void discard(Slot& slot);
    void fallocate(Slot& slot, int mode);
    Way first_way(const engine::DiskIo& io) const;
    bool next_way(Slot& slot);
    void finished(Slot& slot, int result);
    bool moves_bytes(const Slot& slot) const;
    void give_back(Slot& slot, int error);
    bool idle() const { return slots_.used() == 0 && waiting_.empty(); }

    Loop* loop_;
    std::string path_;
    OpenedDevice device_;
    bool closing_ = false;
    bool can_punch_ = true;  // until the device says no
    bool can_zero_range_ = true;
    Pool<Slot> slots_;
    List<engine::DiskIo, engine::DiskIo> waiting_;  // for a slot, in the order of submit()
};

}  // namespace duplex::runtime
