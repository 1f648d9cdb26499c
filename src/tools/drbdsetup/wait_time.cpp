#include "tools/drbdsetup/wait_time.hpp"

#include <fmt/format.h>

namespace duplex::drbdsetup {

config::StartupOptions plausible(config::StartupOptions options, std::string& notes) {
    const uint32_t wfc = options.wfc_timeout_s;
    uint32_t& degraded = options.degr_wfc_timeout_s;
    uint32_t& outdated = options.outdated_wfc_timeout_s;
    if (wfc > 0 && (wfc < degraded || degraded == 0)) {
        degraded = wfc;
        notes += fmt::format(
            "degr-wfc-timeout has to be shorter than wfc-timeout\n"
            "degr-wfc-timeout implicitly set to wfc-timeout ({}s)\n",
            degraded);
    }
    if (degraded > 0 && (degraded < outdated || outdated == 0)) {
        outdated = wfc;  // not degraded, in spite of the message: so the reference does it (cli 25)
        notes += fmt::format(
            "outdated-wfc-timeout has to be shorter than degr-wfc-timeout\n"
            "outdated-wfc-timeout implicitly set to degr-wfc-timeout ({}s)\n",
            degraded);
    }
    return options;
}

uint32_t wait_seconds(const config::StartupOptions& options, const engine::VolumeStatus& volume) {
    if (volume.state.pdsk == wire::DiskState::outdated) return options.outdated_wfc_timeout_s;
    return volume.degraded ? options.degr_wfc_timeout_s : options.wfc_timeout_s;
}

}  // namespace duplex::drbdsetup
