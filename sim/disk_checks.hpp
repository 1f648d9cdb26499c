// What an engine may hand to its data disk, looked at before the disk has it: which writes may be there at
// the same time (I29, and I25 for the peer's), what may start at all (I10), and what stable storage says
// before a diskless Primary's writes (I16).
#pragma once

#include "sim/node.hpp"
#include "sim/verdict.hpp"
#include "sim/wire_watch.hpp"

namespace duplex::sim {

class DiskChecks {
  public:
    // wire knows the epochs of the peer's writes.
    DiskChecks(Verdict& verdict, const config::DiskOptions& options, WireWatch& wire)
        : verdict_(verdict), options_(options), wire_(wire) {}

    void before_submission(Node& node, unsigned volume, const engine::DiskIo& io);

    // Pairs of overlapping writes that were looked at, and writes for a diskless Primary.
    uint64_t overlaps() const { return overlaps_; }
    uint64_t diskless_writes() const { return diskless_writes_; }
    // Pairs of the peer's writes whose epochs were compared.
    uint64_t epochs() const { return epochs_; }

  private:
    bool ordered() const { return options_.disk_flushes || options_.disk_drain; }
    std::optional<WireWatch::Place> place_of(const Node& node, unsigned volume, const engine::DiskIo& io);
    void check_diskless_primary(Node& node, unsigned volume, const engine::DiskIo& io);
    void check_epoch(const Node& node, unsigned volume, const engine::DiskIo& io);
    void check_overlap(const Node& node, const engine::DiskIo& io, const engine::DiskIo& other);

    Verdict& verdict_;
    const config::DiskOptions& options_;
    WireWatch& wire_;
    uint64_t overlaps_ = 0;
    uint64_t diskless_writes_ = 0;
    uint64_t epochs_ = 0;
};

}  // namespace duplex::sim
