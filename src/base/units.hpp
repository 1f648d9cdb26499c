// Positions on a device, each a type of its own so that a sector number cannot be taken for a bit number.
// Sizes and counts are plain integers whose names end in their unit (size_sectors, length_bytes).
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace duplex {

template <typename Tag>
struct Position {
    uint64_t value = 0;

    constexpr Position() = default;
    constexpr explicit Position(uint64_t v) : value(v) {}
    constexpr auto operator<=>(const Position&) const = default;
    constexpr Position operator+(uint64_t n) const { return Position(value + n); }
    constexpr Position& operator+=(uint64_t n) {
        value += n;
        return *this;
    }
    constexpr uint64_t operator-(Position other) const { return value - other.value; }
    constexpr Position& operator++() {
        ++value;
        return *this;
    }
};

using Sector = Position<struct SectorTag>;          // 512-byte sectors from the start of the device
using ByteOffset = Position<struct ByteTag>;        // bytes from the start of the backing device
using BitNr = Position<struct BitTag>;              // bitmap bits: 4096 bytes of the device each
using AlExtent = Position<struct AlExtentTag>;      // activity-log extents: 4 MiB of the device each
using ResyncExtent = Position<struct RsExtentTag>;  // resync extents: 16 MiB of the device each

inline constexpr uint64_t sector_bytes = 512;
inline constexpr uint64_t bit_bytes = 4096;
inline constexpr uint64_t sectors_per_bit = bit_bytes / sector_bytes;
inline constexpr uint64_t al_extent_bytes = uint64_t{4} << 20;
inline constexpr uint64_t sectors_per_al_extent = al_extent_bytes / sector_bytes;
inline constexpr uint64_t bits_per_al_extent = al_extent_bytes / bit_bytes;
inline constexpr uint64_t resync_extent_bytes = uint64_t{16} << 20;
inline constexpr uint64_t sectors_per_resync_extent = resync_extent_bytes / sector_bytes;
inline constexpr uint64_t bits_per_resync_extent = resync_extent_bytes / bit_bytes;

constexpr BitNr bit_of(Sector s) {
    return BitNr(s.value / sectors_per_bit);
}
constexpr Sector first_sector_of(BitNr b) {
    return Sector(b.value * sectors_per_bit);
}
constexpr AlExtent al_extent_of(Sector s) {
    return AlExtent(s.value / sectors_per_al_extent);
}
constexpr ResyncExtent resync_extent_of(Sector s) {
    return ResyncExtent(s.value / sectors_per_resync_extent);
}
// The bitmap covers a device of size_sectors with this many bits (a partial last block counts).
constexpr uint64_t bits_for(uint64_t size_sectors) {
    return (size_sectors + sectors_per_bit - 1) / sectors_per_bit;
}

}  // namespace duplex

template <typename Tag>
struct std::hash<duplex::Position<Tag>> {
    size_t operator()(duplex::Position<Tag> p) const noexcept { return std::hash<uint64_t>{}(p.value); }
};
