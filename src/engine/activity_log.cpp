#include "engine/activity_log.hpp"

#include <algorithm>
#include <bit>

#include "base/ensure.hpp"
#include "meta/activity_log.hpp"

namespace duplex::engine {

ActivityLog::ActivityLog(uint32_t slots)
    : slots_(slots), labels_(slots, meta::al_free_label), hash_(std::bit_ceil(slots), none) {
    changes_.reserve(changes_max);
    for (uint32_t slot = 0; slot < slots; ++slot) {
        slots_[slot].label = meta::al_free_label;
        push_front(free_, slot);  // last in, first out: a fresh set hands out the highest slot first
    }
}

uint32_t ActivityLog::find(AlExtent extent) const {
    uint32_t slot = hash_[static_cast<uint32_t>(extent.value) % hash_.size()];
    while (slot != none && slots_[slot].label != extent.value) slot = slots_[slot].next_in_hash;
    return slot;
}

void ActivityLog::hash_insert(uint32_t slot) {
    uint32_t& head = bucket(slots_[slot].label);
    slots_[slot].next_in_hash = head;
    head = slot;
}

void ActivityLog::hash_remove(uint32_t slot) {
    uint32_t* link = &bucket(slots_[slot].label);
    while (*link != slot) link = &slots_[*link].next_in_hash;
    *link = slots_[slot].next_in_hash;
}

void ActivityLog::push_back(SlotList& list, uint32_t slot) {
    slots_[slot].previous = list.tail;
    slots_[slot].next = none;
    (list.tail == none ? list.head : slots_[list.tail].next) = slot;
    list.tail = slot;
}

void ActivityLog::push_front(SlotList& list, uint32_t slot) {
    slots_[slot].next = list.head;
    slots_[slot].previous = none;
    (list.head == none ? list.tail : slots_[list.head].previous) = slot;
    list.head = slot;
}

void ActivityLog::unlink(SlotList& list, uint32_t slot) {
    const Slot& s = slots_[slot];
    (s.previous == none ? list.head : slots_[s.previous].next) = s.next;
    (s.next == none ? list.tail : slots_[s.next].previous) = s.previous;
}

void ActivityLog::reference(uint32_t slot) {
    Slot& s = slots_[slot];
    if (s.where == Where::idle) {
        unlink(idle_, slot);
        s.where = Where::in_use;
    }
    if (s.references++ == 0) ++used_;
}

ActivityLog::Get ActivityLog::get_hot(AlExtent extent) {
    if (starving_) return Get::wait;
    const uint32_t slot = find(extent);
    if (slot == none || slots_[slot].where == Where::changing) return Get::wait;
    reference(slot);
    return Get::granted;
}

ActivityLog::Get ActivityLog::get(AlExtent extent) {
    if (starving_) return Get::wait;
    uint32_t slot = find(extent);
    if (slot != none) {
        if (slots_[slot].where == Where::changing && locked_) return Get::wait;
        reference(slot);
        return Get::granted;
    }
    if (locked_) return Get::wait;
    if (free_.head == none && idle_.head == none) {
        starving_ = true;
        return Get::wait;
    }
    if (changes_.size() == changes_max) return Get::wait;
    if (free_.head != none) {
        slot = free_.head;
        unlink(free_, slot);
    } else {
        slot = idle_.head;
        unlink(idle_, slot);
        hash_remove(slot);
    }
    Slot& s = slots_[slot];
    const auto label = static_cast<uint32_t>(extent.value);
    changes_.push_back({static_cast<uint16_t>(slot), labels_[slot], label});
    s.label = label;
    s.where = Where::changing;
    hash_insert(slot);
    reference(slot);
    return Get::granted;
}

void ActivityLog::put(AlExtent extent) {
    const uint32_t slot = find(extent);
    ensure(slot != none && slots_[slot].references > 0);
    Slot& s = slots_[slot];
    if (--s.references > 0) return;
    --used_;
    if (s.where == Where::changing) return;  // commit() will find it unreferenced
    s.where = Where::idle;
    push_back(idle_, slot);
    starving_ = false;
}

bool ActivityLog::is_hot(AlExtent extent) const {
    const uint32_t slot = find(extent);
    return slot != none && slots_[slot].where != Where::changing;
}

bool ActivityLog::in_use(AlExtent extent) const {
    const uint32_t slot = find(extent);
    return slot != none && (slots_[slot].where == Where::changing || slots_[slot].references > 0);
}

uint32_t ActivityLog::references(AlExtent extent) const {
    const uint32_t slot = find(extent);
    return slot == none ? 0 : slots_[slot].references;
}

void ActivityLog::commit() {
    for (const Change& change : changes_) {
        Slot& s = slots_[change.slot];
        labels_[change.slot] = change.new_label;
        if (s.references > 0) {
            s.where = Where::in_use;
        } else {
            s.where = Where::idle;
            push_back(idle_, change.slot);
            starving_ = false;
        }
    }
    changes_.clear();
    locked_ = false;
}

void ActivityLog::clear() {
    ensure(used_ == 0 && changes_.empty());
    *this = ActivityLog(slots());
}

}  // namespace duplex::engine
