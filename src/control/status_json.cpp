#include "control/status_json.hpp"

#include <limits>
#include <type_traits>

namespace duplex::control {
namespace {

using nlohmann::json;

// nlohmann's get<> wraps numbers silently; a status that would come out wrong is refused instead.
template <typename T>
void read(const json& object, const char* name, T& value) {
    if (!object.is_object()) {
        throw json::other_error::create(501, std::string("no object around \"") + name + '"', &object);
    }
    const auto found = object.find(name);
    if (found == object.end()) return;
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
        const bool fits =
            found->is_number_integer() &&
            (found->is_number_unsigned()
                 ? found->template get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<T>::max())
                 : std::is_signed_v<T> &&
                       found->template get<int64_t>() >= static_cast<int64_t>(std::numeric_limits<T>::min()));
        if (!fits) {
            throw json::other_error::create(501, std::string("\"") + name + "\" is no number in its range",
                                            &object);
        }
    }
    value = found->template get<T>();
}

template <typename Options>
json options_to_json(const Options& options) {
    json object = json::object();
    for (const config::Field<Options>& field : config::fields_of<Options>()) {
        json& member = object[std::string(field.option.name)];
        std::visit([&member](const auto& value) { member = value; }, field.get(options));
    }
    return object;
}

template <typename Options>
void read_options(const json& object, const char* name, Options& options) {
    const auto found = object.find(name);
    if (found == object.end()) return;
    for (const config::Field<Options>& field : config::fields_of<Options>()) {
        config::Value value = field.get(options);
        std::visit([&](auto& content) { read(*found, std::string(field.option.name).c_str(), content); },
                   value);
        field.set(options, value);
    }
}

json endpoint_to_json(const engine::Endpoint& endpoint) {
    return {{"family", endpoint.family}, {"address", endpoint.address}, {"port", endpoint.port}};
}

void read_endpoint(const json& object, const char* name, engine::Endpoint& endpoint) {
    const auto found = object.find(name);
    if (found == object.end()) return;
    read(*found, "family", endpoint.family);
    read(*found, "address", endpoint.address);
    read(*found, "port", endpoint.port);
}

json connection_to_json(const engine::ConnectionStatus& connection) {
    return {{"state", static_cast<uint8_t>(connection.state)}, {"configured", connection.configured},
            {"local", endpoint_to_json(connection.local)},     {"peer", endpoint_to_json(connection.peer)},
            {"options", options_to_json(connection.options)},  {"peer_node", connection.peer_node},
            {"agreed_protocol", connection.agreed_protocol},   {"features", connection.features}};
}

void read_connection(const json& object, engine::ConnectionStatus& connection) {
    uint8_t state = 0;
    read(object, "state", state);
    if (state > static_cast<uint8_t>(wire::ConnState::behind)) {
        throw json::other_error::create(501, "\"state\" names no connection state", &object);
    }
    connection.state = static_cast<wire::ConnState>(state);
    read(object, "configured", connection.configured);
    read_endpoint(object, "local", connection.local);
    read_endpoint(object, "peer", connection.peer);
    read_options(object, "options", connection.options);
    read(object, "peer_node", connection.peer_node);
    read(object, "agreed_protocol", connection.agreed_protocol);
    read(object, "features", connection.features);
}

// One list of members serves both directions.
template <typename Counters, typename Visitor>
void visit_counters(Counters& counters, Visitor&& visit) {
    visit("sent_kib", counters.sent_kib);
    visit("received_kib", counters.received_kib);
    visit("written_kib", counters.written_kib);
    visit("read_kib", counters.read_kib);
    visit("al_writes", counters.al_writes);
    visit("bitmap_writes", counters.bitmap_writes);
    visit("local_pending", counters.local_pending);
    visit("peer_pending", counters.peer_pending);
    visit("unacked", counters.unacked);
    visit("app_pending", counters.app_pending);
    visit("app_reads", counters.app_reads);
    visit("app_writes", counters.app_writes);
    visit("app_ms", counters.app_ms);
}

