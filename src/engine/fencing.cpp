#include "engine/fencing.hpp"

#include <algorithm>

#include "engine/core.hpp"

namespace duplex::engine {

namespace {

// Exit codes of fence-peer (states 15.2).
enum ExitCode : int { inconsistent = 3, outdated = 4, down = 5, primary = 6, fenced = 7 };

std::string_view text_of_exit(int code) {
    switch (code) {
        case inconsistent:
            return "peer is inconsistent or worse";
        case outdated:
            return "peer was fenced";
        case down:
            return "peer is unreachable, assumed to be dead";
        case primary:
            return "peer is active";
        case fenced:
            return "peer was stonithed";
        default:
            return "";
    }
}

StateChangeRequest disk_request(DiskState disk) {
    return {wire::state_bits::disk_mask, static_cast<uint32_t>(disk) << wire::state_bits::disk_shift};
}

StateChangeRequest pdsk_request(DiskState pdsk) {
    return {wire::state_bits::pdsk_mask, static_cast<uint32_t>(pdsk) << wire::state_bits::pdsk_shift};
}

}  // namespace

std::optional<config::Fencing> Fencing::policy() const {
    std::optional<config::Fencing> highest;
    for (const auto& [number, device] : core_.devices)
        if (device->disk && device->state().disk >= DiskState::consistent)
            highest = std::max(highest.value_or(config::Fencing::dont_care), device->disk->options.fencing);
    return highest;
}

DiskState Fencing::highest_disk() const {
    DiskState highest = DiskState::diskless;
    for (const auto& [number, device] : core_.devices) highest = std::max(highest, device->state().disk);
    return highest;
}

DiskState Fencing::highest_pdsk() const {
    DiskState highest = DiskState::diskless;
    for (const auto& [number, device] : core_.devices) highest = std::max(highest, device->state().pdsk);
    return highest;
}

// ---- the handler (states 15.2)
// --------------------------------------------------------------------------------------

Task<int> Fencing::run_handler(std::string name) {
    const Connection& connection = core_.connection;
    Event ended(core_.executor);
    std::optional<int> exit_code;
    connection.log(LogLevel::info, "helper command: /sbin/drbdadm {} {}", name, core_.name);
    core_.ports.host.run_handler(name, -1, [&](int code) {
        exit_code = code;
        ended.notify();
    });
    while (!exit_code) {
        auto woken = ended.wait();
        co_await woken;
    }
    connection.log(LogLevel::info, "helper command: /sbin/drbdadm {} {} exit code {} (0x{:x})", name,
                   core_.name, *exit_code, *exit_code << 8);
    co_return *exit_code;
}

std::optional<StateChangeRequest> Fencing::consequence(int exit_code) const {
    switch (exit_code) {
        case inconsistent:
            return pdsk_request(DiskState::inconsistent);
        case outdated:
        case fenced:
            return pdsk_request(DiskState::outdated);
        case down:
            if (highest_disk() == DiskState::up_to_date) return pdsk_request(DiskState::outdated);
            return std::nullopt;
        case primary:
            return disk_request(DiskState::outdated);
        default:
            return std::nullopt;
    }
}

Task<bool> Fencing::fence_peer() {
    Connection& connection = core_.connection;
    if (connection.established()) co_return false;
    const uint64_t connections = core_.connections;
    const std::optional<config::Fencing> wanted = policy();
    if (!wanted) {
        connection.log(LogLevel::info, "Not fencing peer, I'm not even Consistent myself.");
        thaw();
        co_return false;
    }
    if (*wanted == config::Fencing::dont_care) co_return true;
    Task<int> ran = run_handler("fence-peer");
    const int exit_code = co_await ran;
    if (exit_code < inconsistent || exit_code > fenced) {
        connection.log(LogLevel::error, "fence-peer helper broken, returned {}", exit_code);
        co_return false;
    }
    if (exit_code == fenced && *wanted != config::Fencing::resource_and_stonith)
        connection.log(LogLevel::error, "fence-peer() = 7 && fencing != Stonith !!!");
    connection.log(LogLevel::info, "fence-peer helper returned {} ({})", exit_code, text_of_exit(exit_code));
    const std::optional<StateChangeRequest> change = consequence(exit_code);
    if (change && !connection.established() && !connection.state_sent()) {
        if (core_.connections != connections)
            connection.log(LogLevel::info, "Ignoring fence-peer exit code");
        else
            connection.change_state(*change, ChangeKind::wish);
    }
    if (highest_pdsk() > DiskState::outdated) co_return false;
    if (core_.susp_fen) {
        Task<bool> created = new_generation();
        co_await created;
        thaw();
    }
    co_return true;
}

void Fencing::connection_lost() {
    const bool primary = std::any_of(core_.devices.begin(), core_.devices.end(), [](const auto& entry) {
        return entry.second->state().role == Role::primary;
    });
    if (primary && highest_pdsk() >= DiskState::d_unknown) core_.tasks.add(fence_and_forget());
}

Task<> Fencing::fence_and_forget() {
    Task<bool> fenced = fence_peer();
    co_await fenced;
}

// ---- thawing (states 15.3, 15.4)
// ------------------------------------------------------------------------------------

Task<bool> Fencing::new_generation(bool (*concerned)(const Device&)) {
    bool any = false;
    for (Device* device : core_.all_devices()) {
        if (!device->new_uuid_pending || !concerned(*device)) continue;
        device->new_uuid_pending = false;
        any = true;
        if (!device->disk) {
            // Nothing that can be attached or connected later may pass for what the applications saw.
            device->exposed_data_uuid = core_.ports.host.random64();
            continue;
        }
        Task<> created = device->new_current_uuid_now();
        co_await created;
    }
    co_return any;
}

Task<> Fencing::thaw_after_reconnect() {
    const auto connected = [this] {
        return std::all_of(core_.devices.begin(), core_.devices.end(), [](const auto& entry) {
            return entry.second->state().conn >= ConnState::connected;
        });
    };
    if (!core_.susp_fen || !connected()) co_return;
    // A peer whose disk is gone meanwhile is sent nothing: it must not pass for equal when it attaches.
    Task<bool> ahead = new_generation([](const Device& device) { return !replicate(device.state()); });
    co_await ahead;
    if (!core_.susp_fen || !connected()) co_return;
    if (core_.connection.resend_frozen()) {
        for (const auto& [number, device] : core_.devices) device->new_uuid_pending = false;
        thaw();
        co_return;
    }
    Task<bool> parting = part();
    const bool parted = co_await parting;
    if (!parted && connected()) thaw();
}

Task<bool> Fencing::part() {
    core_.connection.release_frozen();
    Task<bool> created = new_generation();
    const bool parted = co_await created;
    if (parted && core_.connection.established())
        core_.connection.drop(ConnState::protocol_error,
                              "I/O was frozen; connecting again to resync what the peer may lack");
    co_return parted;
}

void Fencing::thaw() {
    if (!core_.susp_fen || core_.devices.empty()) return;
    Device& any = *core_.devices.begin()->second;
    State wanted = any.state();
    wanted.susp_fen = false;
    any.change_state(wanted, ChangeKind::fact);
}

void Fencing::unfence_peer() {
    const bool all_good = std::all_of(core_.devices.begin(), core_.devices.end(), [](const auto& entry) {
        const State s = entry.second->state();
        return s.disk == DiskState::up_to_date && s.pdsk == DiskState::up_to_date;
    });
    if (all_good && policy().value_or(config::Fencing::dont_care) != config::Fencing::dont_care)
        core_.ports.host.run_handler("unfence-peer", -1, [](int) {});
}

}  // namespace duplex::engine
