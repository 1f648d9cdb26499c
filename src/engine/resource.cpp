#include "engine/resource.hpp"

#include "engine/core.hpp"

namespace duplex::engine {

Resource::Resource(const Ports& ports, std::string name, const config::ResourceOptions& options,
                   const Limits& limits)
    : core_(std::make_unique<Core>(ports, std::move(name), options, limits)) {}

Resource::~Resource() = default;

const std::string& Resource::name() const {
    return core_->name;
}

void Resource::run() {
    core_->run();
}

Volume* Resource::add_volume(unsigned number, unsigned minor) {
    if (core_->find(number)) return nullptr;
    auto& device = core_->devices[number];
    device = std::make_unique<Device>(*core_, number, minor);
    core_->ports.host.changed(static_cast<int>(number));
    if (core_->connection.established()) device->send_parameters();
    return device.get();
}

Volume* Resource::volume(unsigned number) {
    return core_->find(number);
}

void Resource::remove_volume(unsigned number, Done done) {
    Core& core = *core_;
    core.start_command([&core, number] { return core.remove_device(number); }, std::move(done));
}

void Resource::attach(unsigned volume, const AttachCommand& command, Done done) {
    core_->start_command(
        volume, [command](Device& device) { return device.attach(command); }, std::move(done));
}

void Resource::detach(unsigned volume, bool force, Done done) {
    core_->start_command(
        volume, [force](Device& device) { return device.detach(force); }, std::move(done));
}

void Resource::connect(const ConnectCommand& command, Done done) {
    Connection& connection = core_->connection;
    core_->start_command([&connection, command] { return connection.connect(command); }, std::move(done));
}

void Resource::disconnect(bool force, Done done) {
    Connection& connection = core_->connection;
    core_->start_command([&connection, force] { return connection.disconnect(force); }, std::move(done));
}

void Resource::primary(unsigned volume, const PrimaryCommand& command, Done done) {
    const bool force = command.force;
    core_->start_command(
        volume, [force](Device& device) { return device.set_role(Role::primary, force); }, std::move(done));
}

void Resource::secondary(unsigned volume, Done done) {
    core_->start_command(
        volume, [](Device& device) { return device.set_role(Role::secondary, false); }, std::move(done));
}

void Resource::outdate(unsigned volume, Done done) {
    core_->start_command(
        volume, [](Device& device) { return device.outdate(); }, std::move(done));
}

void Resource::invalidate(unsigned volume, Done done) {
    core_->start_command(
        volume, [](Device& device) { return device.invalidate(false); }, std::move(done));
}

void Resource::invalidate_remote(unsigned volume, Done done) {
    core_->start_command(
        volume, [](Device& device) { return device.invalidate(true); }, std::move(done));
}

void Resource::resize(unsigned volume, const ResizeCommand& command, Done done) {
    core_->start_command(
        volume, [command](Device& device) { return device.resize(command); }, std::move(done));
}

void Resource::verify(unsigned volume, const VerifyCommand& command, Done done) {
    core_->start_command(
        volume, [command](Device& device) { return device.verify.command(command); }, std::move(done));
}

void Resource::pause_sync(unsigned volume, Done done) {
    core_->start_command(
        volume, [](Device& device) { return device.pause_sync(true); }, std::move(done));
}

void Resource::pause_after_others(unsigned volume, bool pause) {
    if (Device* device = core_->find(volume)) device->pause_after_others(pause);
}

void Resource::resume_sync(unsigned volume, Done done) {
    core_->start_command(
        volume, [](Device& device) { return device.pause_sync(false); }, std::move(done));
}

void Resource::suspend_io(unsigned volume, Done done) {
    core_->start_command(
        volume, [](Device& device) { return device.suspend_io(true); }, std::move(done));
}

void Resource::resume_io(unsigned volume, Done done) {
    core_->start_command(
        volume, [](Device& device) { return device.suspend_io(false); }, std::move(done));
}

void Resource::new_current_uuid(unsigned volume, bool clear_bitmap, Done done) {
    core_->start_command(
        volume, [clear_bitmap](Device& device) { return device.new_current_uuid_command(clear_bitmap); },
        std::move(done));
}

void Resource::change_disk_options(unsigned volume, const config::DiskOptions& options, Done done) {
    core_->start_command(
        volume, [options](Device& device) { return device.change_disk_options(options); }, std::move(done));
}

void Resource::change_net_options(const config::NetOptions& options, Done done) {
    Connection& connection = core_->connection;
    core_->start_command([&connection, options] { return connection.change_options(options); },
                         std::move(done));
}

void Resource::change_resource_options(const config::ResourceOptions& options, Done done) {
    Core& core = *core_;
    core.start_command([&core, options] { return core.change_options(options); }, std::move(done));
}

ResourceStatus Resource::status() const {
    ResourceStatus status;
    status.name = core_->name;
    status.options = core_->options;
    status.connection = core_->connection.status();
    for (const auto& [number, device] : core_->devices) status.volumes.push_back(device->status());
    return status;
}

BufferPool& Resource::buffers() {
    return core_->buffers;
}

BufferPool& Resource::peer_buffers() {
    return core_->peer_buffers;
}

}  // namespace duplex::engine
