#include "control/status_report.hpp"

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "control/proc_text.hpp"
#include "control/words.hpp"

namespace duplex::control {
namespace {

using json = nlohmann::ordered_json;

json device(const engine::VolumeStatus& volume) {
    const engine::VolumeCounters& counters = volume.counters;
    return {{"volume", volume.volume},
            {"minor", volume.minor},
            {"disk-state", name_of(volume.state.disk)},
            {"size", kib_of_sectors(volume.size_sectors)},
            {"read", counters.read_kib},
            {"written", counters.written_kib},
            {"al-writes", counters.al_writes},
            {"bm-writes", counters.bitmap_writes},
            {"upper-pending", counters.app_pending},
            {"lower-pending", counters.local_pending},
            {"al-suspended", volume.al_suspended},
            {"blocked", blocked_word(volume)}};
}

// Two digits behind the point, as everywhere in DRBD's texts.
double percent_in_sync(const engine::VolumeStatus& volume) {
    const auto size_kib = static_cast<double>(kib_of_sectors(volume.size_sectors));
    const auto left_kib = static_cast<double>(volume.out_of_sync_bits) * 4;
    const double percent = size_kib > 0 ? std::max(0.0, 100 * (1 - left_kib / size_kib)) : 100.0;
    return std::floor(percent * 100) / 100;
}

json sync_details(const engine::VolumeStatus& volume) {
    const ProgressNumbers numbers = progress_numbers(*volume.sync, volume.state.conn);
    return {{"verify", numbers.verify},
            {"total", numbers.total_bits * 4},
            {"left", numbers.left_bits * 4},
            {"done", progress_per_mille(numbers.total_bits, numbers.left_bits) / 10.0},
            {"speed", speed_kib(numbers)},
            {"average-speed", numbers.average_kib},
            {"finish-seconds", rest_seconds(numbers)},
            {"stalled", numbers.stalled}};
}

json peer_device(const engine::VolumeStatus& volume) {
    const engine::VolumeCounters& counters = volume.counters;
    json object{{"volume", volume.volume},
                {"replication-state", replication_word(volume.state.conn)},
                {"peer-disk-state", name_of(volume.state.pdsk)},
                {"resync-suspended", resync_suspension_words(volume.state)},
                {"received", counters.received_kib},
                {"sent", counters.sent_kib},
                {"out-of-sync", volume.out_of_sync_bits * 4},
                {"pending", counters.peer_pending},
                {"unacked", counters.unacked},
                {"has-sync-details", volume.sync && !volume.sync->verify},
                {"has-online-verify-details", volume.sync && volume.sync->verify},
                {"percent-in-sync", percent_in_sync(volume)}};
    if (volume.sync) object["sync-details"] = sync_details(volume);
    return object;
}

json connection(const engine::ResourceStatus& resource) {
    const engine::ConnectionStatus& connection = resource.connection;
    json object{{"peer-node-id", 0},
                {"name", connection.peer_node.empty() ? "peer" : connection.peer_node},
                {"connection-state", connection_word(connection.state)},
                {"congested", false},
                {"peer-role", name_of(peer_role_of(resource))},
                {"peer_devices", json::array()}};
    for (const auto& volume : resource.volumes) object["peer_devices"].push_back(peer_device(volume));
    return object;
}

}  // namespace

std::string status_report(std::span<const engine::ResourceStatus> resources) {
    json list = json::array();
    for (const engine::ResourceStatus& resource : resources) {
        json object{{"name", resource.name},
                    {"role", name_of(role_of(resource))},
                    {"suspended", suspension_words(resource) != "no"},
                    {"write-ordering", write_ordering_word(write_ordering_of(resource))},
                    {"devices", json::array()},
                    {"connections", json::array()}};
        for (const auto& volume : resource.volumes) object["devices"].push_back(device(volume));
        if (resource.connection.configured) object["connections"].push_back(connection(resource));
        list.push_back(std::move(object));
    }
    return list.dump(2, ' ', false, json::error_handler_t::replace) + '\n';
}

}  // namespace duplex::control
