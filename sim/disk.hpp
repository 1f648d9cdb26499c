// A disk with a volatile write cache.
//
// A write that has completed is visible to reads, but until a flush (or for a write with FUA) it is only in
// the cache. When the power fails, of everything that is not on stable storage each 512-byte sector may be
// kept or lost, whatever became of the others: so a write may be torn, and a later write survive an earlier
// one. A flush covers every write that had completed before the flush was submitted. Writes that had not
// completed when the power failed may be there in part, too. Operations take their time and overtake each
// other.
//
// A discard leaves zeroes.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/ports.hpp"
#include "sim/scheduler.hpp"
#include "sim/turn.hpp"

namespace duplex::sim {

// What a seed draws for a disk.
struct DiskModel {
    bool volatile_cache = true;
    uint64_t delay_us_min = 20;
    uint64_t delay_us_max = 2000;
    unsigned slow_percent = 0;  // operations that take ten times as long
    bool can_discard = true;
    uint32_t io_bytes_max = 1u << 20;
};

class Disk final : public engine::Disk {
  public:
    Disk(Scheduler& scheduler, Turn& turn, uint64_t size_sectors, const DiskModel& model);

    void submit(engine::DiskIo& io) override;
    const engine::DiskLimits& limits() const override { return limits_; }
    Status refresh_size() override {
        limits_.size_sectors = real_size_sectors_;
        return Ok{};
    }
    // The engine hears of it when it looks.
    void enlarge(uint64_t size_sectors) { real_size_sectors_ = size_sectors; }

    // ---- faults
    // Operations are forgotten, and nothing is called back. Of a write in flight any part may have reached
    // the cache; its data is read now, for the last time.
    void drop_operations();
    // After drop_operations(): what of the cache survives.
    void lose_power();
    // Operations that touch [first, end) fail with EIO.
    struct Broken {
        uint64_t first = 0;
        uint64_t end = 0;
        unsigned percent = 0;  // of the operations
        bool reads = true;
        bool writes = true;
        bool only_discards = false;
    };
    Broken broken;

    // From now on nothing ends; until go_on(), when everything does.
    void hang() { hangs_ = true; }
    void go_on();

    // Told of every operation that is submitted, before it is in flight.
    std::function<void(const engine::DiskIo&)> submission_observer;
    // Told of every operation that has ended.
    std::function<void(const engine::DiskIo&, int error)> observer;

    // ---- for the administrator's tools and the checkers: at once, without errors
    void read_now(Sector sector, std::span<uint8_t> bytes) const { visible_.read(sector, bytes); }
    void read_durable(Sector sector, std::span<uint8_t> bytes) const { durable_.read(sector, bytes); }
    void write_now(Sector sector, std::span<const uint8_t> bytes);              // durable
    uint64_t word_at(Sector sector) const { return visible_.word_at(sector); }  // its first eight bytes
    bool in_flight() const { return !operations_.empty(); }
    template <typename Visit>
    void for_each_in_flight(Visit visit) const {
        for (const Operation& operation : operations_) visit(*operation.io);
    }
    // Writes completed so far, and is everything up to the n-th of them on stable storage where it touches
    // the range?
    uint64_t writes_completed() const { return sequence_; }
    bool is_durable(Sector sector, uint64_t size_sectors, uint64_t up_to_write) const;
    // Is a write of this range on its way?
    bool is_writing(Sector sector, uint64_t size_sectors) const;

  private:
    static constexpr uint64_t page_bytes = 4096;
    static constexpr uint64_t page_sectors = page_bytes / sector_bytes;
    using Page = std::array<uint8_t, page_bytes>;

    class Store {
      public:
        void read(Sector sector, std::span<uint8_t> bytes) const;
        void write(Sector sector, std::span<const uint8_t> bytes);
        uint64_t word_at(Sector sector) const;

      private:
        std::unordered_map<uint64_t, std::unique_ptr<Page>> pages_;
    };

    struct CachedWrite {
        uint64_t sequence = 0;
        Sector sector;
        std::vector<uint8_t> bytes;
        std::vector<bool>
            alive;  // per sector: false when a later FUA write has replaced it on stable storage
        uint64_t size_sectors() const { return bytes.size() / sector_bytes; }
    };
    struct Operation {
        engine::DiskIo* io;
        Scheduler::EventId event;
        uint64_t writes_before;  // completed when it was submitted
    };
    using Operations = std::list<Operation>;

    void complete(Operations::iterator operation);
    int carry_out(engine::DiskIo& io, uint64_t writes_before);
    void write(Sector sector, std::vector<uint8_t> bytes, bool fua);
    void destage(uint64_t up_to_write);
    void make_durable(const CachedWrite& write);
    std::vector<uint8_t> content_of(const engine::DiskIo& io) const;
    bool fails(const engine::DiskIo& io);

    Scheduler& scheduler_;
    Turn& turn_;
    DiskModel model_;
    engine::DiskLimits limits_;
    uint64_t real_size_sectors_ = 0;
    Store visible_;
    Store durable_;
    std::list<CachedWrite> cache_;  // in the order of their completion
    uint64_t sequence_ = 0;
    Operations operations_;
    List<engine::DiskIo, engine::DiskIo> linked_;
    bool hangs_ = false;
};

}  // namespace duplex::sim
