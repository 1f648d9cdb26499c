// The one-line state commands and sh-status (cli 22).
#pragma once

#include <string>

#include "engine/status.hpp"

namespace duplex::control {

// With their line end; "Unconfigured" for a volume that is StandAlone and Diskless.
std::string role_text(const engine::VolumeStatus& volume);
std::string cstate_text(const engine::VolumeStatus& volume);
std::string dstate_text(const engine::VolumeStatus& volume);

// "CUR:BM:H1:H2:f:f:f:f:f:f:f"; the volume has a disk.
std::string generation_text(const engine::DiskStatus& disk);
// The same with explanations (meta data 16.2, up to the line of flags: the rest is not known of a running
// disk).
std::string explained_generation_text(const engine::DiskStatus& disk);

std::string sh_status_text(const engine::ResourceStatus& resource, const engine::VolumeStatus& volume);
// A minor that no process has.
std::string sh_status_unknown_minor_text(unsigned minor);
// A resource without volumes.
std::string sh_status_no_volume_text(const engine::ResourceStatus& resource);

}  // namespace duplex::control
