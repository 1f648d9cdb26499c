#include "meta/generation_text.hpp"

#include <string_view>

#include <fmt/format.h>

namespace duplex::meta {
namespace {

constexpr std::string_view generation_head = R"(
       +--<  Current data generation UUID  >-
       |               +--<  Bitmap's base data generation UUID  >-
       |               |                 +--<  younger history UUID  >-
       |               |                 |         +-<  older history  >-
       V               V                 V         V
)";
constexpr std::string_view generation_foot =
    R"(                                                                    ^ ^ ^ ^ ^ ^ ^
                                      -<  Data consistency flag  >--+ | | | | | |
                             -<  Data was/is currently up-to-date  >--+ | | | | |
                                  -<  Node was/is currently primary  >--+ | | | |
                                  -<  Node was/is currently connected  >--+ | | |
         -<  Node was in the progress of setting all bits in the bitmap  >--+ | |
                        -<  The peer's disk was out-dated or inconsistent  >--+ |
      -<  This node was a crashed primary, and has not seen its peer since   >--+

)";

}  // namespace

std::string generation_text(const std::array<uint64_t, 4>& uuids, uint32_t flags) {
    std::string text = fmt::format("{:016X}:{:016X}:{:016X}:{:016X}", uuids[0], uuids[1], uuids[2], uuids[3]);
    for (const uint32_t bit : generation_flags) text += (flags & bit) != 0 ? ":1" : ":0";
    return text;
}

std::string explained_generation_text(const std::array<uint64_t, 4>& uuids, uint32_t flags) {
    const auto has = [flags](uint32_t bit) { return (flags & bit) != 0; };
    const char* const disk = !has(flag::consistent)       ? "Inconsistent"
                             : !has(flag::was_up_to_date) ? "Outdated"
                                                          : "UpToDate";
    return fmt::format(
        "{}{}\n{}flags:{} {}, {}, {}{}{}\n", generation_head, generation_text(uuids, flags), generation_foot,
        has(flag::crashed_primary) ? " crashed" : "", has(flag::primary_ind) ? "Primary" : "Secondary",
        has(flag::connected_ind) ? "Connected" : "StandAlone", disk,
        has(flag::full_sync) ? ", need full sync" : "", has(flag::peer_out_dated) ? ", peer Outdated" : "");
}

}  // namespace duplex::meta
