// What every program that the process starts has in common: it must not inherit the signals that the process
// blocks for its signalfd, nor ignored ones, and has no input.
#pragma once

#include <csignal>
#include <fcntl.h>
#include <spawn.h>
#include <unistd.h>

#include "base/ensure.hpp"

namespace duplex::runtime {

struct SpawnSettings {
    posix_spawnattr_t attributes{};
    posix_spawn_file_actions_t files{};

    SpawnSettings() {
        ensure(posix_spawnattr_init(&attributes) == 0 && posix_spawn_file_actions_init(&files) == 0);
        sigset_t none, all;
        sigemptyset(&none);
        sigfillset(&all);
        posix_spawnattr_setsigmask(&attributes, &none);
        posix_spawnattr_setsigdefault(&attributes, &all);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
        posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    }
    ~SpawnSettings() {
        posix_spawn_file_actions_destroy(&files);
        posix_spawnattr_destroy(&attributes);
    }
    SpawnSettings(const SpawnSettings&) = delete;
    SpawnSettings& operator=(const SpawnSettings&) = delete;
};

}  // namespace duplex::runtime
