// Any 4 KiB: decoding never misbehaves, and what decodes also survives encoding.
#include <algorithm>
#include <array>

#include "base/ensure.hpp"
#include "meta/superblock.hpp"

using namespace duplex;
using namespace duplex::meta;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    std::array<uint8_t, superblock_bytes> block{};
    std::copy_n(data, std::min(size, block.size()), block.begin());
    // The fuzzer rarely guesses the magic.
    if (size > 100)
        block[60] = 0x83, block[61] = 0x74, block[62] = 0x02, block[63] = data[100] & 1 ? 0x6B : 0x6C;
    const uint64_t capacity = size > 102 ? uint64_t{data[101]} << (data[102] % 40) : 131072;
    for (MetaIndex index :
         {MetaIndex::internal(), MetaIndex::flexible(), MetaIndex::slot(0), MetaIndex::slot(3)}) {
        const AttachCheck check = check_for_attach(block, index, capacity);
        if (check.return_code != 101) continue;
        const Sector at = superblock_sector(index, capacity).value();
        const Layout layout = layout_of(check.superblock, index, at);
        // What attach accepts lies inside its device.
        ensure(layout.area_first().value + layout.md_size_sectors <= capacity);
        ensure(layout.al_first() >= layout.area_first() && layout.bitmap_first() >= layout.area_first());
        (void)check_for_tool(check.superblock, index, capacity);
    }
    if (Result<Superblock> sb = decode(block)) {
        std::array<uint8_t, superblock_bytes> again{};
        encode(*sb, again);
        Result<Superblock> back = decode(again);
        ensure(back.ok() && *back == *sb);
    }
    return 0;
}
