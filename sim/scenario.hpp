// What a seed draws before its run: the machines, the configuration, and (swarm testing) which faults and
// commands exist at all in this run and how often they come. Runs that lack most of them reach states that
// runs with all of them never do.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/random.hpp"
#include "config/options.hpp"
#include "engine/resource.hpp"
#include "sim/disk.hpp"
#include "sim/host.hpp"
#include "sim/network.hpp"

namespace duplex::sim {

// A stretch of the device that the applications keep coming back to.
struct HotRange {
    uint64_t first_sector;
    uint64_t size_sectors;
};

struct WorkloadModel {
    unsigned depth = 8;
    uint64_t think_us_max = 5000;
    uint32_t sectors_max = 64;
    unsigned write_percent = 60;
    unsigned flush_percent = 3;
    unsigned fua_percent = 3;
    unsigned discard_percent = 0;
    unsigned zeroes_percent = 0;
    unsigned unaligned_percent = 20;
    bool overlapping = false;  // writes in flight may overlap each other
    bool conflicting = false;  // with two Primaries: also those of the two nodes
    std::vector<HotRange> ranges;
};

// How often something is chosen among the things that happen; 0: never in this run.
struct Weights {
    unsigned power_loss = 0;
    unsigned kill = 0;
    unsigned cut = 0;
    unsigned reset = 0;
    unsigned disk_error = 0;
    unsigned promote = 0;
    unsigned demote = 0;
    unsigned disconnect = 0;
    unsigned detach = 0;
    unsigned invalidate = 0;
    unsigned pause = 0;
    unsigned verify = 0;
    unsigned suspend = 0;
    unsigned invalidate_remote = 0;
    unsigned force_detach = 0;
};

struct Scenario {
    // From this seed on also what draw_extras() draws, from a sequence of its own: the seeds below keep their
    // runs.
    static constexpr uint64_t first_seed_with_extras = 100'000;
    // From this one on also what draw_rest() draws.
    static constexpr uint64_t first_seed_with_all = 200'000;
    // From this one on also what draw_volumes() draws, from another sequence.
    static constexpr uint64_t first_seed_with_volumes = 300'000;
    // From this one on what draw_policies() draws instead.
    static constexpr uint64_t first_seed_with_policies = 400'000;
    static Scenario draw(Random& random, uint64_t seed);
    std::string describe() const;
    // The policies may decide against a Primary, which rr-conflict then may keep from giving in.
    bool may_decide_against_primary() const {
        using Policy = config::AfterSplitBrain;
        const auto may = [](Policy policy) {
            return policy == Policy::call_pri_lost_after_sb || policy == Policy::violently_as0p;
        };
        return may(net.after_sb_1pri) || may(net.after_sb_2pri);
    }

    uint64_t data_sectors = 0;   // of the DRBD device, about
    unsigned volumes = 1;        // all of that size; those behind the first with internal meta data
    bool volumes_apart = false;  // promoted and demoted each for itself, too
    bool resync_after = false;   // of those behind the first on the first
    std::array<bool, 2> external_meta{};
    std::array<DiskModel, 2> disks{};
    NetworkModel network;
    HandlerModel handlers;
    config::NetOptions net;
    config::DiskOptions disk;
    config::ResourceOptions resource;
    engine::Limits limits;
    WorkloadModel workload;
    Weights weights;

    bool skip_initial_sync = false;
    bool forced_alone = false;           // the first primary --force comes before the first connect
    bool wait_for_first_sync = true;     // before the faults begin
    bool promote_anything = false;       // also where it makes a split brain
    bool lost_primary_restarts = false;  // what pri-lost and pri-lost-after-sb do
    unsigned failing_disk = 0;  // the side whose disk has errors; with both there are no good data left
    unsigned failing_handlers_percent = 0;
    bool both_machines_fail = false;  // a power loss may take both
    uint64_t chaos_us = 20'000'000;
    uint64_t pause_us_max = 2'000'000;  // between two things that happen
    uint64_t outage_us_max = 5'000'000;
};

}  // namespace duplex::sim
