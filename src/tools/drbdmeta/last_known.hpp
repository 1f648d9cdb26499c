// The last-known-size file (meta data 16.5): how large the device was when its internal meta data was
// written, so that it can be found again after the device has grown.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.hpp"
#include "tools/drbdmeta/options.hpp"

namespace duplex::drbdmeta {

struct LastKnown {
    uint64_t size_bytes = 0;
    std::string device_name;
    uint64_t device_uuid = 0;  // 0: not recorded

    bool operator==(const LastKnown&) const = default;
};

// nullopt if there is no file, or none that can be read (which is said).
std::optional<LastKnown> load_last_known(const Options& options);
// Durable when it returns.
Status store_last_known(const Options& options, const LastKnown& last_known);
void forget_last_known(const Options& options);

}  // namespace duplex::drbdmeta
