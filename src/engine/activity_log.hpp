// The activity log's set in memory: which 4 MiB extents may differ between the nodes after a crash, because
// application writes to them are, or recently were, in flight (meta data 9). A write holds a reference on
// each extent it touches from before its submission until its barrier ack. Extents enter the set only through
// a transaction that is on stable storage first; ActivityLog keeps the set, AlTransaction
// (al_transaction.cpp) does the writing.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/units.hpp"

namespace duplex::engine {

class ActivityLog {
  public:
    static constexpr uint32_t changes_max = 64;  // in one transaction

    explicit ActivityLog(uint32_t slots);

    enum class Get : uint8_t { granted, wait };

    // A reference if the extent is in the set and not being changed. Never changes the set.
    Get get_hot(AlExtent extent);
    // A reference, bringing the extent in by a change of the next transaction if need be. The reference on a
    // changing extent must not be used before commit().
    Get get(AlExtent extent);
    void put(AlExtent extent);

    bool is_hot(AlExtent extent) const;  // committed, referenced or not
    bool in_use(AlExtent extent) const;  // referenced or changing
    uint32_t references(AlExtent extent) const;
    uint32_t used() const { return used_; }  // extents with references

    struct Change {
        uint16_t slot;
        uint32_t old_label;
        uint32_t new_label;
    };
    std::span<const Change> changes() const { return changes_; }
    bool changing() const { return !changes_.empty(); }
    // From the first look at changes() until commit() no new change is accepted.
    void lock() { locked_ = true; }
    void commit();

    // One label per slot, as committed.
    std::span<const uint32_t> labels() const { return labels_; }
    uint32_t slots() const { return static_cast<uint32_t>(slots_.size()); }

    // Forgets every extent; there must be no reference and no change.
    void clear();

  private:
    enum class Where : uint8_t { free, idle, in_use, changing };
    struct Slot {
        uint32_t label;  // the extent it stands for, or is about to
        uint32_t references = 0;
        Where where = Where::free;
        uint32_t next_in_hash;
        uint32_t previous = none, next = none;  // free and idle lists
    };
    struct SlotList {
        uint32_t head = none, tail = none;
    };
    static constexpr uint32_t none = 0xffffffff;

    uint32_t find(AlExtent extent) const;
    uint32_t& bucket(uint32_t label) { return hash_[label % hash_.size()]; }
    void hash_insert(uint32_t slot);
    void hash_remove(uint32_t slot);
    void push_back(SlotList& list, uint32_t slot);
    void push_front(SlotList& list, uint32_t slot);
    void unlink(SlotList& list, uint32_t slot);
    void reference(uint32_t slot);

    std::vector<Slot> slots_;
    std::vector<uint32_t> labels_;
    std::vector<uint32_t> hash_;
    std::vector<Change> changes_;
    SlotList free_, idle_;
    uint32_t used_ = 0;
    bool locked_ = false;
    // Set when somebody could not be served for lack of a slot: from then on nobody gets a reference until
    // one extent is given back, or a stream of hits on busy extents would keep the cold one waiting for ever.
    bool starving_ = false;
};

}  // namespace duplex::engine
