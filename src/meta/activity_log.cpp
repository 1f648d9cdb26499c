#include "meta/activity_log.hpp"

#include <algorithm>
#include <cstring>

#include <isa-l/crc.h>

#include "base/byte_order.hpp"
#include "base/ensure.hpp"

namespace duplex::meta {

namespace {

constexpr uint32_t al_magic = 0x69CB65A2;
constexpr uint32_t al83_magic = 0x83740267;
constexpr uint32_t pmem_magic = 0x6AA667A6;

// Byte offsets of the fields (meta data 8.1).
constexpr size_t at_magic = 0;
constexpr size_t at_number = 4;
constexpr size_t at_crc = 8;
constexpr size_t at_type = 12;
constexpr size_t at_n_updates = 14;
constexpr size_t at_context_size = 16;
constexpr size_t at_context_start = 18;
constexpr size_t at_update_slots = 36;
constexpr size_t at_update_extents = 164;
constexpr size_t at_context = 420;
static_assert(at_context + 4 * al_context_labels == al_block_bytes);

// Base's crc32c() inverts at both ends, as everyone but the activity log does.
uint32_t raw_crc32c(std::span<const uint8_t> data, uint32_t start) {
    return crc32_iscsi(const_cast<unsigned char*>(data.data()), static_cast<int>(data.size()), start);
}

ConstAlBlock block_at(std::span<const uint8_t> area, uint64_t block) {
    return area.subspan(block * al_block_bytes).first<al_block_bytes>();
}

}  // namespace

uint32_t al_block_crc(ConstAlBlock block) {
    constexpr std::array<uint8_t, 4> zero{};
    uint32_t crc = raw_crc32c(block.first<at_crc>(), 0);
    crc = raw_crc32c(zero, crc);
    return raw_crc32c(block.subspan<at_crc + 4>(), crc);
}

Result<AlTransaction> decode_al_block(ConstAlBlock block) {
    const uint8_t* at = block.data();
    if (const auto magic = load_be<uint32_t>(at + at_magic); magic != al_magic)
        return error("activity log block has magic {:#010x}, expected {:#010x}", magic, al_magic);
    AlTransaction tr;
    tr.crc = load_be<uint32_t>(at + at_crc);
    if (const uint32_t computed = al_block_crc(block); computed != tr.crc)
        return error("activity log block has checksum {:#010x}, computed {:#010x}", tr.crc, computed);
    tr.number = load_be<uint32_t>(at + at_number);
    tr.type = static_cast<AlBlockType>(load_be<uint16_t>(at + at_type));
    tr.n_updates = load_be<uint16_t>(at + at_n_updates);
    tr.context_size = load_be<uint16_t>(at + at_context_size);
    tr.context_start = load_be<uint16_t>(at + at_context_start);
    for (size_t i = 0; i < al_updates_max; ++i)
        tr.updates[i] = {load_be<uint16_t>(at + at_update_slots + 2 * i),
                         load_be<uint32_t>(at + at_update_extents + 4 * i)};
    for (size_t i = 0; i < al_context_labels; ++i) tr.context[i] = load_be<uint32_t>(at + at_context + 4 * i);
    return tr;
}

void encode_initialised_al_block(AlBlock block) {
    std::ranges::fill(block, uint8_t{0});
    store_be(block.data() + at_magic, al_magic);
    store_be(block.data() + at_type, static_cast<uint16_t>(AlBlockType::initialised));
    store_be(block.data() + at_crc, al_block_crc(block));
}

uint64_t al_block_of(uint32_t number, AlStriping striping) {
    ensure(striping.stripes != 0 && striping.blocks() != 0);
    const uint64_t t = number % striping.blocks();
    return (t % striping.stripes) * striping.stripe_size_4k + t / striping.stripes;
}

Sector al_sector_of(uint32_t number, const Layout& layout) {
    return layout.al_first() + al_block_of(number, layout.al) * 8;
}

uint32_t max_al_extents(AlStriping striping) {
    const uint64_t blocks = striping.blocks();
    // One block may be torn; the other blocks' contexts must still name every slot.
    if (blocks > 72) return al_slots_limit;
    return static_cast<uint32_t>((blocks - 1) * al_context_labels);
}

uint32_t clamp_al_extents(uint32_t configured, AlStriping striping) {
    return std::clamp(configured, al_extents_min, max_al_extents(striping));
}

AlWriter::AlWriter(AlStriping striping, uint32_t nr_slots, uint32_t first_number)
    : striping_(striping), nr_slots_(nr_slots), number_(first_number) {
    ensure(check_striping(striping).ok());
    ensure(nr_slots > 0 && nr_slots <= max_al_extents(striping));
}

void AlWriter::build(std::span<const AlUpdate> updates, std::span<const uint32_t> committed_labels,
                     AlBlock block) {
    ensure(updates.size() <= al_updates_max);
    ensure(committed_labels.size() == nr_slots_);
    uint8_t* at = block.data();
    std::memset(at, 0, at_update_slots);
    std::memset(at + at_update_slots, 0xFF, al_block_bytes - at_update_slots);
    store_be(at + at_magic, al_magic);
    store_be(at + at_number, number_);
    store_be(at + at_type, static_cast<uint16_t>(AlBlockType::update));
    store_be(at + at_n_updates, static_cast<uint16_t>(updates.size()));
    store_be(at + at_context_size, static_cast<uint16_t>(nr_slots_));
    store_be(at + at_context_start, static_cast<uint16_t>(cycle_));
    for (size_t i = 0; i < updates.size(); ++i) {
        ensure(updates[i].slot < nr_slots_);
        store_be(at + at_update_slots + 2 * i, updates[i].slot);
        store_be(at + at_update_extents + 4 * i, updates[i].extent);
    }
    const size_t labels = std::min<size_t>(al_context_labels, nr_slots_ - cycle_);
    for (size_t i = 0; i < labels; ++i) store_be(at + at_context + 4 * i, committed_labels[cycle_ + i]);
    store_be(at + at_crc, al_block_crc(block));

    cycle_ += al_context_labels;
    if (cycle_ >= nr_slots_) cycle_ = 0;
}

namespace {

bool older(uint32_t a, uint32_t b) {
    return static_cast<int32_t>(a - b) < 0;
}

// What replaying has found out so far: the label of each slot, as far as any transaction named it.
class SlotLabels {
  public:
    explicit SlotLabels(AlReplay& result) : labels_(al_slots_limit, al_free_label), result_(result) {}

