// The volume as /dev/drbdN where the kernel offers no better way: a FUSE file system of one file, and a loop
// device on that file. The loop device is attached and steered by a small process of its own
// (fuse/loop_helper.hpp), because each of the steps reads the FUSE file, which this process's one thread has
// to answer meanwhile.
//
// /dev/drbdN exists from start() to stop(): with size 0 while there is no disk, read-only while Secondary
// (reads and writes fail then with EIO; a loop device cannot refuse to be opened).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "engine/volume.hpp"
#include "exports/fuse/file.hpp"
#include "exports/fuse/loop_device.hpp"
#include "exports/log.hpp"
#include "runtime/loop.hpp"
#include "runtime/operation.hpp"

namespace duplex::exports::fuse {

class Export final : public engine::VolumeWatcher {
  public:
    // Loop and volume outlive the export.
    Export(runtime::Loop& loop, engine::Volume& volume, const Log& log);
    ~Export();  // before start(), or after stop() has called back
    Export(const Export&) = delete;
    Export& operator=(const Export&) = delete;

    // mount_path: the FUSE file ($DUPLEX_RUN_DIR/fuse/drbdN; its directory is made if need be); device_path:
    // /dev/drbdN. What an earlier process left at either is replaced. An error here says why there can be no
    // FUSE file; what becomes of the device is told by when_settled().
    Status start(const std::string& mount_path, const std::string& device_path);

    // Calls back from the loop once the block device is there and shows the volume's size and role as they
    // are at that moment, or with the reason why it cannot: to be awaited before `new-minor`, `attach` and
    // `primary` are answered.
    void when_settled(std::function<void(Status)> done);

    // Who has the block device open or mounted ("mkfs.ext4[1234], mounted on /mnt"); empty: nobody, and
    // everything that was written to it has reached the volume. To be asked before a demotion.
    void check_unused(std::function<void(std::string who)> done);

    // Removes the device node and the FUSE file; requests already taken are finished first. `done` comes from
    // the loop, once.
    void stop(std::function<void()> done);

    void size_changed(uint64_t size_sectors) override;
    void primary_changed(bool primary) override;

  private:
    void file_stopped();

    engine::Volume& volume_;
    Log log_;
    File file_;
    LoopDevice device_;
    bool started_ = false;
    std::function<void()> stopped_;
};

}  // namespace duplex::exports::fuse
