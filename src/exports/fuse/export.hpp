// The volume as /dev/drbdN where the kernel offers no better way: a FUSE file system of one file, and a loop
// device on that file. The loop device is attached and steered by a small process of its own
// (fuse/loop_helper.hpp), because each of the steps reads the FUSE file, which this process's one thread has
// to answer meanwhile.
//
// Read-only while Secondary: reads and writes fail then with EIO; a loop device cannot refuse to be opened.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "engine/volume.hpp"
#include "exports/device_node.hpp"
#include "exports/fuse/file.hpp"
#include "exports/fuse/loop_device.hpp"
#include "exports/log.hpp"
#include "runtime/loop.hpp"
#include "runtime/operation.hpp"

namespace duplex::exports::fuse {

class Export final : public DeviceNode, private engine::VolumeWatcher {
  public:
    // Loop and volume outlive the export.
    Export(runtime::Loop& loop, engine::Volume& volume, const Log& log);
    ~Export() override;
    Export(const Export&) = delete;
    Export& operator=(const Export&) = delete;

    Status start(const std::string& file_path, const std::string& device_path) override;
    void when_settled(std::function<void(Status)> done) override;
    void check_unused(std::function<void(std::string who)> done) override;
    void stop(std::function<void()> done) override;

  private:
    void size_changed(uint64_t size_sectors) override;
    void primary_changed(bool primary) override;
    void file_stopped();

    engine::Volume& volume_;
    Log log_;
    File file_;
    LoopDevice device_;
    bool started_ = false;
    std::function<void()> stopped_;
};

}  // namespace duplex::exports::fuse
