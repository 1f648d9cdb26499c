#include "tools/drbdsetup/wait_time.hpp"

#include <gtest/gtest.h>

namespace duplex::drbdsetup {
namespace {

config::StartupOptions timeouts(uint32_t wfc, uint32_t degraded, uint32_t outdated) {
    return {.wfc_timeout_s = wfc, .degr_wfc_timeout_s = degraded, .outdated_wfc_timeout_s = outdated};
}

TEST(WaitTime, CutsWhatIsLongerThanTheBetterCase) {
    struct Row {
        config::StartupOptions given, used;
        bool degraded_note, outdated_note;
    };
    const Row rows[] = {
        {timeouts(0, 0, 0), timeouts(0, 0, 0), false, false},
        {timeouts(9, 6, 3), timeouts(9, 6, 3), false, false},
        {timeouts(5, 5, 5), timeouts(5, 5, 5), false, false},
        {timeouts(1, 0, 0), timeouts(1, 1, 1), true, true},
        {timeouts(1, 2, 1), timeouts(1, 1, 1), true, false},
        {timeouts(9, 6, 0), timeouts(9, 6, 9), false, true},  // wfc, not degr: cli 25
        {timeouts(0, 6, 3), timeouts(0, 6, 3), false, false},
        {timeouts(0, 6, 7), timeouts(0, 6, 0), false, true},
    };
    for (const Row& row : rows) {
        std::string notes;
        EXPECT_EQ(plausible(row.given, notes), row.used) << notes;
        EXPECT_EQ(notes.find("degr-wfc-timeout implicitly set to wfc-timeout") != std::string::npos,
                  row.degraded_note);
        EXPECT_EQ(notes.find("outdated-wfc-timeout implicitly set to degr-wfc-timeout") != std::string::npos,
                  row.outdated_note);
    }
}

TEST(WaitTime, SaysWhatItCuts) {
    std::string notes;
    plausible(timeouts(1, 0, 1), notes);
    EXPECT_EQ(notes,
              "degr-wfc-timeout has to be shorter than wfc-timeout\n"
              "degr-wfc-timeout implicitly set to wfc-timeout (1s)\n");
}

TEST(WaitTime, DependsOnThePeersDiskAndOnHowTheNodeWentDown) {
    engine::VolumeStatus volume;
    volume.state.pdsk = wire::DiskState::d_unknown;
    EXPECT_EQ(wait_seconds(timeouts(9, 6, 3), volume), 9u);
    volume.degraded = true;
    EXPECT_EQ(wait_seconds(timeouts(9, 6, 3), volume), 6u);
    volume.state.pdsk = wire::DiskState::outdated;
    EXPECT_EQ(wait_seconds(timeouts(9, 6, 3), volume), 3u);
}

}  // namespace
}  // namespace duplex::drbdsetup
