#include "engine/core.hpp"

#include <algorithm>
#include <utility>

namespace duplex::engine {

Core::Core(const Ports& p, std::string resource_name, const config::ResourceOptions& o, const Limits& l)
    : ports(p),
      name(std::move(resource_name)),
      options(o),
      limits(l),
      changed(executor),
      buffers(l.buffer_arena_bytes),
      peer_buffers(l.peer_arena_bytes),
      app_requests(l.requests_max),
      peer_requests(l.peer_requests_max),
      packets(l.packets_max),
      connection(*this),
      fencing(*this),
      worker(executor) {}

// Procedures first: what they stand in the middle of refers to everything else.
Core::~Core() {
    tasks.drop();
    worker.drop();
    connection.drop_procedures();
}

// What a turn made possible is done before the loop sleeps: procedures that became ready, completions to
// tell, requests that waited; and then, once, the barrier of an epoch that was closed on the way.
void Core::run() {
    do {
        const bool again = std::exchange(again_, false);
        executor.run();
        connection.end_flushes();
        for (auto& [number, device] : devices) {
            device->app.retry_held();
            device->app.retry_conflicts();
            device->peer.retry_resync_reads();
            if (again && device->disk && device->disk->activation.busy()) device->disk->activation.retry();
        }
        connection.retry_receiver();
        if (room_) {
            room_ = false;
            std::vector<User*> waiting = std::move(waiting_for_room_);
            waiting_for_room_.clear();
            for (User* user : waiting) user->room();
        }
    } while (again_ || !executor.idle());
    connection.turn_ends();
    tasks.sweep();
}

void Core::wait_for_room(User& user) {
    if (std::find(waiting_for_room_.begin(), waiting_for_room_.end(), &user) == waiting_for_room_.end())
        waiting_for_room_.push_back(&user);
}

Device* Core::find(unsigned number) {
    const auto at = devices.find(number);
    return at == devices.end() ? nullptr : at->second.get();
}

std::vector<Device*> Core::all_devices() {
    std::vector<Device*> all;
    all.reserve(devices.size());
    for (auto& [number, device] : devices) all.push_back(device.get());
    return all;
}

uint32_t Core::active_peer_writes() const {
    uint32_t active = 0;
    for (const auto& [number, device] : devices) active += device->peer.active_writes();
    return active;
}

bool Core::room_for_own_request() const {
    size_t own = 0;
    for (const auto& [number, device] : devices) own += device->peer.own_requests();
    return own < limits.peer_requests_max / 2;
}

const Device* Core::other_primary_at_peer(const Device& device) const {
    for (const auto& [number, other] : devices)
        if (other.get() != &device && other->state().peer == Role::primary) return other.get();
    return nullptr;
}

void Core::set_suspended(const State& state) {
    const bool thawed = susp_fen && !state.susp_fen;
    susp = state.susp;
    susp_nod = state.susp_nod;
    susp_fen = state.susp_fen;
    if (thawed) connection.release_frozen();
}

// ---- commands
// ------------------------------------------------------------------------------------------------------

Task<> Core::run_command(std::function<Task<Reply>()> command, Done done) {
    Yield later(executor);  // the answer never comes from inside the call
    co_await later;
    Task<Reply> running = command();
    const Reply reply = co_await running;
    done(reply);
}

void Core::start_command(std::function<Task<Reply>()> command, Done done) {
    tasks.add(run_command(std::move(command), std::move(done)));
    notify();
}

void Core::start_command(unsigned volume, std::function<Task<Reply>(Device&)> command, Done done) {
    start_command([this, volume, command = std::move(command)] { return on_device(volume, command); },
                  std::move(done));
}

Task<Reply> Core::on_device(unsigned volume, std::function<Task<Reply>(Device&)> command) {
    Device* device = find(volume);
    if (!device) co_return Reply{error_code::minor_invalid, {}};
    Task<Reply> running = command(*device);
    co_return co_await running;
}

// The peer hears of it, if there is one: its volume is alone from then on. It may be against it (fencing);
// but nobody can be made to answer for a volume that has neither disk nor users.
Task<Reply> Core::remove_device(unsigned volume) {
    Device* device = find(volume);
    if (!device) co_return Reply{error_code::minor_invalid, {}};
    const auto unused = [device] {
        const State s = device->state();
        return s.role == Role::secondary && s.disk == DiskState::diskless;
    };
    if (!unused()) co_return Reply{error_code::minor_configured, {}};
    if (device->state().conn >= ConnState::connected) {
        Task<StateChangeResult> parting =
            device->request_state(wire::request_for(wire::StateChangeKind::remove_volume), true);
        co_await parting;
        device->peer.connection_lost();
    }
    // What the pools lent it comes back.
    while (!worker.idle() || device->app.in_flight() > 0 || device->app.writes_undone() > 0 ||
           !device->peer.idle()) {
        auto woken = changed.wait();
        co_await woken;
    }
    if (find(volume) != device) co_return Reply{error_code::minor_invalid, {}};
    if (!unused()) co_return Reply{error_code::minor_configured, {}};
    removed.push_back(std::move(devices.at(volume)));
    devices.erase(volume);
    device->retire();
    connection.volume_settled();
    ports.host.changed(-1);
    co_return Reply{};
}

Task<Reply> Core::change_options(config::ResourceOptions changed_options) {
    options = changed_options;
    ports.host.changed(-1);
    co_return Reply{};
}

}  // namespace duplex::engine
