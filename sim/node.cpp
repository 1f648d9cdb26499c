#include "sim/node.hpp"

#include <fmt/format.h>

#include "base/ensure.hpp"
#include "engine/resync_after.hpp"
#include "meta/bitmap.hpp"

namespace duplex::sim {

namespace {

constexpr uint64_t batch_us_max = 100;

// Room for data_sectors at least; drbd.conf's "size" makes it exactly that on both nodes.
uint64_t backing_sectors(const Scenario& scenario, bool external) {
    if (external) return scenario.data_sectors;
    return scenario.data_sectors + meta::internal_bitmap_sectors(scenario.data_sectors) + 160;
}

// Flexible meta data on a device of its own: 4 KiB superblock, activity log, bitmap, and at least 1 MiB.
uint64_t meta_sectors(const Scenario& scenario) {
    return 2048 + meta::internal_bitmap_sectors(scenario.data_sectors);
}

}  // namespace

Node::Node(Scheduler& scheduler, Journal& journal, Cable& cable, const Scenario& scenario, unsigned side,
           std::function<void(Node&)> after_run)
    : scheduler_(scheduler),
      cable_(cable),
      scenario_(scenario),
      side_(side),
      external_(scenario.external_meta[side]),
      after_run_(std::move(after_run)),
      clock_(scheduler, *this, scheduler.random.below(1'000'000'000)),
      network_(cable, side, *this),
      host_(scheduler, *this, journal, side == 0 ? "alpha" : "beta", scenario.handlers),
      data_(scheduler, *this, backing_sectors(scenario, external_), scenario.disks[side]),
      meta_(external_ ? std::make_unique<Disk>(scheduler, *this, meta_sectors(scenario), scenario.disks[side])
                      : nullptr),
      meta_data_(external_ ? *meta_ : data_,
                 external_ ? meta::MetaIndex::flexible() : meta::MetaIndex::internal()) {
    cable.plug(network_);
    host_.add_disk("/dev/data", data_);
    if (external_) host_.add_disk("/dev/meta", *meta_);
    for (unsigned volume = 1; volume < scenario.volumes; ++volume) {
        auto disk =
            std::make_unique<Disk>(scheduler, *this, backing_sectors(scenario, false), scenario.disks[side]);
        host_.add_disk(fmt::format("/dev/data{}", volume), *disk);
        MetaData meta_data(*disk, meta::MetaIndex::internal());
        more_.push_back({std::move(disk), std::move(meta_data)});
    }
}

const engine::Device* Node::device(unsigned volume) const {
    return resource_ ? static_cast<const engine::Device*>(resource_->volume(volume)) : nullptr;
}

engine::State Node::state(unsigned volume) const {
    const engine::Device* const found = device(volume);
    return found ? found->state() : engine::State{};
}

engine::ConnState Node::connection_state() const {
    return resource_ ? resource_->status().connection.state : engine::ConnState::stand_alone;
}

Node::~Node() {
    if (running()) stop(false);
}

void Node::start() {
    ensure(!running());
    ++incarnation_;
    cable_.power_on(side_);
    resource_ = std::make_unique<engine::Resource>(engine::Ports{clock_, network_, host_}, "r0",
                                                   scenario_.resource, scenario_.limits);
    for (unsigned volume = 0; volume < scenario_.volumes; ++volume) resource_->add_volume(volume, volume);
    turn();
}

void Node::stop(bool power) {
    ensure(running());
    scheduler_.cancel(run_event_);
    run_event_ = 0;
    data_.drop_operations();
    if (external_) meta_->drop_operations();
    for (MoreDisk& more : more_) more.data->drop_operations();
    clock_.power_off();
    if (power)
        cable_.power_off(side_);
    else
        cable_.kill(side_);
    host_.power_off();
    resource_.reset();
    if (!power) return;
    data_.lose_power();
    if (external_) meta_->lose_power();
    for (MoreDisk& more : more_) more.data->lose_power();
}

engine::AttachCommand Node::attach_command(unsigned volume) const {
    engine::AttachCommand command;
    if (volume > 0) {
        command.data_path = command.meta_path = fmt::format("/dev/data{}", volume);
        command.options = scenario_.disk;
        command.options.size_sectors = scenario_.data_sectors;
        if (scenario_.resync_after) command.options.resync_after = 0;
        return command;
    }
    command.data_path = "/dev/data";
    command.meta_path = external_ ? "/dev/meta" : "/dev/data";
    command.meta_index = external_ ? -2 : -1;
    command.options = scenario_.disk;
    command.options.size_sectors = scenario_.data_sectors;
    return command;
}

engine::ConnectCommand Node::connect_command(bool discard_my_data) const {
    engine::ConnectCommand command;
    command.local = {"ipv4", side_ == 0 ? "10.0.7.105" : "10.0.7.106", 7788};
    command.peer = {"ipv4", side_ == 0 ? "10.0.7.106" : "10.0.7.105", 7788};
    command.options = scenario_.net;
    // The nodes' files name the same node.
    using Policy = config::AfterSplitBrain;
    Policy& policy = command.options.after_sb_0pri;
    if (side_ == 1 && policy == Policy::discard_local)
        policy = Policy::discard_remote;
    else if (side_ == 1 && policy == Policy::discard_remote)
        policy = Policy::discard_local;
    command.discard_my_data = discard_my_data;
    return command;
}

void Node::turn() {
    if (run_event_ != 0 || !running()) return;
    // Now and then several completions come in one batch.
    const uint64_t delay_us = scheduler_.random.below(8) == 0 ? scheduler_.random.below(batch_us_max) : 0;
    run_event_ = scheduler_.after(delay_us, [this] {
        run_event_ = 0;
        resource_->run();
        while (scenario_.resync_after && settle_resync_order()) resource_->run();
        after_run_(*this);
    });
}

bool Node::settle_resync_order() {
    const std::vector<engine::VolumeStatus> volumes = resource_->status().volumes;
    const auto find = [&volumes](unsigned minor) -> std::optional<engine::ResyncAfter> {
        for (const engine::VolumeStatus& volume : volumes)
            if (volume.minor == minor) return engine::resync_after_of(volume);
        return std::nullopt;
    };
    bool told = false;
    for (const engine::VolumeStatus& volume : volumes) {
        const bool pause =
            engine::resync_after_of(volume).has_disk && !engine::may_sync_now(volume.minor, find);
        if (pause == volume.state.aftr_isp) continue;
        resource_->pause_after_others(volume.volume, pause);
        told = true;
    }
    return told;
}

}  // namespace duplex::sim
