// What "duplex top" shows: the node's volumes, and what happened on them since the last look.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "control/node.hpp"

namespace duplex::tool {

class TopScreen {
  public:
    // The node as it is now; time_ms of a monotonic clock.
    void update(control::NodeStatus node, uint64_t time_ms);

    // Lines without their ends, none longer than width (colours not counted), at most height of them.
    std::vector<std::string> lines(const std::string& title, size_t width, size_t height) const;

  private:
    // Per second, since the last look.
    struct Rates {
        double reads = 0;
        double writes = 0;
        double latency_ms = 0;  // of one request
        double read_kib = 0;
        double written_kib = 0;
        double sent_kib = 0;
        double received_kib = 0;
    };
    using VolumeKey = std::pair<std::string, unsigned>;

    static Rates rates_between(const engine::VolumeCounters& before, const engine::VolumeCounters& now,
                               double seconds);

    control::NodeStatus node_;
    uint64_t time_ms_ = 0;
    std::map<VolumeKey, Rates> rates_;
    std::map<VolumeKey, engine::VolumeCounters> last_;
};

}  // namespace duplex::tool
