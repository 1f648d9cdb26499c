// The text of dump-md, read back (grammar in meta data 16.4).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "meta/layout.hpp"

namespace duplex::drbdmeta {

struct DumpFile {
    struct Run {
        uint64_t count;
        uint64_t word;
    };
    std::array<uint64_t, 4> uuids{};
    uint32_t flags = 0;
    uint64_t la_size_sectors = 0;
    uint32_t bm_bytes_per_bit = 4096;
    uint64_t device_uuid = 0;
    uint32_t la_peer_max_bio_size_bytes = 0;
    meta::AlStriping al;
    std::vector<Run> bitmap;  // little-endian words from bit 0 on
};

// Errors name the line and what was expected there.
Result<DumpFile> parse_dump(std::string_view text);

}  // namespace duplex::drbdmeta
