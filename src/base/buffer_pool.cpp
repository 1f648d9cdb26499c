#include "base/buffer_pool.hpp"

#include <bit>
#include <cstdlib>
#include <cstring>

#include "base/ensure.hpp"

namespace duplex {

BufferPool::BufferPool(size_t arena_bytes)
    : arena_bytes_((arena_bytes + block_bytes_max - 1) / block_bytes_max * block_bytes_max),
      free_bytes_(arena_bytes_) {
    arena_ = static_cast<uint8_t*>(std::aligned_alloc(block_bytes_max, arena_bytes_));
    ensure(arena_ != nullptr);
    std::memset(arena_, 0, arena_bytes_);  // fault the pages in now, not under memory pressure
    free_order_.resize(arena_bytes_ / block_bytes_min);
    for (size_t at = arena_bytes_; at > 0; at -= block_bytes_max)
        push((at - block_bytes_max) / block_bytes_min, order_count - 1);
}

BufferPool::~BufferPool() {
    std::free(arena_);
}

unsigned BufferPool::order_for(uint32_t size_bytes) {
    ensure(size_bytes > 0 && size_bytes <= block_bytes_max);
    const uint32_t pages = (size_bytes + block_bytes_min - 1) / block_bytes_min;
    return static_cast<unsigned>(std::bit_width(pages - 1));
}

BufferPool::FreeBlock* BufferPool::block_at(size_t page) const {
    return reinterpret_cast<FreeBlock*>(arena_ + page * block_bytes_min);
}

size_t BufferPool::page_of(const void* block) const {
    return static_cast<size_t>(static_cast<const uint8_t*>(block) - arena_) / block_bytes_min;
}

void BufferPool::push(size_t page, unsigned order) {
    FreeBlock* block = block_at(page);
    block->previous = nullptr;
    block->next = free_[order];
    if (block->next) block->next->previous = block;
    free_[order] = block;
    free_order_[page] = static_cast<uint8_t>(order + 1);
}

void BufferPool::unlink(size_t page, unsigned order) {
    FreeBlock* block = block_at(page);
    ensure(free_order_[page] == order + 1);
    if (block->previous)
        block->previous->next = block->next;
    else
        free_[order] = block->next;
    if (block->next) block->next->previous = block->previous;
    free_order_[page] = 0;
}

uint8_t* BufferPool::take(uint32_t size_bytes) {
    const unsigned order = order_for(size_bytes);
    unsigned found = order;
    while (found < order_count && !free_[found]) ++found;
    if (found == order_count) return nullptr;
    const size_t page = page_of(free_[found]);
    unlink(page, found);
    for (; found > order; --found) push(page + (size_t{1} << (found - 1)), found - 1);
    free_bytes_ -= size_t{block_bytes_min} << order;
    return arena_ + page * block_bytes_min;
}

void BufferPool::give(uint8_t* buffer, uint32_t size_bytes) {
    unsigned order = order_for(size_bytes);
    ensure(buffer >= arena_ && buffer < arena_ + arena_bytes_);
    size_t page = page_of(buffer);
    ensure(arena_ + page * block_bytes_min == buffer && page % (size_t{1} << order) == 0 &&
           free_order_[page] == 0);
    free_bytes_ += size_t{block_bytes_min} << order;
    while (order + 1 < order_count) {
        const size_t buddy = page ^ (size_t{1} << order);
        if (free_order_[buddy] != order + 1) break;
        unlink(buddy, order);
        page = page < buddy ? page : buddy;
        ++order;
    }
    push(page, order);
}

}  // namespace duplex
