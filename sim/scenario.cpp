#include "sim/scenario.hpp"

#include <fmt/format.h>

namespace duplex::sim {

namespace {

constexpr uint64_t mib_sectors = (uint64_t{1} << 20) / sector_bytes;

unsigned weight(Random& random, unsigned percent_of_runs) {
    return random.chance(percent_of_runs) ? static_cast<unsigned>(random.between(1, 10)) : 0;
}

void draw_machines(Random& random, Scenario& s) {
    s.skip_initial_sync = random.chance(40);
    // A set of extents that does not fit into the activity log takes a large device; that one is never fully
    // synced.
    const bool large = s.skip_initial_sync && random.chance(40);
    s.data_sectors =
        (large ? random.between(300, 700) : random.between(5, random.chance(70) ? 9 : 24)) * mib_sectors +
        random.below(64) * 8;
    if (random.chance(20)) s.data_sectors += random.below(8);
    for (const size_t side : {size_t{0}, size_t{1}}) {
        s.external_meta[side] = random.chance(30);
        DiskModel& disk = s.disks[side];
        disk.volatile_cache = random.chance(85);
        disk.delay_us_min = random.between(5, 100);
        disk.delay_us_max = disk.delay_us_min + random.between(10, random.chance(20) ? 50'000 : 3'000);
        disk.slow_percent = random.chance(20) ? 5 : 0;
        disk.can_discard = random.chance(70);
    }
    s.network.latency_us_min = random.between(10, 500);
    s.network.latency_us_max =
        s.network.latency_us_min + random.between(10, random.chance(20) ? 10'000 : 1'000);
    s.network.window_bytes =
        random.chance(30) ? random.between(4 << 10, 64 << 10) : random.between(128 << 10, 1 << 20);
    s.network.segment_bytes_max =
        random.chance(20) ? random.between(700, 3000) : random.between(4 << 10, 128 << 10);
    s.limits.buffer_arena_bytes = size_t{random.chance(20) ? 2u : 4u} << 20;
    s.limits.peer_arena_bytes = size_t{random.chance(20) ? 2u : 4u} << 20;
    s.limits.requests_max = random.chance(20) ? 16 : 256;
    s.limits.peer_requests_max = 512;
    s.limits.packets_max = 2048;
}

void draw_configuration(Random& random, Scenario& s) {
    config::NetOptions& net = s.net;
    net.protocol = random.chance(70)   ? config::Protocol::c
                   : random.chance(50) ? config::Protocol::a
                                       : config::Protocol::b;
    net.allow_two_primaries = net.protocol == config::Protocol::c && random.chance(25);
    net.timeout_ds = static_cast<uint32_t>(random.between(10, 60));
    net.ping_int_s = static_cast<uint32_t>(random.between(1, 10));
    net.connect_int_s = static_cast<uint32_t>(random.between(1, 5));
    net.ping_timeout_ds = static_cast<uint32_t>(random.between(2, 10));
    net.ko_count = static_cast<uint32_t>(random.between(1, 7));
    net.max_epoch_size = random.chance(30) ? static_cast<uint32_t>(random.between(1, 20)) : 2048;
    net.max_buffers = random.chance(30) ? static_cast<uint32_t>(random.between(32, 100)) : 2048;
    net.use_rle = random.chance(70);
    if (random.chance(20)) {
        net.cram_hmac_alg = "sha1";
        net.shared_secret = "secret";
    }
    if (random.chance(15)) net.data_integrity_alg = "crc32c";
    if (random.chance(25)) net.csums_alg = "crc32c";

    config::DiskOptions& disk = s.disk;
    disk.resync_rate_kib = static_cast<uint32_t>(random.between(1000, 30'000));
    disk.c_plan_ahead_ds = random.chance(30) ? 0 : 20;
    disk.c_fill_target_sectors = random.chance(50) ? 100 : static_cast<uint32_t>(random.between(200, 5000));
    // Not so low that a resync under a load that never ends takes for ever.
    disk.c_min_rate_kib = random.chance(50) ? 4000 : 0;
    disk.al_extents = 67;
    disk.on_io_error = random.chance(70) ? config::OnIoError::detach : config::OnIoError::pass_on;
    const bool cacheless = !s.disks[0].volatile_cache && !s.disks[1].volatile_cache;
    if (cacheless && random.chance(50)) disk.disk_flushes = disk.md_flushes = false;
    s.resource.on_no_data_accessible =
        random.chance(80) ? config::OnNoData::io_error : config::OnNoData::suspend_io;
}

void draw_workload(Random& random, Scenario& s) {
    WorkloadModel& w = s.workload;
    w.depth = static_cast<unsigned>(random.chance(30) ? random.between(1, 2) : random.between(3, 32));
    w.think_us_max = random.chance(50) ? random.between(1'000, 20'000) : random.between(20'000, 400'000);
    w.sectors_max = static_cast<uint32_t>(random.chance(60) ? 16 : 256);
    w.write_percent = static_cast<unsigned>(random.between(30, 95));
    w.flush_percent = static_cast<unsigned>(random.below(8));
    w.fua_percent = static_cast<unsigned>(random.below(8));
    w.discard_percent = random.chance(30) ? static_cast<unsigned>(random.between(1, 8)) : 0;
    w.zeroes_percent = random.chance(30) ? static_cast<unsigned>(random.between(1, 8)) : 0;
    w.unaligned_percent = random.chance(50) ? 0 : static_cast<unsigned>(random.between(5, 60));
    w.overlapping = random.chance(20);
    w.conflicting = s.net.allow_two_primaries && random.chance(40);
    const bool many = s.data_sectors > 200 * mib_sectors;
    const uint64_t ranges = many ? random.between(4, 120) : random.between(1, 6);
    for (uint64_t i = 0; i < ranges; ++i) {
        const uint64_t size = 8 * random.between(1, many ? 16 : 64);
        uint64_t first = random.below(s.data_sectors - size) / 8 * 8;
        if (random.chance(20)) first = s.data_sectors - size;  // up to the last sector
        // Across the border of two extents.
        if (random.chance(20) && s.data_sectors > 2 * sectors_per_al_extent)
            first = sectors_per_al_extent * random.between(1, s.data_sectors / sectors_per_al_extent - 1) -
                    size / 2;
        w.ranges.push_back({first, size});
    }
}

void draw_faults(Random& random, Scenario& s) {
    Weights& w = s.weights;
    w.power_loss = weight(random, 60);
    w.kill = weight(random, 30);
    w.cut = weight(random, 50);
    w.reset = weight(random, 40);
    w.disk_error = weight(random, 15);
    w.promote = weight(random, 70) + 1;
    w.demote = weight(random, 50);
    w.disconnect = weight(random, 30);
    w.detach = weight(random, 20);
    w.invalidate = s.data_sectors > 100 * mib_sectors ? 0 : weight(random, 15);
    w.pause = weight(random, 15);
    if (random.chance(5)) w = Weights{};
    s.failing_disk = static_cast<unsigned>(random.below(2));
    s.failing_handlers_percent = random.chance(10) ? 20 : 0;
    s.forced_alone = !s.skip_initial_sync && random.chance(30);
    s.wait_for_first_sync = random.chance(70);
    s.promote_anything = random.chance(20);
    s.both_machines_fail = random.chance(40);
    s.chaos_us = random.between(2'000'000, 40'000'000);
    s.pause_us_max = random.between(200'000, 4'000'000);
    s.outage_us_max = random.between(500'000, 15'000'000);
}

void draw_extras(Random& random, Scenario& s) {
    s.net.verify_alg = "sha1";
    s.weights.verify = weight(random, 60);
    if (random.chance(50)) s.net.csums_alg = "crc32c";
    if (s.net.protocol == config::Protocol::a && random.chance(70)) {
        s.net.on_congestion = config::OnCongestion::pull_ahead;
        s.net.congestion_fill_sectors = static_cast<uint32_t>(random.between(32, 1000));
        s.net.congestion_extents = static_cast<uint32_t>(random.between(8, 67));
    }
    if (random.chance(30))
        s.disk.fencing = s.net.protocol == config::Protocol::a ? config::Fencing::resource_only
                                                               : config::Fencing::resource_and_stonith;
    if (random.chance(30)) s.disk.rs_discard_granularity_bytes = 65536;
    s.disk.read_balancing = static_cast<config::ReadBalancing>(random.below(11));
}

void draw_rest(Random& random, Scenario& s) {
    using Policy = config::AfterSplitBrain;
    if (random.chance(30)) {
        const Policy policies[] = {Policy::discard_younger_primary, Policy::discard_older_primary,
                                   Policy::discard_zero_changes, Policy::discard_least_changes};
        s.net.after_sb_0pri = policies[random.below(4)];
        s.net.after_sb_1pri = random.chance(50) ? Policy::discard_secondary : Policy::consensus;
        s.promote_anything |= random.chance(50);
    }
    if (s.disk.on_io_error == config::OnIoError::detach && random.chance(20))
        s.disk.on_io_error = config::OnIoError::call_local_io_error;
    if (random.chance(25)) s.weights.suspend = weight(random, 100);
    // The whole device goes over the wire.
    if (s.data_sectors < 100 * mib_sectors) s.weights.invalidate_remote = weight(random, 15);
    s.weights.force_detach = weight(random, 10);
}

// Two volumes take twice the time: not on large devices.
void draw_volumes(Random& random, Scenario& s) {
    if (s.data_sectors > 100 * mib_sectors || !random.chance(70)) return;
    s.volumes = 2;
    s.volumes_apart = random.chance(40);
    s.resync_after = random.chance(30);
    // Else one node seldom wants the one volume while the other has the other.
    if (s.volumes_apart) s.weights.promote += 5, s.weights.demote += 5;
}

void draw_policies(Random& random, Scenario& s) {
    using Policy = config::AfterSplitBrain;
    using Conflict = config::RrConflict;
    const Policy without[] = {
        Policy::disconnect,           Policy::discard_younger_primary, Policy::discard_older_primary,
        Policy::discard_zero_changes, Policy::discard_least_changes,   Policy::discard_local,
        Policy::discard_remote};
    const Policy with_one[] = {Policy::disconnect, Policy::consensus, Policy::discard_secondary,
                               Policy::call_pri_lost_after_sb, Policy::violently_as0p};
    const Policy with_two[] = {Policy::disconnect, Policy::call_pri_lost_after_sb, Policy::violently_as0p};
    const Conflict conflicts[] = {Conflict::disconnect, Conflict::call_pri_lost, Conflict::violently};
    config::NetOptions& net = s.net;
    net.after_sb_0pri = without[random.below(7)];
    net.after_sb_1pri = with_one[random.below(5)];
    net.after_sb_2pri = with_two[random.below(3)];
    net.rr_conflict = conflicts[random.below(3)];
    net.always_asbp = random.chance(30);
    s.lost_primary_restarts = random.chance(60);
    s.promote_anything |= random.chance(50);
    if (net.protocol == config::Protocol::c && random.chance(40)) net.allow_two_primaries = true;
}

}  // namespace

Scenario Scenario::draw(Random& random, uint64_t seed) {
    Scenario s;
    draw_machines(random, s);
    draw_configuration(random, s);
    draw_workload(random, s);
    draw_faults(random, s);
    if (seed >= first_seed_with_extras) {
        Random extras(~seed);
        draw_extras(extras, s);
        if (seed >= first_seed_with_all) draw_rest(extras, s);
    }
    if (seed >= first_seed_with_policies) {
        Random policies(seed * 0x9e3779b97f4a7c15);
        draw_policies(policies, s);
    } else if (seed >= first_seed_with_volumes) {
        Random volumes(~seed << 1);
        draw_volumes(volumes, s);
    }
    return s;
}

std::string Scenario::describe() const {
    const char* const protocols[] = {"?", "A", "B", "C"};
    return fmt::format(
        "{} KiB, protocol {}{}{}, cache {}/{}, meta {}/{}, depth {}, {} ranges, weights: power {} kill {} "
        "cut {} reset {} "
        "disk {} promote {} demote {} disconnect {} detach {} invalidate {} pause {} verify {} suspend {} "
        "invalidate-remote {} force-detach {}{}{}{}{}{}{}{}{}",
        data_sectors / 2, protocols[static_cast<int>(net.protocol)],
        net.allow_two_primaries ? " two-primaries" : "", workload.conflicting ? " conflicting" : "",
        disks[0].volatile_cache, disks[1].volatile_cache, external_meta[0] ? "external" : "internal",
        external_meta[1] ? "external" : "internal", workload.depth, workload.ranges.size(),
        weights.power_loss, weights.kill, weights.cut, weights.reset, weights.disk_error, weights.promote,
        weights.demote, weights.disconnect, weights.detach, weights.invalidate, weights.pause, weights.verify,
        weights.suspend, weights.invalidate_remote, weights.force_detach,
        net.after_sb_0pri != config::AfterSplitBrain::disconnect || may_decide_against_primary()
            ? fmt::format(", after-sb {}/{}/{}, rr-conflict {}", static_cast<int>(net.after_sb_0pri),
                          static_cast<int>(net.after_sb_1pri), static_cast<int>(net.after_sb_2pri),
                          static_cast<int>(net.rr_conflict))
            : "",
        disk.fencing != config::Fencing::dont_care ? ", fencing" : "",
        net.on_congestion != config::OnCongestion::block ? ", pulls ahead" : "",
        promote_anything ? ", promotes anything" : "", both_machines_fail ? ", both fail" : "",
        volumes > 1 ? ", two volumes" : "", volumes_apart ? " apart" : "",
        resync_after ? ", resync-after" : "");
}

}  // namespace duplex::sim
