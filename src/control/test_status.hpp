// A resource's status for the tests of this layer.
#pragma once

#include "engine/status.hpp"

namespace duplex::control {

inline engine::VolumeStatus test_volume(unsigned volume, unsigned minor) {
    engine::VolumeStatus status;
    status.volume = volume;
    status.minor = minor;
    status.state.role = wire::Role::primary;
    status.state.peer = wire::Role::secondary;
    status.state.conn = wire::ConnState::connected;
    status.state.disk = wire::DiskState::up_to_date;
    status.state.pdsk = wire::DiskState::up_to_date;
    status.size_sectors = 2097152;
    status.epochs = 1;
    status.disk.emplace();
    status.disk->data_path = "/dev/sdb1";
    status.disk->meta_path = "/dev/sdb1";
    return status;
}

inline engine::ResourceStatus test_resource() {
    engine::ResourceStatus status;
    status.name = "r0";
    status.connection.state = wire::ConnState::connected;
    status.connection.configured = true;
    status.connection.local = {"ipv4", "10.0.0.1", 7788};
    status.connection.peer = {"ipv4", "10.0.0.2", 7788};
    status.volumes = {test_volume(0, 0)};
    return status;
}

}  // namespace duplex::control
