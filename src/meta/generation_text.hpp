// Generation identifiers and flags of a replica as the tools print them (meta data 16.2).
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "meta/superblock.hpp"

namespace duplex::meta {

// In the order of the text.
inline constexpr std::array generation_flags = {
    flag::consistent, flag::was_up_to_date, flag::primary_ind,    flag::connected_ind,
    flag::full_sync,  flag::peer_out_dated, flag::crashed_primary};

// "CUR:BM:H1:H2:f:f:f:f:f:f:f", without the end of the line. flags: the superblock's.
std::string generation_text(const std::array<uint64_t, 4>& uuids, uint32_t flags);
// The same as a line with its explanation around it, and the flags in words.
std::string explained_generation_text(const std::array<uint64_t, 4>& uuids, uint32_t flags);

}  // namespace duplex::meta
