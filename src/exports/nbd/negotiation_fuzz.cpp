// Any bytes, in any slices: bounded work, bounded output, no misread.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/ensure.hpp"
#include "exports/nbd/negotiation.hpp"

namespace {

using namespace duplex;
using namespace duplex::exports::nbd;

class FuzzHost final : public NegotiationHost {
  public:
    bool has_name(std::string_view name) const override { return name.size() < 8; }
    std::string_view canonical_name() const override { return "r0/0"; }
    std::string_view description() const override { return "a volume"; }
    Result<ExportFacts> look_at_export() override { return ExportFacts{1 << 20, false, true}; }
    Result<ExportFacts> open_export() override { return ExportFacts{1 << 20, true, false}; }
    void log_client(std::string_view) override {}
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) return 0;
    const size_t slice = size_t{data[0]} + 1;
    const std::span<const uint8_t> all(data + 1, size - 1);
    FuzzHost host;
    Negotiation negotiation(host);
    std::vector<uint8_t> out;
    size_t begin = 0, end = 0;
    while (negotiation.outcome() == Negotiation::Outcome::going_on) {
        const size_t taken = negotiation.received(all.subspan(begin, end - begin), out);
        ensure(taken <= end - begin);
        ensure(out.size() <= size_t{Negotiation::options_max} * 512);
        begin += taken;
        if (taken > 0) continue;
        // A full window is always enough to go on.
        ensure(end - begin < Negotiation::window_bytes);
        if (end == all.size()) break;
        end = std::min(all.size(), end + slice);
    }
    return 0;
}
