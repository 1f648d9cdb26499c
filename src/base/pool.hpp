// A fixed pool: all elements are allocated once, take() and give() never allocate. take() returns nullptr
// when the pool is empty; the caller then waits for a give(), it does not allocate around the limit.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "base/ensure.hpp"

namespace duplex {

template <typename T>
class Pool {
  public:
    explicit Pool(size_t capacity) : storage_(std::make_unique<T[]>(capacity)), capacity_(capacity) {
        free_.reserve(capacity);
        for (size_t i = capacity; i > 0; --i) free_.push_back(&storage_[i - 1]);
    }

    T* take() {
        if (free_.empty()) return nullptr;
        T* element = free_.back();
        free_.pop_back();
        return element;
    }

    void give(T* element) {
        ensure(owns(element) && free_.size() < capacity_);
        free_.push_back(element);
    }

    // The element's number, stable for the pool's life; at(index_of(e)) == e. Lets untrusted integers be
    // checked before they are turned into pointers.
    size_t index_of(const T* element) const { return static_cast<size_t>(element - storage_.get()); }
    T* at(size_t index) { return index < capacity_ ? &storage_[index] : nullptr; }

    size_t available() const { return free_.size(); }
    size_t capacity() const { return capacity_; }
    size_t used() const { return capacity_ - free_.size(); }

  private:
    bool owns(const T* element) const {
        return element >= storage_.get() && element < storage_.get() + capacity_;
    }

    std::unique_ptr<T[]> storage_;
    size_t capacity_;
    std::vector<T*> free_;
};

}  // namespace duplex
