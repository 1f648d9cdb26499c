// What the administrator's drbdmeta does, on a simulated disk, and how the checkers read what is on stable
// storage.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "engine/generations.hpp"
#include "meta/activity_log.hpp"
#include "meta/layout.hpp"
#include "meta/superblock.hpp"
#include "sim/disk.hpp"

namespace duplex::sim {

class MetaData {
  public:
    MetaData(Disk& disk, meta::MetaIndex index) : disk_(&disk), index_(index) {}

    void create();
    // Error: there is no usable activity log where one is needed.
    Status apply_al();

    // ---- stable storage, as it would be found now
    Result<meta::Superblock> superblock() const;
    engine::UuidSet uuids() const;
    bool bit(BitNr bit) const;
    // Extents that the log would mark after a crash.
    const std::set<uint32_t>& hot_extents() const;

    const meta::Layout layout() const;
    Disk& disk() const { return *disk_; }
    meta::MetaIndex index() const { return index_; }
    meta::AlStriping striping;

  private:
    Sector at() const;
    std::vector<uint8_t> al_area(bool durable) const;

    Disk* disk_;
    meta::MetaIndex index_;
    mutable std::vector<uint8_t> al_seen_;
    mutable std::set<uint32_t> hot_;
};

}  // namespace duplex::sim
