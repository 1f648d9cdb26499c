// What an engine may hand to its data disk, looked at before the disk has it: which writes may be there at
// the same time (I29), what may start at all (I10), and what stable storage says before a diskless Primary's
// writes (I16).
#pragma once

#include "sim/node.hpp"
#include "sim/verdict.hpp"

namespace duplex::sim {

class DiskChecks {
  public:
    DiskChecks(Verdict& verdict, const config::DiskOptions& options) : verdict_(verdict), options_(options) {}

    void before_submission(Node& node, unsigned volume, const engine::DiskIo& io);

    // Pairs of overlapping writes that were looked at, and writes for a diskless Primary.
    uint64_t overlaps() const { return overlaps_; }
    uint64_t diskless_writes() const { return diskless_writes_; }

  private:
    void check_overlap(const Node& node, const engine::DiskIo& io, const engine::DiskIo& other);

    Verdict& verdict_;
    const config::DiskOptions& options_;
    uint64_t overlaps_ = 0;
    uint64_t diskless_writes_ = 0;
};

}  // namespace duplex::sim