    void set(uint32_t slot, uint32_t extent) {
        if (slot >= al_slots_limit) {
            ++result_.slots_out_of_range;
            return;
        }
        result_.highest_slot = std::max(result_.highest_slot, slot);
        labels_[slot] = extent;
    }

    void collect_hot() {
        std::ranges::copy_if(labels_, std::back_inserter(result_.hot_extents),
                             [](uint32_t extent) { return extent != al_free_label; });
        std::ranges::sort(result_.hot_extents);
        const auto repeated = std::unique(result_.hot_extents.begin(), result_.hot_extents.end());
        result_.hot_extents.erase(repeated, result_.hot_extents.end());
    }

  private:
    std::vector<uint32_t> labels_;
    AlReplay& result_;
};

void apply(const AlTransaction& tr, SlotLabels& labels) {
    // Context before updates: a changing slot has its old label in the context of the same block.
    for (size_t k = 0; k < al_context_labels; ++k) {
        const uint32_t slot = tr.context_start + static_cast<uint32_t>(k);
        if (tr.context[k] == al_free_label && slot >= tr.context_size) continue;
        labels.set(slot, tr.context[k]);
    }
    for (size_t k = 0; k < al_updates_max; ++k) {
        if (k >= tr.n_updates && tr.updates[k].slot == al_unused_slot) continue;
        labels.set(tr.updates[k].slot, tr.updates[k].extent);
    }
}

// Oldest and newest number among update entries; positions in ring order.
struct RingSpan {
    uint64_t oldest = 0;
    uint64_t newest = 0;
    bool any = false;
};

class RingSpanFinder {
  public:
    void add(uint64_t position, uint32_t number) {
        if (!span_.any) {
            span_ = {position, position, true};
            oldest_number_ = newest_number_ = number;
            return;
        }
        if (older(number, oldest_number_)) {
            oldest_number_ = number;
            span_.oldest = position;
        }
        if (older(newest_number_, number)) {
            newest_number_ = number;
            span_.newest = position;
        }
    }
    const RingSpan& span() const { return span_; }
    uint32_t newest_number() const { return newest_number_; }

