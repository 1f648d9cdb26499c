#include "control/events_text.hpp"

#include <algorithm>
#include <ctime>

#include <fmt/format.h>

#include "control/words.hpp"

namespace duplex::control {
namespace {

std::string connection_name(const engine::ResourceStatus& status) {
    return fmt::format("name:{} peer-node-id:0{}", status.name,
                       status.connection.configured ? " conn-name:peer" : "");
}

const engine::VolumeStatus* volume_with(const engine::ResourceStatus& status, int minor) {
    for (const auto& volume : status.volumes) {
        if (minor >= 0 && volume.minor == static_cast<unsigned>(minor)) return &volume;
    }
    return nullptr;
}

}  // namespace

std::string Events2Printer::stamp(int64_t time_us) const {
    if (!style_.timestamps) return {};
    const std::time_t seconds = time_us / 1'000'000;
    std::tm local{};
    localtime_r(&seconds, &local);
    const long offset_minutes = local.tm_gmtoff / 60;
    const long distance = offset_minutes < 0 ? -offset_minutes : offset_minutes;
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}{}{:02}:{:02} ", local.tm_year + 1900,
                       local.tm_mon + 1, local.tm_mday, local.tm_hour, local.tm_min, local.tm_sec,
                       time_us % 1'000'000, offset_minutes < 0 ? '-' : '+', distance / 60, distance % 60);
}

Events2Printer::Object Events2Printer::connection_object(const engine::ResourceStatus& status) const {
    Object object{"connection", "connection", connection_name(status), {}};
    object.fields = {{"connection", std::string(connection_word(status.connection.state))},
                     {"role", std::string(name_of(peer_role_of(status)))}};
    if (style_.statistics) object.fields.push_back({"congested", "no", Shown::quiet_when_same});
    return object;
}

Events2Printer::Object Events2Printer::device_object(const engine::ResourceStatus& status,
                                                     const engine::VolumeStatus& volume) const {
    Object object{"device",
                  fmt::format("device {}", volume.volume),
                  fmt::format("name:{} volume:{} minor:{}", status.name, volume.volume, volume.minor),
                  {}};
    object.fields = {{"disk", std::string(name_of(volume.state.disk))}};
    if (!style_.statistics) return object;
    const engine::VolumeCounters& counters = volume.counters;
    const auto add = [&object](std::string_view name, uint64_t value) {
        object.fields.push_back({name, std::to_string(value), Shown::always});
    };
    add("size", kib_of_sectors(volume.size_sectors));
    add("read", wrapped(counters.read_kib));
    add("written", wrapped(counters.written_kib));
    add("al-writes", wrapped(counters.al_writes));
    add("bm-writes", wrapped(counters.bitmap_writes));
    add("upper-pending", counters.app_pending);
    add("lower-pending", counters.local_pending);
    object.fields.push_back({"al-suspended", volume.al_suspended ? "yes" : "no", Shown::quiet_when_same});
    object.fields.push_back({"blocked", std::string(blocked_word(volume)), Shown::quiet_when_same});
    return object;
}

Events2Printer::Object Events2Printer::peer_device_object(const engine::ResourceStatus& status,
                                                          const engine::VolumeStatus& volume) const {
    Object object{"peer-device",
                  fmt::format("peer-device {}", volume.volume),
                  fmt::format("{} volume:{}", connection_name(status), volume.volume),
                  {}};
    object.fields = {{"replication", std::string(replication_word(volume.state.conn))},
                     {"peer-disk", std::string(name_of(volume.state.pdsk))},
                     {"resync-suspended", resync_suspension_words(volume.state)}};
    if (!style_.statistics) return object;
    const engine::VolumeCounters& counters = volume.counters;
    const auto add = [&object](std::string_view name, uint64_t value) {
        object.fields.push_back({name, std::to_string(value), Shown::always});
    };
    add("received", wrapped(counters.received_kib));
    add("sent", wrapped(counters.sent_kib));
    add("out-of-sync", volume.out_of_sync_bits * 4);
    add("pending", counters.peer_pending);
    add("unacked", counters.unacked);
    return object;
}

// In the order of the initial dump and of the lines of one change (cli 24.1).
Events2Printer::Objects Events2Printer::objects_of(const engine::ResourceStatus& status) const {
    Objects objects;
    Object resource{"resource", "resource", fmt::format("name:{}", status.name), {}};
    resource.fields = {{"role", std::string(name_of(role_of(status)))},
                       {"suspended", suspension_words(status)}};
    if (style_.statistics) {
        resource.fields.push_back({"write-ordering",
                                   std::string(write_ordering_word(write_ordering_of(status))),
                                   Shown::quiet_when_same});
    }
    objects.push_back(std::move(resource));
    objects.push_back(connection_object(status));
    for (const auto& volume : status.volumes) objects.push_back(device_object(status, volume));
    for (const auto& volume : status.volumes) objects.push_back(peer_device_object(status, volume));
    return objects;
}

