// The commands. Each prints its own messages and returns an exit code.
#pragma once

#include "tools/drbdmeta/device.hpp"
#include "tools/drbdmeta/options.hpp"

namespace duplex::drbdmeta {

int get_gi(const Options& options, Device& device);
int show_gi(const Options& options, Device& device);
int set_gi(const Options& options, Device& device);
int dump_md(const Options& options, Device& device);
int restore_md(const Options& options, Device& device);
int apply_al(const Options& options, Device& device);
int create_md(const Options& options, Device& device);
int wipe_md(const Options& options, Device& device);
int outdate(const Options& options, Device& device);
int invalidate(const Options& options, Device& device);
int dstate(const Options& options, Device& device);
int check_resize(const Options& options, Device& device);
int read_dev_uuid(const Options& options, Device& device);
int write_dev_uuid(const Options& options, Device& device);

// Needs no device.
int verify_dump(const Options& options);

}  // namespace duplex::drbdmeta
