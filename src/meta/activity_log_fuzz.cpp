// Any activity log area: replay never misbehaves. The checksum is repaired for blocks chosen by the input,
// since the fuzzer cannot guess it.
#include <algorithm>
#include <vector>

#include "base/byte_order.hpp"
#include "base/ensure.hpp"
#include "meta/activity_log.hpp"

using namespace duplex;
using namespace duplex::meta;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 2) return 0;
    constexpr AlStriping stripings[] = {{1, 8}, {4, 2}, {3, 3}, {1, 9}};
    const AlStriping striping = stripings[data[0] % 4];
    const uint8_t repaired = data[1];
    std::vector<uint8_t> area(striping.blocks() * al_block_bytes);
    // Small inputs reach every block: the input is spread over the blocks' beginnings.
    const size_t share = std::min((size - 2) / striping.blocks(), al_block_bytes);
    for (uint64_t b = 0; b < striping.blocks(); ++b) {
        uint8_t* block = area.data() + b * al_block_bytes;
        std::copy_n(data + 2 + b * share, share, block);
        if (!(repaired >> (b % 8) & 1)) continue;
        store_be<uint32_t>(block, 0x69CB65A2);
        const auto span = std::span(area).subspan(b * al_block_bytes).first<al_block_bytes>();
        store_be<uint32_t>(block + 8, al_block_crc(span));
    }
    const AlReplay replay = replay_al(area, striping);
    ensure(std::ranges::is_sorted(replay.hot_extents));
    ensure(replay.valid_blocks <= replay.blocks && replay.update_blocks <= replay.valid_blocks);
    (void)al_format(area, false, striping);

    for (size_t at = 0; at < al83_area_bytes; at += 512) {
        uint8_t* sector = area.data() + at;
        if (!(repaired >> (at / 512 % 8) & 1)) continue;
        store_be<uint32_t>(sector, 0x83740267);
        uint32_t check = 0;
        for (size_t i = 0; i < 62; ++i) check ^= load_be<uint32_t>(sector + 12 + 8 * i);
        store_be<uint32_t>(sector + 504, check);
    }
    (void)replay_al83(std::span(area).first(al83_area_bytes), data[0] * 17U);
    return 0;
}
