// How one volume's block device reaches its users: the exports that the settings ask for, from the minor's
// creation to its removal.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.hpp"
#include "control/run_dir.hpp"
#include "duplexd/settings.hpp"
#include "engine/volume.hpp"
#include "exports/device_node.hpp"
#include "exports/fuse/module.hpp"
#include "exports/nbd/server.hpp"
#include "runtime/loop.hpp"

namespace duplex::duplexd {

class VolumeExports {
  public:
    // Loop and volume outlive it. fuse: nullptr if no block device is wanted.
    VolumeExports(runtime::Loop& loop, engine::Volume& volume, std::string resource,
                  const control::RunDir& run_dir, const exports::fuse::Module* fuse);
    ~VolumeExports();  // after stop() has called back

    // On an error some may run: stop() all the same.
    Status start(const Settings& settings);
    // Calls back once the block device shows the volume as it is now, or cannot.
    void when_settled(std::function<void(Status)> done);
    // Who has the block device open; empty: nobody.
    void check_unused(std::function<void(std::string who)> done);
    void stop(std::function<void()> done);

  private:
    void stop_device(std::function<void()> done);

    runtime::Loop& loop_;
    engine::Volume& volume_;
    std::string resource_;
    control::RunDir run_dir_;
    const exports::fuse::Module* fuse_;
    std::unique_ptr<exports::nbd::Server> nbd_;
    std::unique_ptr<exports::DeviceNode> device_;
};

}  // namespace duplex::duplexd
