// Who uses a block device, as far as user space can see it. Blocks while it reads /proc, and its exclusive
// open of the device may wait for the device: not for the thread that serves it.
#pragma once

#include <span>
#include <string>
#include <sys/types.h>
#include <vector>

namespace duplex::exports::fuse {

// "mkfs.ext4[1234]" for a process that has it open, "mounted on /mnt", "held by dm-0", "swap"; empty: nobody.
// Processes in other PID namespaces are seen only from their parents; a mount or another exclusive use is
// noticed wherever it is. The processes in `except` do not count.
std::vector<std::string> users_of_block_device(const std::string& path, dev_t device,
                                               std::span<const pid_t> except);

// The kernel's uevent handlers look at each changed device for a moment.
bool is_udev(const std::string& user);

}  // namespace duplex::exports::fuse
