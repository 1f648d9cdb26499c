// The memory for data in flight: one arena, allocated (and touched) once, handed out in power-of-two blocks
// of 4 KiB to 1 MiB, each aligned to its size, so that any buffer is fit for direct I/O. A buddy allocator:
// taking and giving back cost a few list operations and never allocate. When the arena is used up take() says
// so and the caller waits; nothing is allocated around the limit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace duplex {

class BufferPool {
  public:
    static constexpr uint32_t block_bytes_min = 4096;
    static constexpr uint32_t block_bytes_max = 1u << 20;

    // arena_bytes is rounded up to a multiple of block_bytes_max.
    explicit BufferPool(size_t arena_bytes);
    ~BufferPool();
    BufferPool(const BufferPool&) = delete;
    BufferPool& operator=(const BufferPool&) = delete;

    // A buffer of at least size_bytes (1 ... block_bytes_max), or nullptr when none is free. Contents
    // undefined.
    uint8_t* take(uint32_t size_bytes);
    // size_bytes as it was given to take().
    void give(uint8_t* buffer, uint32_t size_bytes);

    size_t free_bytes() const { return free_bytes_; }
    size_t arena_bytes() const { return arena_bytes_; }
    // The whole arena, for registering it with the kernel once.
    uint8_t* arena() const { return arena_; }

  private:
    static constexpr unsigned order_count = 9;  // 4 KiB << 0 ... 4 KiB << 8 = 1 MiB

    // A free block holds its own list links.
    struct FreeBlock {
        FreeBlock* previous;
        FreeBlock* next;
    };

    static unsigned order_for(uint32_t size_bytes);
    FreeBlock* block_at(size_t page) const;
    size_t page_of(const void* block) const;
    void push(size_t page, unsigned order);
    void unlink(size_t page, unsigned order);

    uint8_t* arena_;
    size_t arena_bytes_;
    size_t free_bytes_;
    FreeBlock* free_[order_count] = {};
    // Per 4 KiB page: order + 1 of the free block that starts there, 0 if none does.
    std::vector<uint8_t> free_order_;
};

}  // namespace duplex
