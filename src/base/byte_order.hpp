// Loads and stores of fixed byte order at any alignment.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace duplex {

static_assert(std::endian::native == std::endian::little, "Duplex runs on little-endian machines");

template <typename T>
T load_le(const void* at) {
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

template <typename T>
void store_le(void* at, T value) {
    std::memcpy(at, &value, sizeof value);
}

constexpr uint16_t byte_swap(uint16_t v) {
    return __builtin_bswap16(v);
}
constexpr uint32_t byte_swap(uint32_t v) {
    return __builtin_bswap32(v);
}
constexpr uint64_t byte_swap(uint64_t v) {
    return __builtin_bswap64(v);
}

template <typename T>
T load_be(const void* at) {
    return byte_swap(load_le<T>(at));
}

template <typename T>
void store_be(void* at, T value) {
    store_le<T>(at, byte_swap(value));
}

}  // namespace duplex