void Events2Printer::add_difference(std::string& text, const std::string& stamp, const Object* before,
                                    const Object& now, bool in_initial_dump) const {
    const auto same_as_before = [before](const Field& field) {
        return before != nullptr && std::ranges::find(before->fields, field) != before->fields.end();
    };
    const bool is_event = before == nullptr || std::ranges::any_of(now.fields, [&](const Field& field) {
                              return field.shown == Shown::state && !same_as_before(field);
                          });
    if (!is_event) return;
    const std::string_view action = before != nullptr ? "change" : in_initial_dump ? "exists" : "create";
    text += fmt::format("{}{} {} {}", stamp, action, now.kind, now.name);
    for (const Field& field : now.fields) {
        if (field.shown == Shown::always || !same_as_before(field))
            text += fmt::format(" {}:{}", field.name, field.value);
    }
    text += '\n';
}

std::string Events2Printer::print(const StatusEvent& event, bool in_initial_dump) {
    const std::string time = stamp(event.time_us);
    Objects& before = known_[event.status.name];
    Objects now = objects_of(event.status);
    const auto find = [](const Objects& objects, const std::string& key) -> const Object* {
        const auto found = std::ranges::find(objects, key, &Object::key);
        return found == objects.end() ? nullptr : &*found;
    };
    std::string text;
    for (auto gone = before.rbegin(); gone != before.rend(); ++gone) {
        if (find(now, gone->key) == nullptr)
            text += fmt::format("{}destroy {} {}\n", time, gone->kind, gone->name);
    }
    // What was not printed counts as not seen: its statistics are compared with the next event's.
    for (Object& object : now) {
        const size_t length = text.size();
        const Object* const known = find(before, object.key);
        add_difference(text, time, known, object, in_initial_dump);
        if (text.size() == length) object = *known;
    }
    before = std::move(now);
    return text;
}

std::string Events2Printer::print(const HelperEvent& event, const engine::ResourceStatus& resource) {
    std::string text = fmt::format("{}{} helper {}", stamp(event.time_us),
                                   event.wait_status ? "response" : "call", connection_name(resource));
    if (const auto* volume = volume_with(resource, event.minor)) {
        text += fmt::format(" volume:{} minor:{}", volume->volume, volume->minor);
    }
    text += fmt::format(" helper:{}", event.helper);
    if (event.wait_status) text += fmt::format(" status:{}", *event.wait_status);
    return text + '\n';
}

std::string Events2Printer::destroy(std::string_view resource, int64_t time_us) {
    const auto found = known_.find(resource);
    if (found == known_.end()) return {};
    std::string text;
    for (auto object = found->second.rbegin(); object != found->second.rend(); ++object) {
        text += fmt::format("{}destroy {} {}\n", stamp(time_us), object->kind, object->name);
    }
    known_.erase(found);
    return text;
}

std::string Events2Printer::end_of_initial_dump(int64_t time_us) {
    return stamp(time_us) + "exists -\n";
}

namespace {

std::string old_state(const wire::State& state) {
    return fmt::format("{{ cs:{} ro:{}/{} ds:{}/{} {}{}{}{} }}", name_of(state.conn), name_of(state.role),
                       name_of(state.peer), name_of(state.disk), name_of(state.pdsk),
                       is_suspended(state) ? 's' : 'r', state.aftr_isp ? 'a' : '-',
                       state.peer_isp ? 'p' : '-', state.user_isp ? 'u' : '-');
}

std::string old_object(const engine::ResourceStatus& status, const engine::VolumeStatus& volume) {
    return fmt::format("{},{}[{}]", volume.minor, status.name, volume.volume);
}

}  // namespace

std::string EventsPrinter::print(const engine::ResourceStatus& status) {
    const auto [known, is_new] = known_.try_emplace(status.name, status);
    const engine::ResourceStatus before = std::exchange(known->second, status);
    std::string text;
    if (is_new && status.volumes.empty() && only_minor_ < 0) {
        return fmt::format("{} R - {}\n", sequence_++, status.name);
    }
    for (const auto& volume : status.volumes) {
        if (only_minor_ >= 0 && volume.minor != static_cast<unsigned>(only_minor_)) continue;
        const auto* const old = is_new ? nullptr : volume_with(before, static_cast<int>(volume.minor));
        const std::string object = old_object(status, volume);
        if (old == nullptr) {
            text += fmt::format("{} ST {} {}\n", sequence_++, object, old_state(volume.state));
        } else if (old->state != volume.state) {
            text += fmt::format("{} ST-prev {} {}\n", sequence_, object, old_state(old->state));
            text += fmt::format("{} ST-new {} {}\n", sequence_, object, old_state(volume.state));
            text += fmt::format("{} ST {} {}\n", sequence_++, object, old_state(volume.state));
        }
    }
    return text;
}

std::string EventsPrinter::print(const HelperEvent& event, const engine::ResourceStatus& resource) {
    const auto* const volume = volume_with(resource, event.minor);
    if (only_minor_ >= 0 && (volume == nullptr || event.minor != only_minor_)) return {};
    const std::string object = volume != nullptr ? old_object(resource, *volume) : "- " + resource.name;
    if (!event.wait_status) return fmt::format("{} UH {} {}\n", sequence_++, object, event.helper);
    return fmt::format("{} UH-post {} {} 0x{:04x}\n", sequence_++, object, event.helper, *event.wait_status);
}

}  // namespace duplex::control
