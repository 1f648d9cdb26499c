// Whatever a tool or a process may send: read without a crash, and what is accepted reads the same when
// written again.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/ensure.hpp"
#include "control/endpoint.hpp"
#include "control/message.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace duplex::control;
    const std::string_view line(reinterpret_cast<const char*>(data), size);
    if (const auto request = decode_request(line)) {
        const std::string written = encode(*request);
        const auto again = decode_request(std::string_view(written).substr(0, written.size() - 1));
        ensure(again.ok() && encode(*again) == written);
    }
    if (const auto status = decode_status(line)) {
        const std::string written = encode_status(*status);
        const auto again = decode_status(std::string_view(written).substr(0, written.size() - 1));
        ensure(again.ok() && encode_status(*again) == written);
    }
    (void)decode_reply(line);
    (void)decode_event(line);
    (void)parse_endpoint(line);
    return 0;
}
