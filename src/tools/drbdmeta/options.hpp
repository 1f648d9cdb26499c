// The command line of drbdmeta (meta data 15.1).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "meta/layout.hpp"

namespace duplex::drbdmeta {

enum class BitmapInit : uint8_t { automatic, zeroout, pwrite, skip };

struct Options {
    bool force = false;
    unsigned verbose = 0;
    bool ignore_sanity_checks = false;
    bool dry_run = false;
    uint32_t peer_max_bio_size_bytes = 0;
    std::optional<uint32_t> al_stripes;
    std::optional<uint32_t> al_stripe_size_4k;
    BitmapInit bitmap_init = BitmapInit::automatic;
    std::optional<int> node_id;

    std::string command_line;  // as called, for the dump's header
    std::string drbd_device;   // first word
    std::optional<int> minor;  // none for "-"
    std::string device;        // the meta data device
    meta::MetaIndex index;
    std::string command;
    std::vector<std::string> arguments;

    bool striping_given() const { return al_stripes || al_stripe_size_4k; }
    meta::AlStriping striping() const { return {al_stripes.value_or(1), al_stripe_size_4k.value_or(8)}; }
};

// nullopt after having told the user; the exit code is in `exit_code`.
std::optional<Options> parse_command_line(int argc, char** argv, int& exit_code);

}  // namespace duplex::drbdmeta
