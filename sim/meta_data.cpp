#include "sim/meta_data.hpp"

#include <array>

#include "base/ensure.hpp"
#include "meta/bitmap.hpp"

namespace duplex::sim {

Sector MetaData::at() const {
    const Result<Sector> found = meta::superblock_sector(index_, disk_->limits().size_sectors);
    ensure(found.ok());
    return *found;
}

const meta::Layout MetaData::layout() const {
    const Result<meta::Layout> computed =
        meta::compute_layout(index_, disk_->limits().size_sectors, striping);
    ensure(computed.ok());
    return *computed;
}

void MetaData::create() {
    const meta::Layout where = layout();
    std::array<uint8_t, meta::al_block_bytes> block;
    meta::encode_initialised_al_block(meta::AlBlock(block));
    for (uint64_t i = 0; i < where.al.blocks(); ++i) disk_->write_now(where.al_first() + i * 8, block);
    meta::Superblock superblock;
    meta::set_layout(superblock, where);
    meta::encode(superblock, meta::SuperblockBytes(block));
    disk_->write_now(where.superblock, block);
}

Result<meta::Superblock> MetaData::superblock() const {
    std::array<uint8_t, meta::superblock_bytes> block;
    disk_->read_durable(at(), block);
    return meta::decode(meta::ConstSuperblockBytes(block));
}

engine::UuidSet MetaData::uuids() const {
    const Result<meta::Superblock> found = superblock();
    ensure(found.ok());
    const auto& stored = found->uuids;
    return {stored[meta::uuid_current],
            stored[meta::uuid_bitmap],
            {stored[meta::uuid_history1], stored[meta::uuid_history2]}};
}

bool MetaData::bit(BitNr bit) const {
    std::array<uint8_t, sector_bytes> bytes;
    const uint64_t byte = bit.value / 8;
    disk_->read_durable(layout().bitmap_first() + byte / sector_bytes, bytes);
    return bytes[byte % sector_bytes] >> (bit.value % 8) & 1;
}

std::vector<uint8_t> MetaData::al_area(bool durable) const {
    const meta::Layout where = layout();
    std::vector<uint8_t> area(where.al.blocks() * meta::al_block_bytes);
    if (durable)
        disk_->read_durable(where.al_first(), area);
    else
        disk_->read_now(where.al_first(), area);
    return area;
}

const std::set<uint32_t>& MetaData::hot_extents() const {
    std::vector<uint8_t> area = al_area(true);
    if (area != al_seen_) {
        const meta::AlReplay replay = meta::replay_al(area, layout().al);
        hot_ = {replay.hot_extents.begin(), replay.hot_extents.end()};
        al_seen_ = std::move(area);
    }
    return hot_;
}

Status MetaData::apply_al() {
    std::array<uint8_t, meta::superblock_bytes> found;
    disk_->read_now(at(), found);
    Result<meta::Superblock> superblock = meta::decode(meta::ConstSuperblockBytes(found));
    if (!superblock) return superblock.error();
    if (superblock->is_clean()) return Ok{};
    const meta::Layout where = layout();
    const meta::AlReplay replay = meta::replay_al(al_area(false), where.al);
    std::array<uint8_t, meta::al_block_bytes> block;
    if (superblock->has(meta::flag::primary_ind) && !superblock->has(meta::flag::full_sync)) {
        if (replay.outcome == meta::AlReplayOutcome::no_data ||
            replay.outcome == meta::AlReplayOutcome::invalid)
            return error("no usable activity log");
        const uint64_t pages = meta::bitmap_pages(bits_for(superblock->la_size_sectors));
        for (const uint32_t extent : replay.hot_extents) {
            const uint64_t page = meta::bitmap_page_of(AlExtent(extent));
            if (page >= pages) continue;
            disk_->read_now(where.bitmap_page(page), block);
            (void)meta::mark_al_extent(block, AlExtent(extent % meta::al_extents_per_bitmap_page));
            disk_->write_now(where.bitmap_page(page), block);
        }
    }
    meta::encode_initialised_al_block(meta::AlBlock(block));
    for (uint64_t i = 0; i < where.al.blocks(); ++i) disk_->write_now(where.al_first() + i * 8, block);
    superblock->flags |= meta::flag::al_clean;
    superblock->magic = meta::magic_v08_clean;
    meta::encode(*superblock, meta::SuperblockBytes(block));
    disk_->write_now(where.superblock, block);
    return Ok{};
}

}  // namespace duplex::sim