  private:
    RingSpan span_;
    uint32_t oldest_number_ = 0;
    uint32_t newest_number_ = 0;
};

// Calls visit(position) from the oldest to the newest, around the end of the ring.
template <typename Visit>
void walk(const RingSpan& span, uint64_t ring_size, Visit visit) {
    for (uint64_t position = span.oldest;; position = (position + 1) % ring_size) {
        visit(position);
        if (position == span.newest) return;
    }
}

AlReplayOutcome outcome_without_updates(const AlReplay& result, bool first_block_valid) {
    if (result.valid_blocks == 0) return AlReplayOutcome::no_data;
    if (result.valid_blocks == result.blocks) return AlReplayOutcome::clean;
    // A node that died writing its very first transaction leaves only that one bad.
    if (result.valid_blocks == result.blocks - 1 && !first_block_valid) return AlReplayOutcome::clean;
    return AlReplayOutcome::invalid;
}

}  // namespace

AlReplay replay_al(std::span<const uint8_t> area, AlStriping striping) {
    ensure(area.size() == striping.blocks() * al_block_bytes);
    AlReplay result;
    result.blocks = striping.blocks();
    RingSpanFinder finder;
    bool first_block_valid = false;
    for (uint64_t position = 0; position < result.blocks; ++position) {
        const uint64_t block = al_block_of(static_cast<uint32_t>(position), striping);
        Result<AlTransaction> tr = decode_al_block(block_at(area, block));
        if (!tr) continue;
        if (position == 0) first_block_valid = true;
        ++result.valid_blocks;
        if (tr->type == AlBlockType::initialised) continue;
        ++result.update_blocks;
        finder.add(position, tr->number);
    }
    if (result.update_blocks == 0) {
        result.outcome = outcome_without_updates(result, first_block_valid);
        return result;
    }
    result.outcome = AlReplayOutcome::extents;
    result.newest_number = finder.newest_number();
    SlotLabels labels(result);
    walk(finder.span(), result.blocks, [&](uint64_t position) {
        const uint64_t block = al_block_of(static_cast<uint32_t>(position), striping);
        Result<AlTransaction> tr = decode_al_block(block_at(area, block));
        if (tr && tr->type != AlBlockType::initialised) apply(*tr, labels);
    });
    labels.collect_hot();
    return result;
}

namespace {

constexpr size_t al83_sector_bytes = 512;
constexpr size_t al83_pairs = 62;

struct Al83Sector {
    uint32_t number = 0;
    struct Pair {
        uint32_t slot;
        uint32_t extent;
    };
    std::array<Pair, al83_pairs> pairs{};
};

bool decode_al83(std::span<const uint8_t, al83_sector_bytes> bytes, Al83Sector& sector) {
    const uint8_t* at = bytes.data();
    if (load_be<uint32_t>(at) != al83_magic) return false;
    sector.number = load_be<uint32_t>(at + 4);
    uint32_t check = 0;
    for (size_t i = 0; i < al83_pairs; ++i) {
        sector.pairs[i] = {load_be<uint32_t>(at + 8 + 8 * i), load_be<uint32_t>(at + 12 + 8 * i)};
        check ^= sector.pairs[i].extent;
    }
    return check == load_be<uint32_t>(at + 504);
}

}  // namespace

AlReplay replay_al83(std::span<const uint8_t> area, uint32_t al_nr_extents) {
    ensure(area.size() == al83_area_bytes);
    AlReplay result;
    result.blocks =
        std::min<uint64_t>(1 + (uint64_t{al_nr_extents} + 60) / 61, area.size() / al83_sector_bytes);
    const auto sector_at = [&](uint64_t position) {
        return area.subspan(position * al83_sector_bytes).first<al83_sector_bytes>();
    };
    RingSpanFinder finder;
    Al83Sector sector;
    for (uint64_t position = 0; position < result.blocks; ++position) {
        if (!decode_al83(sector_at(position), sector)) continue;
        ++result.valid_blocks;
        ++result.update_blocks;
        finder.add(position, sector.number);
    }
    if (!finder.span().any) return result;  // nothing is not an error in this format
    result.outcome = AlReplayOutcome::extents;
    result.newest_number = finder.newest_number();
    SlotLabels labels(result);
    walk(finder.span(), result.blocks, [&](uint64_t position) {
        if (!decode_al83(sector_at(position), sector)) return;
        // The update is pair 0: the context must not overwrite it.
        for (size_t i = al83_pairs; i-- > 0;) {
            const auto& [slot, extent] = sector.pairs[i];
            if (extent != al_free_label) labels.set(slot, extent);
        }
    });
    labels.collect_hot();
    return result;
}

AlFormat al_format(std::span<const uint8_t> area, bool magic_unclean, AlStriping striping) {
    ensure(area.size() >= 2 * al_block_bytes);
    const auto first = load_be<uint32_t>(area.data());
    if (first == pmem_magic) return AlFormat::pmem;
    if (magic_unclean || first == al_magic || load_be<uint32_t>(area.data() + al_block_bytes) == al_magic ||
        !striping.is_default())
        return AlFormat::v84;
    return AlFormat::v83;
}

}  // namespace duplex::meta
