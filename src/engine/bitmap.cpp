#include "engine/bitmap.hpp"

#include <algorithm>
#include <bit>

#include "base/ensure.hpp"
#include "meta/bitmap.hpp"

namespace duplex::engine {

namespace {

// The bits of word `index` that lie in [first, last].
uint64_t word_mask(uint64_t index, uint64_t first, uint64_t last) {
    uint64_t mask = ~uint64_t{0};
    if (index == first / 64) mask &= ~uint64_t{0} << (first % 64);
    if (index == last / 64) mask &= ~uint64_t{0} >> (63 - last % 64);
    return mask;
}

}  // namespace

void Bitmap::resize(uint64_t size_sectors, bool new_clear) {
    const uint64_t old_bits = bits_;
    size_sectors_ = size_sectors;
    bits_ = bits_for(size_sectors);
    words_.resize(meta::bitmap_words(bits_), 0);
    dirty_.resize(meta::bitmap_pages(bits_), true);
    if (bits_ > old_bits && !new_clear) change(BitNr(old_bits), BitNr(bits_ - 1), true);
    recount();
    dirty_pages_ = static_cast<uint64_t>(std::count(dirty_.begin(), dirty_.end(), true));
}

void Bitmap::recount() {
    meta::mask_surplus_bits(words_, bits_);
    set_bits_ = meta::count_bits(words_);
}

std::optional<BitNr> Bitmap::find_next(BitNr from) const {
    if (from.value >= bits_) return std::nullopt;
    uint64_t index = from.value / 64;
    uint64_t word = words_[index] & (~uint64_t{0} << (from.value % 64));
    while (word == 0) {
        if (++index == words_.size()) return std::nullopt;
        word = words_[index];
    }
    return BitNr(index * 64 + static_cast<uint64_t>(std::countr_zero(word)));
}

uint64_t Bitmap::count(BitNr first, BitNr end) const {
    if (first >= end) return 0;
    ensure(end.value <= bits_);
    const uint64_t last = end.value - 1;
    uint64_t total = 0;
    for (uint64_t i = first.value / 64; i <= last / 64; ++i)
        total += static_cast<uint64_t>(std::popcount(words_[i] & word_mask(i, first.value, last)));
    return total;
}

uint64_t Bitmap::count_in(ResyncExtent extent) const {
    const uint64_t first = std::min(extent.value * bits_per_resync_extent, bits_);
    return count(BitNr(first), BitNr(std::min(first + bits_per_resync_extent, bits_)));
}

uint64_t Bitmap::change(BitNr first, BitNr last, bool set) {
    uint64_t changed = 0;
    for (uint64_t i = first.value / 64; i <= last.value / 64; ++i) {
        const uint64_t mask = word_mask(i, first.value, last.value);
        const uint64_t flips = set ? mask & ~words_[i] : mask & words_[i];
        if (flips == 0) continue;
        words_[i] ^= flips;
        changed += static_cast<uint64_t>(std::popcount(flips));
        mark_page_dirty(i / meta::words_per_bitmap_page);
    }
    set_bits_ = set ? set_bits_ + changed : set_bits_ - changed;
    if (!set && changed > 0) cleared_ = true;
    return changed;
}

uint64_t Bitmap::set_out_of_sync(Sector sector, uint64_t size_bytes) {
    const uint64_t end = std::min(sector.value + size_bytes / sector_bytes, size_sectors_);
    if (size_bytes == 0 || sector.value >= end) return 0;
    return change(bit_of(sector), bit_of(Sector(end - 1)), true);
}

uint64_t Bitmap::set_in_sync(Sector sector, uint64_t size_bytes) {
    const uint64_t end = std::min(sector.value + size_bytes / sector_bytes, size_sectors_);
    const uint64_t first = (sector.value + sectors_per_bit - 1) / sectors_per_bit;
    // The last block of the device may be partial; reaching the device's end covers it.
    const uint64_t end_bit = end == size_sectors_ ? bits_ : end / sectors_per_bit;
    if (first >= end_bit) return 0;
    return change(BitNr(first), BitNr(end_bit - 1), false);
}

bool Bitmap::any_out_of_sync(Sector sector, uint64_t size_bytes) const {
    const uint64_t end = std::min(sector.value + size_bytes / sector_bytes, size_sectors_);
    if (size_bytes == 0 || sector.value >= end) return false;
    const std::optional<BitNr> next = find_next(bit_of(sector));
    return next && next->value <= (end - 1) / sectors_per_bit;
}

void Bitmap::set_all() {
    if (bits_ > 0) change(BitNr(0), BitNr(bits_ - 1), true);
}

void Bitmap::clear_all() {
    if (bits_ > 0) change(BitNr(0), BitNr(bits_ - 1), false);
}

uint64_t Bitmap::pages() const {
    return dirty_.size();
}

void Bitmap::mark_page_dirty(uint64_t page) {
    if (dirty_[page]) return;
    dirty_[page] = true;
    ++dirty_pages_;
}

void Bitmap::mark_words_dirty(uint64_t first_word, uint64_t end_word) {
    for (uint64_t page = first_word / meta::words_per_bitmap_page;
         page * meta::words_per_bitmap_page < end_word; ++page)
        mark_page_dirty(page);
}

void Bitmap::mark_all_dirty() {
    for (uint64_t page = 0; page < dirty_.size(); ++page) mark_page_dirty(page);
}

void Bitmap::mark_page_clean(uint64_t page) {
    if (!dirty_[page]) return;
    dirty_[page] = false;
    --dirty_pages_;
}

std::optional<uint64_t> Bitmap::next_dirty_page(uint64_t from) const {
    if (dirty_pages_ == 0) return std::nullopt;
    for (uint64_t page = from; page < dirty_.size(); ++page)
        if (dirty_[page]) return page;
    return std::nullopt;
}

}  // namespace duplex::engine
