// The out-of-sync bitmap in memory: one bit per 4 KiB block, complete while a disk is attached (meta data
// 10). Marking is exact about direction: setting rounds outwards, clearing rounds inwards, so a block is only
// ever called in sync when all of it is. Knows which 4 KiB pages differ from the disk; writing them is
// MetaIo's.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/units.hpp"

namespace duplex::engine {

class Bitmap {
  public:
    // Sets the covered size. New bits are set (clear with new_clear); bits that stay keep their value.
    void resize(uint64_t size_sectors, bool new_clear);

    uint64_t size_sectors() const { return size_sectors_; }
    uint64_t bits() const { return bits_; }
    uint64_t set_bits() const { return set_bits_; }

    bool test(BitNr bit) const { return (words_[bit.value / 64] >> (bit.value % 64)) & 1; }
    // The first set bit at or after `from`.
    std::optional<BitNr> find_next(BitNr from) const;
    // Set bits in [first, end).
    uint64_t count(BitNr first, BitNr end) const;
    uint64_t count_in(ResyncExtent extent) const;

    // Return how many bits changed.
    uint64_t set_out_of_sync(Sector sector, uint64_t size_bytes);
    uint64_t set_in_sync(Sector sector, uint64_t size_bytes);
    bool any_out_of_sync(Sector sector, uint64_t size_bytes) const;
    void set_all();
    void clear_all();

    // The raw words, for the disk and the wire. After writing to them: recount(), and mark what changed as
    // dirty.
    std::span<uint64_t> words() { return words_; }
    std::span<const uint64_t> words() const { return words_; }
    void recount();

    // Pages of the on-disk bitmap that differ from the disk.
    uint64_t pages() const;
    bool page_dirty(uint64_t page) const { return dirty_[page]; }
    void mark_page_dirty(uint64_t page);
    void mark_words_dirty(uint64_t first_word, uint64_t end_word);
    void mark_all_dirty();
    // Before the page's content is copied for writing, so that a change during the write makes it dirty
    // again.
    void mark_page_clean(uint64_t page);
    uint64_t dirty_pages() const { return dirty_pages_; }
    std::optional<uint64_t> next_dirty_page(uint64_t from) const;
    // Were bits cleared since the last call? The data that cleared them must be stable before a page says so.
    bool take_cleared() { return std::exchange(cleared_, false); }

  private:
    uint64_t change(BitNr first, BitNr last, bool set);

    std::vector<uint64_t> words_;
    std::vector<bool> dirty_;
    uint64_t size_sectors_ = 0;
    uint64_t bits_ = 0;
    uint64_t set_bits_ = 0;
    uint64_t dirty_pages_ = 0;
    bool cleared_ = false;
};

}  // namespace duplex::engine
