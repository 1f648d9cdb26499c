// A simulated machine: its disks and clock, and while it is up the process, which is one engine::Resource.
// Starting, killing and cutting the power are what the world does to it; everything else are commands to the
// resource.
#pragma once

#include <memory>
#include <string>

#include "engine/device.hpp"
#include "engine/resource.hpp"
#include "sim/clock.hpp"
#include "sim/disk.hpp"
#include "sim/host.hpp"
#include "sim/meta_data.hpp"
#include "sim/network.hpp"
#include "sim/scenario.hpp"
#include "sim/turn.hpp"

namespace duplex::sim {

class Node final : public Turn {
  public:
    // after_run is called after every Resource::run().
    Node(Scheduler& scheduler, Journal& journal, Cable& cable, const Scenario& scenario, unsigned side,
         std::function<void(Node&)> after_run);
    ~Node();

    unsigned side() const { return side_; }
    bool running() const { return resource_ != nullptr; }
    engine::Resource& resource() { return *resource_; }
    engine::Volume& volume() { return *resource_->volume(0); }
    // The inside, for the checkers; nullptr while the process does not run.
    const engine::Device* device() const { return device_; }
    engine::State state() const { return device_ ? device_->state() : engine::State{}; }
    uint64_t incarnation() const { return incarnation_; }

    // The process, with a diskless volume.
    void start();
    // Drops everything that is under way, then the process; power: also what the disks had not stored.
    void stop(bool power);

    engine::AttachCommand attach_command() const;
    engine::ConnectCommand connect_command(bool discard_my_data) const;

    Disk& data_disk() { return data_; }
    const Disk& data_disk() const { return data_; }
    Disk& meta_disk() { return external_ ? *meta_ : data_; }
    const MetaData& meta_data() const { return meta_data_; }
    MetaData& meta_data() { return meta_data_; }
    Host& host() { return host_; }
    const std::string& name() const { return host_.name(); }

    void turn() override;

  private:
    Scheduler& scheduler_;
    Cable& cable_;
    const Scenario& scenario_;
    unsigned side_;
    bool external_;
    std::function<void(Node&)> after_run_;
    Clock clock_;
    Network network_;
    Host host_;
    Disk data_;
    std::unique_ptr<Disk> meta_;
    MetaData meta_data_;
    std::unique_ptr<engine::Resource> resource_;
    const engine::Device* device_ = nullptr;
    Scheduler::EventId run_event_ = 0;
    uint64_t incarnation_ = 0;
};

}  // namespace duplex::sim
