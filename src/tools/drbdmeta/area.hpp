// Meta data found on a device, and the writes that all commands share.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "meta/layout.hpp"
#include "meta/superblock.hpp"
#include "tools/drbdmeta/device.hpp"
#include "tools/drbdmeta/last_known.hpp"
#include "tools/drbdmeta/options.hpp"

namespace duplex::drbdmeta {

constexpr uint64_t byte_of(Sector sector) {
    return sector.value * sector_bytes;
}

struct Area {
    meta::Superblock superblock;
    meta::Layout layout;
    std::optional<LastKnown> last_known;  // set if it was found at the last known place
    uint64_t stored_la_size_sectors = 0;  // la_size as on disk, if it exceeds what the area can serve
};

// Valid v08 meta data where it belongs. Nothing there is not an error; damaged meta data is reported and
// counts as nothing.
Result<std::optional<Area>> find_area(Device& device, const Options& options);
// The same at the place where it belonged when the device had its last known size.
Result<std::optional<Area>> find_at_last_known_place(Device& device, const Options& options);

// Allows writes to the area's layout.
void permit_area(Device& device, const meta::Layout& layout);
Status write_superblock(Device& device, const Area& area);
// Fills the whole log with initialised blocks.
Status initialise_activity_log(Device& device, const meta::Layout& layout);
// After the superblock has been changed: makes it durable, and keeps the last-known-size file true.
Status finish(Device& device, const Options& options, const meta::Superblock& superblock);

// "28 MB", as the reference tool rounds (meta data 15.7).
std::string pretty_size(uint64_t bytes);

}  // namespace duplex::drbdmeta
