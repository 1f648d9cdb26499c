// A simulated machine: its disks and clock, and while it is up the process, which is one engine::Resource.
// Starting, killing and cutting the power are what the world does to it; everything else are commands to the
// resource.
#pragma once

#include <memory>
#include <string>
#include <vector>

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
    engine::Volume& volume(unsigned number = 0) { return *resource_->volume(number); }
    // The inside, for the checkers; nullptr while the process does not run.
    const engine::Device* device(unsigned volume = 0) const;
    engine::State state(unsigned volume = 0) const;
    engine::ConnState connection_state() const;
    uint64_t incarnation() const { return incarnation_; }

    // The process, with diskless volumes.
    void start();
    // Drops everything that is under way, then the process; power: also what the disks had not stored.
    void stop(bool power);

    engine::AttachCommand attach_command(unsigned volume = 0) const;
    engine::ConnectCommand connect_command(bool discard_my_data) const;

    Disk& data_disk(unsigned volume = 0) { return volume == 0 ? data_ : *more_.at(volume - 1).data; }
    const Disk& data_disk(unsigned volume = 0) const {
        return volume == 0 ? data_ : *more_.at(volume - 1).data;
    }
    Disk& meta_disk() { return external_ ? *meta_ : data_; }
    const MetaData& meta_data(unsigned volume = 0) const {
        return volume == 0 ? meta_data_ : more_.at(volume - 1).meta_data;
    }
    MetaData& meta_data(unsigned volume = 0) {
        return volume == 0 ? meta_data_ : more_.at(volume - 1).meta_data;
    }
    Host& host() { return host_; }
    const std::string& name() const { return host_.name(); }

    void turn() override;
    // What the processes of a machine tell each other for resync-after (states 12.6). true: a volume was
    // told.
    bool settle_resync_order();

  private:
    // The disk of a volume behind the first.
    struct MoreDisk {
        std::unique_ptr<Disk> data;
        MetaData meta_data;
    };

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
    std::vector<MoreDisk> more_;
    std::unique_ptr<engine::Resource> resource_;
    Scheduler::EventId run_event_ = 0;
    uint64_t incarnation_ = 0;
};

}  // namespace duplex::sim
