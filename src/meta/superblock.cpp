#include "meta/superblock.hpp"

#include <algorithm>
#include <cstdint>

#include <fmt/format.h>

#include "base/byte_order.hpp"
#include "base/ensure.hpp"

namespace duplex::meta {

namespace {

// Byte offsets of the fields (meta data 5.1).
constexpr size_t at_la_size = 0;
constexpr size_t at_uuids = 8;
constexpr size_t at_device_uuid = 40;
constexpr size_t at_flags = 56;
constexpr size_t at_magic = 60;
constexpr size_t at_md_size = 64;
constexpr size_t at_al_offset = 68;
constexpr size_t at_al_nr_extents = 72;
constexpr size_t at_bm_offset = 76;
constexpr size_t at_bm_bytes_per_bit = 80;
constexpr size_t at_peer_max_bio = 84;
constexpr size_t at_al_stripes = 88;
constexpr size_t at_al_stripe_size = 92;
constexpr size_t at_v07_magic = 28;

constexpr uint16_t code_fine = 101;
constexpr uint16_t code_invalid = 119;
constexpr uint16_t code_unclean = 165;

Superblock parse(ConstSuperblockBytes block) {
    const uint8_t* at = block.data();
    Superblock sb;
    sb.la_size_sectors = load_be<uint64_t>(at + at_la_size);
    for (size_t i = 0; i < sb.uuids.size(); ++i) sb.uuids[i] = load_be<uint64_t>(at + at_uuids + 8 * i);
    sb.device_uuid = load_be<uint64_t>(at + at_device_uuid);
    sb.flags = load_be<uint32_t>(at + at_flags);
    sb.magic = load_be<uint32_t>(at + at_magic);
    sb.md_size_sectors = load_be<uint32_t>(at + at_md_size);
    sb.al_offset_sectors = static_cast<int32_t>(load_be<uint32_t>(at + at_al_offset));
    sb.al_nr_extents = load_be<uint32_t>(at + at_al_nr_extents);
    sb.bm_offset_sectors = static_cast<int32_t>(load_be<uint32_t>(at + at_bm_offset));
    sb.bm_bytes_per_bit = load_be<uint32_t>(at + at_bm_bytes_per_bit);
    sb.la_peer_max_bio_size_bytes = load_be<uint32_t>(at + at_peer_max_bio);
    sb.al.stripes = load_be<uint32_t>(at + at_al_stripes);
    sb.al.stripe_size_4k = load_be<uint32_t>(at + at_al_stripe_size);
    if (sb.al.stripes == 0 && sb.al.stripe_size_4k == 0) sb.al = AlStriping{};  // written by 8.3
    return sb;
}

Error not_v08(uint32_t magic, ConstSuperblockBytes block) {
    if (magic == magic_v09) return error("meta data is of format v09, not v08");
    if (load_be<uint32_t>(block.data() + at_v07_magic) == magic_v07)
        return error("meta data is of format v07, not v08");
    return error("no v08 meta data: magic is {:#010x}", magic);
}

Status check_geometry(const Superblock& sb) {
    if (sb.bm_bytes_per_bit != bit_bytes)
        return error("bm_bytes_per_bit is {}, only {} is possible", sb.bm_bytes_per_bit, bit_bytes);
    return check_striping(sb.al);
}

bool offsets_ordered(const Superblock& sb) {
    const auto al_sectors = static_cast<int64_t>(sb.al.sectors());
    if (sb.al_offset_sectors < 0) return sb.bm_offset_sectors <= sb.al_offset_sectors;
    return sb.al_offset_sectors == static_cast<int64_t>(superblock_sectors) &&
           sb.bm_offset_sectors >= static_cast<int64_t>(superblock_sectors) + al_sectors;
}

// The rules of step 6 of meta data 5.2.
Status check_offsets(const Superblock& sb, MetaIndex index, Sector found_at, uint64_t capacity) {
    const auto invalid = [&](const char* rule) {
        return error("al_offset {}, bm_offset {}, md_size_sect {}, al_stripes {}, al_stripe_size_4k {}: {}",
                     sb.al_offset_sectors, sb.bm_offset_sectors, sb.md_size_sectors, sb.al.stripes,
                     sb.al.stripe_size_4k, rule);
    };
    if (sb.al_offset_sectors == 0 || (sb.al_offset_sectors < 0) != index.is_internal())
        return invalid("al_offset is on the wrong side of the superblock");
    if (!offsets_ordered(sb)) return invalid("activity log and bitmap overlap or are out of order");
    const bool inside = index.is_internal();
    const int64_t al_offset = sb.al_offset_sectors;
    const int64_t bm_offset = sb.bm_offset_sectors;
    const int64_t al_sectors = inside ? -al_offset : bm_offset - static_cast<int64_t>(superblock_sectors);
    const int64_t bm_sectors = inside ? al_offset - bm_offset : int64_t{sb.md_size_sectors} - bm_offset;
    if (index.is_slot() && (sb.md_size_sectors != slot_sectors || bm_offset != 72 || !sb.al.is_default()))
        return invalid("not the layout of indexed meta data");
    const int64_t first = static_cast<int64_t>(found_at.value) + (inside ? bm_offset : 0);
    if (first < 0 || capacity < sb.md_size_sectors ||
        capacity - sb.md_size_sectors < static_cast<uint64_t>(first))
        return invalid("the meta data does not fit its device");
    if (al_sectors != static_cast<int64_t>(sb.al.sectors()))
        return invalid("the activity log's room is not stripes times stripe size");
    if (bm_offset % 8 != 0) return invalid("bm_offset is not a multiple of 8 sectors");
    const uint64_t needed = (sb.la_size_sectors + 7) / 8 / 8 / sector_bytes;
    if (bm_sectors < 0 || static_cast<uint64_t>(bm_sectors) < needed)
        return error("la_size_sect {} needs {} sectors of bitmap, there are {}", sb.la_size_sectors, needed,
                     bm_sectors);
    return Ok{};
}

}  // namespace

void encode(const Superblock& sb, SuperblockBytes block) {
    std::ranges::fill(block, uint8_t{0});
    uint8_t* at = block.data();
    store_be(at + at_la_size, sb.la_size_sectors);
    for (size_t i = 0; i < sb.uuids.size(); ++i) store_be(at + at_uuids + 8 * i, sb.uuids[i]);
    store_be(at + at_device_uuid, sb.device_uuid);
    store_be(at + at_flags, sb.flags);
    store_be(at + at_magic, sb.magic);
    store_be(at + at_md_size, sb.md_size_sectors);
    store_be(at + at_al_offset, static_cast<uint32_t>(sb.al_offset_sectors));
    store_be(at + at_al_nr_extents, sb.al_nr_extents);
    store_be(at + at_bm_offset, static_cast<uint32_t>(sb.bm_offset_sectors));
    store_be(at + at_bm_bytes_per_bit, sb.bm_bytes_per_bit);
    store_be(at + at_peer_max_bio, sb.la_peer_max_bio_size_bytes);
    store_be(at + at_al_stripes, sb.al.stripes);
    store_be(at + at_al_stripe_size, sb.al.stripe_size_4k);
}

Result<Superblock> decode(ConstSuperblockBytes block) {
    const Superblock sb = parse(block);
    if (sb.magic != magic_v08_clean && sb.magic != magic_v08_unclean) return not_v08(sb.magic, block);
    if (Status s = check_geometry(sb); !s) return s.error();
    return sb;
}

Layout layout_of(const Superblock& sb, MetaIndex index, Sector found_at) {
    Layout layout;
    layout.index = index;
    layout.superblock = found_at;
    layout.al_offset_sectors = sb.al_offset_sectors;
    layout.bm_offset_sectors = sb.bm_offset_sectors;
    layout.md_size_sectors = sb.md_size_sectors;
    layout.al = sb.al;
    return layout;
}

void set_layout(Superblock& sb, const Layout& layout) {
    sb.al_offset_sectors = layout.al_offset_sectors;
    sb.bm_offset_sectors = layout.bm_offset_sectors;
    sb.md_size_sectors = layout.md_size_sectors;
    sb.al = layout.al;
}

AttachCheck check_for_attach(ConstSuperblockBytes block, MetaIndex index, uint64_t meta_capacity_sectors) {
    const Superblock sb = parse(block);
    const auto invalid = [](Error e) { return AttachCheck{code_invalid, std::move(e.text), {}}; };
    // Cleanliness comes first: apply-al may well be what makes the rest valid.
    if (sb.magic == magic_v08_unclean || (sb.magic == magic_v08_clean && !sb.has(flag::al_clean)))
        return {code_unclean,
                fmt::format("meta data is unclean (magic {:#010x}, flags {:#010x}), run apply-al", sb.magic,
                            sb.flags),
                {}};
    if (sb.magic != magic_v08_clean) return invalid(not_v08(sb.magic, block));
    if (Status s = check_geometry(sb); !s) return invalid(s.error());
    Result<Sector> found_at = superblock_sector(index, meta_capacity_sectors);
    if (!found_at) return invalid(found_at.error());
    if (Status s = check_offsets(sb, index, *found_at, meta_capacity_sectors); !s) return invalid(s.error());
    return {code_fine, {}, sb};
}

Status check_for_tool(const Superblock& sb, MetaIndex index, uint64_t meta_capacity_sectors) {
    if (Status s = check_geometry(sb); !s) return s;
    Result<Layout> wanted = compute_layout(index, meta_capacity_sectors, sb.al);
    if (!wanted) return wanted.error();
    if (sb.al_offset_sectors != wanted->al_offset_sectors)
        return error("al_offset is {}, expected {}", sb.al_offset_sectors, wanted->al_offset_sectors);
    if (sb.bm_offset_sectors != wanted->bm_offset_sectors)
        return error("bm_offset is {}, expected {}", sb.bm_offset_sectors, wanted->bm_offset_sectors);
    if (index.is_internal() && sb.md_size_sectors != wanted->md_size_sectors)
        return error("md_size_sect is {}, expected {}", sb.md_size_sectors, wanted->md_size_sectors);
    return Ok{};
}

}  // namespace duplex::meta
