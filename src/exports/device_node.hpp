// /dev/drbdN: one volume as a block device, whatever brings it into the kernel. The node exists from start()
// to stop(): with size 0 while there is no disk, and as the role allows.
#pragma once

#include <functional>
#include <string>

#include "base/result.hpp"

namespace duplex::exports {

class DeviceNode {
  public:
    virtual ~DeviceNode() = default;  // before start(), or after stop() has called back

    // file_path: where an export that needs a file of its own ($DUPLEX_RUN_DIR/fuse/drbdN) may make one, with
    // its directory; device_path: /dev/drbdN. What an earlier process left at either is replaced. An error
    // here says why there can be no device; what becomes of it is told by when_settled().
    virtual Status start(const std::string& file_path, const std::string& device_path) = 0;

    // Calls back from the loop once the block device is there and shows the volume's size and role as they
    // are at that moment, or with the reason why it cannot: to be awaited before `new-minor`, `attach` and
    // `primary` are answered.
    virtual void when_settled(std::function<void(Status)> done) = 0;

    // Who has the block device open or mounted ("mkfs.ext4[1234], mounted on /mnt"); empty: nobody, and
    // everything that was written to it has reached the volume. To be asked before a demotion.
    virtual void check_unused(std::function<void(std::string who)> done) = 0;

    // Removes the node; requests already taken are finished first. `done` comes from the loop, once.
    virtual void stop(std::function<void()> done) = 0;
};

}  // namespace duplex::exports
