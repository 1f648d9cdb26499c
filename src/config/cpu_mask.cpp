#include "config/cpu_mask.hpp"

#include <charconv>
#include <cstdint>

namespace duplex::config {

Result<CpuMask> parse_cpu_mask(std::string_view text) {
    constexpr size_t bits_per_group = 32;
    constexpr size_t digits_per_group = 8;
    CpuMask mask;
    if (text.empty()) return mask;
    for (std::string_view rest = text;;) {
        const std::string_view group = rest.substr(0, rest.find(','));
        uint32_t bits = 0;
        const auto [end, failed] = std::from_chars(group.data(), group.data() + group.size(), bits, 16);
        const bool valid =
            failed == std::errc() && end == group.data() + group.size() && group.size() <= digits_per_group;
        if (!valid || (mask >> (mask.size() - bits_per_group)).any())
            return error("cpu-mask '{}': not hexadecimal digits, up to 8 between commas", text);
        mask = mask << bits_per_group | CpuMask(bits);
        if (group.size() == rest.size()) return mask;
        rest.remove_prefix(group.size() + 1);
    }
}

}  // namespace duplex::config