template <typename Progress, typename Visitor>
void visit_progress(Progress& sync, Visitor&& visit) {
    visit("verify", sync.verify);
    visit("total_bits", sync.total_bits);
    visit("left_bits", sync.left_bits);
    visit("failed_bits", sync.failed_bits);
    visit("started_ms", sync.started_ms);
    visit("paused_ms", sync.paused_ms);
    visit("now_ms", sync.now_ms);
    visit("mark_ms", sync.mark_ms);
    visit("mark_left_bits", sync.mark_left_bits);
    visit("wanted_kib", sync.wanted_kib);
    visit("position_bit", sync.position_bit);
}

template <typename Disk, typename Visitor>
void visit_disk(Disk& disk, Visitor&& visit) {
    visit("data_path", disk.data_path);
    visit("meta_path", disk.meta_path);
    visit("meta_index", disk.meta_index);
    visit("current_uuid", disk.current_uuid);
    visit("bitmap_uuid", disk.bitmap_uuid);
    visit("history_uuid0", disk.history_uuids[0]);
    visit("history_uuid1", disk.history_uuids[1]);
    visit("flags", disk.flags);
}

template <typename Volume, typename Visitor>
void visit_volume(Volume& volume, Visitor&& visit) {
    visit("volume", volume.volume);
    visit("minor", volume.minor);
    visit("al_suspended", volume.al_suspended);
    visit("degraded", volume.degraded);
    visit("size_sectors", volume.size_sectors);
    visit("out_of_sync_bits", volume.out_of_sync_bits);
    visit("epochs", volume.epochs);
    visit("openers", volume.openers);
}

struct Writer {
    json& object;
    template <typename T>
    void operator()(const char* name, const T& value) const {
        object[name] = value;
    }
};

struct Reader {
    const json& object;
    template <typename T>
    void operator()(const char* name, T& value) const {
        read(object, name, value);
    }
};

json volume_to_json(const engine::VolumeStatus& volume) {
    json object = json::object();
    visit_volume(volume, Writer{object});
    object["state"] = volume.state.pack();
    object["write_ordering"] = static_cast<uint8_t>(volume.write_ordering);
    visit_counters(volume.counters, Writer{object["counters"]});
    if (volume.sync) visit_progress(*volume.sync, Writer{object["sync"]});
    if (volume.disk) {
        visit_disk(*volume.disk, Writer{object["disk"]});
        object["disk"]["options"] = options_to_json(volume.disk->options);
    }
    return object;
}

engine::VolumeStatus volume_from_json(const json& object) {
    engine::VolumeStatus volume;
    visit_volume(volume, Reader{object});
    uint32_t word = volume.state.pack();
    read(object, "state", word);
    const auto state = wire::State::unpack(word);
    if (!state) throw json::other_error::create(501, "\"state\" is no state word", &object);
    volume.state = *state;
    uint8_t ordering = static_cast<uint8_t>(volume.write_ordering);
    read(object, "write_ordering", ordering);
    if (ordering > static_cast<uint8_t>(engine::WriteOrdering::flush)) {
        throw json::other_error::create(501, "\"write_ordering\" names no method", &object);
    }
    volume.write_ordering = static_cast<engine::WriteOrdering>(ordering);
    if (object.contains("counters")) visit_counters(volume.counters, Reader{object["counters"]});
    if (object.contains("sync")) visit_progress(volume.sync.emplace(), Reader{object["sync"]});
    if (object.contains("disk")) {
        engine::DiskStatus& disk = volume.disk.emplace();
        visit_disk(disk, Reader{object["disk"]});
        read_options(object["disk"], "options", disk.options);
    }
    return volume;
}

}  // namespace

json to_json(const engine::ResourceStatus& status) {
    json volumes = json::array();
    for (const engine::VolumeStatus& volume : status.volumes) volumes.push_back(volume_to_json(volume));
    return {{"name", status.name},
            {"options", options_to_json(status.options)},
            {"connection", connection_to_json(status.connection)},
            {"volumes", std::move(volumes)}};
}

engine::ResourceStatus status_from_json(const json& object) {
    engine::ResourceStatus status;
    read(object, "name", status.name);
    read_options(object, "options", status.options);
    if (object.contains("connection")) read_connection(object["connection"], status.connection);
    if (object.contains("volumes")) {
        for (const json& volume : object["volumes"]) status.volumes.push_back(volume_from_json(volume));
    }
    return status;
}

}  // namespace duplex::control
