#include "engine/congestion.hpp"

#include "engine/core.hpp"
#include "engine/sabotage.hpp"

namespace duplex::engine {

namespace {

constexpr uint64_t return_delay_ms = 1000;
constexpr uint64_t return_retry_ms = 100;

}  // namespace

Congestion::~Congestion() {
    core_.ports.clock.cancel(timer_);
}

void Congestion::check() {
    const config::NetOptions& net = core_.connection.options();
    if (net.on_congestion == config::OnCongestion::block || net.protocol != config::Protocol::a) return;
    const State s = device_.state();
    if (s.conn == ConnState::ahead || s.disk != DiskState::up_to_date || !replicate(s) || !congested())
        return;
    if (net.on_congestion == config::OnCongestion::disconnect)
        core_.connection.go_stand_alone("congested: on-congestion is disconnect");
    else
        pull_ahead();
}

bool Congestion::congested() const {
    if (sabotage::congestion) return true;
    const config::NetOptions& net = core_.connection.options();
    if (net.congestion_fill_sectors > 0 && in_flight_sectors_ >= net.congestion_fill_sectors) {
        device_.log(LogLevel::info, "Congestion-fill threshold reached");
        return true;
    }
    if (device_.disk->al.used() < net.congestion_extents) return false;
    device_.log(LogLevel::info, "Congestion-extents threshold reached");
    return true;
}

// The peer hears of it at once, before the first write that it will not get; so nothing older may still be
// waiting to be told.
void Congestion::pull_ahead() {
    if (!core_.worker.idle()) return;
    State wanted = device_.state();
    wanted.conn = ConnState::ahead;
    const StateChangeResult result = device_.change_state(wanted, ChangeKind::wish);
    if (!wire::is_success(result)) return;
    device_.send_state(device_.state());
    if (in_flight_sectors_ == 0) core_.ports.clock.arm(timer_, return_delay_ms);
}

void Congestion::done(uint32_t size_bytes) {
    in_flight_sectors_ -= size_bytes / sector_bytes;
    if (device_.state().conn == ConnState::ahead && in_flight_sectors_ == 0 && !timer_.armed())
        core_.ports.clock.arm(timer_, return_delay_ms);
}

void Congestion::take_back(Sector sector, uint32_t size_bytes) {
    device_.set_out_of_sync(sector, size_bytes);
    core_.connection.barrier_before(core_.connection.transfer_log.current_epoch());
    core_.connection.link.send_packet(Channel::data, wire::Command::out_of_sync, device_.wire_number(),
                                      wire::BlockDesc{sector, size_bytes});
}

void Congestion::return_if_quiet() {
    if (device_.state().conn != ConnState::ahead) return;
    if (device_.peer.unacked() > 0)
        core_.ports.clock.arm(timer_, return_retry_ms);
    else
        core_.tasks.add(device_.resync.start(false));
}

}  // namespace duplex::engine
