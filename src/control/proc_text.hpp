// The text of /proc/drbd, as DRBD 8.4.11 prints it (cli 26).
#pragma once

#include <span>
#include <string>

#include "engine/status.hpp"

namespace duplex::control {

// What the progress lines are computed from, in bits (4 KiB) and whole seconds (cli 26.4).
struct ProgressNumbers {
    bool verify = false;
    uint64_t total_bits = 0;
    uint64_t left_bits = 0;
    uint64_t recent_bits = 0;  // done in the last recent_s seconds
    uint64_t recent_s = 1;     // at least 1
    uint64_t average_kib = 0;  // per second
    bool shows_wanted = false;
    uint64_t wanted_kib = 0;
    bool stalled = false;
};

ProgressNumbers progress_numbers(const engine::SyncProgress& sync, wire::ConnState state);
// At the present speed.
uint64_t speed_kib(const ProgressNumbers& numbers);
uint64_t rest_seconds(const ProgressNumbers& numbers);

// 0..1000, as the kernel computes it.
unsigned progress_per_mille(uint64_t total_bits, uint64_t left_bits);

std::string progress_lines(const ProgressNumbers& numbers);

// One minor's lines.
std::string proc_device_text(const engine::ResourceStatus& resource, const engine::VolumeStatus& volume);

// A minor of a process that says nothing about it.
struct SilentMinor {
    unsigned minor = 0;
    std::string resource;
    bool dead = false;  // the process is gone; else it does not answer
};

// The whole file: all minors of the node in their order.
std::string proc_text(std::span<const engine::ResourceStatus> resources,
                      std::span<const SilentMinor> silent = {});

}  // namespace duplex::control
