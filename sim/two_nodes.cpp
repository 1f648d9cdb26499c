#include "sim/two_nodes.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/ensure.hpp"

namespace duplex::sim {

using engine::ConnState;
using engine::DiskState;
using engine::Reply;

namespace {

constexpr uint64_t sectors_per_mib = (uint64_t{1} << 20) / sector_bytes;

}  // namespace

TwoNodes::TwoNodes(uint64_t mib, const std::function<void(Scenario&)>& adjust) {
    scenario.data_sectors = mib * sectors_per_mib;
    scenario.disk.resync_rate_kib = 100'000;
    scenario.disk.c_plan_ahead_ds = 0;
    scenario.disk.c_min_rate_kib = 0;
    scenario.disk.al_extents = 67;
    scenario.net.verify_alg = "sha1";
    scenario.limits = {size_t{8} << 20, size_t{8} << 20, 512, 4096, 8192};
    if (adjust) adjust(scenario);
    cable_ = std::make_unique<Cable>(scheduler, scenario.network);
    for (const unsigned side : {0u, 1u}) {
        nodes_[side] = std::make_unique<Node>(scheduler, journal, *cable_, scenario, side, [](Node&) {});
        nodes_[side]->meta_data().create();
        nodes_[side]->start();
        user_.nodes[side] = nodes_[side].get();
    }
}

TwoNodes::~TwoNodes() = default;

void TwoNodes::mirrored() {
    for (const unsigned side : {0u, 1u}) ensure(attach(side).ok());
    for (const unsigned side : {0u, 1u}) ensure(connect(side).ok());
    ensure(run_until([this] { return connected(); }));
    const Command skip = [](engine::Resource& r, engine::Done done) {
        r.new_current_uuid(0, true, std::move(done));
    };
    ensure(command(0, skip).ok());
    ensure(run_until([this] { return in_sync(); }));
    ensure(primary(0).ok());
}

// ---- commands
// ------------------------------------------------------------------------------------------------------

void TwoNodes::start_command(unsigned side, const Command& command) {
    answer_ = std::make_shared<std::unique_ptr<Reply>>();
    command(nodes_[side]->resource(),
            [answer = answer_](const Reply& reply) { *answer = std::make_unique<Reply>(reply); });
    nodes_[side]->turn();
}

Reply TwoNodes::command(unsigned side, const Command& command) {
    start_command(side, command);
    if (!run_until([this] { return answered(); })) return {-1000, "no answer"};
    return answer();
}

Reply TwoNodes::primary(unsigned side) {
    return command(side, [](engine::Resource& r, engine::Done done) { r.primary(0, {}, std::move(done)); });
}

Reply TwoNodes::secondary(unsigned side) {
    return command(side, [](engine::Resource& r, engine::Done done) { r.secondary(0, std::move(done)); });
}

Reply TwoNodes::attach(unsigned side) {
    ensure(nodes_[side]->meta_data().apply_al().ok());
    return command(side, [this, side](engine::Resource& r, engine::Done done) {
        r.attach(0, nodes_[side]->attach_command(), std::move(done));
    });
}

Reply TwoNodes::connect(unsigned side) {
    return command(side, [this, side](engine::Resource& r, engine::Done done) {
        r.connect(nodes_[side]->connect_command(false), std::move(done));
    });
}

Reply TwoNodes::disconnect(unsigned side) {
    return command(side,
                   [](engine::Resource& r, engine::Done done) { r.disconnect(false, std::move(done)); });
}

// ---- time
// ----------------------------------------------------------------------------------------------------------

bool TwoNodes::run_until(const std::function<bool()>& condition, uint64_t limit_ms) {
    const uint64_t end_us = scheduler.now_us() + limit_ms * 1000;
    const Scheduler::EventId alarm = scheduler.after(limit_ms * 1000, [] {});
    while (!condition() && scheduler.now_us() < end_us && scheduler.step()) {
    }
    scheduler.cancel(alarm);
    return condition();
}

void TwoNodes::run_for(uint64_t ms) {
    (void)run_until([] { return false; }, ms);
}

bool TwoNodes::connected() const {
    return state(0).conn == ConnState::connected && state(1).conn == ConnState::connected;
}

bool TwoNodes::in_sync() const {
    for (const unsigned side : {0u, 1u}) {
        const engine::State s = state(side);
        if (s.conn != ConnState::connected || s.disk != DiskState::up_to_date ||
            s.pdsk != DiskState::up_to_date || out_of_sync(side) > 0)
            return false;
    }
    return true;
}

// ---- applications
// --------------------------------------------------------------------------------------------------

void TwoNodes::Application::completed(engine::Request& request) {
    ++ended;
    last_error = request.error;
    if (request.error) ++errors;
    if (request.op == engine::Op::read) last_read.assign(request.data, request.data + request.size_bytes);
    nodes[request.user_tag]->volume().release(request);
}

engine::Request* TwoNodes::take(unsigned side, engine::Op op, uint64_t sector, uint32_t sectors) {
    engine::Request* request = nodes_[side]->volume().take_request(
        op, Sector(sector), sectors * static_cast<uint32_t>(sector_bytes), user_);
    ensure(request != nullptr);
    request->user_tag = side;
    return request;
}

void TwoNodes::start_write(unsigned side, uint64_t sector, uint32_t sectors, uint8_t filling) {
    engine::Request* request = take(side, engine::Op::write, sector, sectors);
    std::fill_n(request->data, request->size_bytes, filling);
    nodes_[side]->volume().submit(*request);
    nodes_[side]->turn();
}

int TwoNodes::write(unsigned side, uint64_t sector, uint32_t sectors, uint8_t filling) {
    const size_t before = user_.ended;
    start_write(side, sector, sectors, filling);
    return run_until([&] { return user_.ended > before; }) ? user_.last_error : -1;
}

void TwoNodes::start_flush(unsigned side) {
    nodes_[side]->volume().submit(*take(side, engine::Op::flush, 0, 0));
    nodes_[side]->turn();
}

int TwoNodes::flush(unsigned side) {
    const size_t before = user_.ended;
    start_flush(side);
    return run_until([&] { return user_.ended > before; }) ? user_.last_error : -1;
}

int TwoNodes::read(unsigned side, uint64_t sector, uint32_t sectors, std::vector<uint8_t>& data) {
    const size_t before = user_.ended;
    nodes_[side]->volume().submit(*take(side, engine::Op::read, sector, sectors));
    nodes_[side]->turn();
    if (!run_until([&] { return user_.ended > before; })) return -1;
    data = user_.last_read;
    return user_.last_error;
}

// ---- disks
// ---------------------------------------------------------------------------------------------------------

engine::VolumeStatus TwoNodes::status(unsigned side) const {
    return nodes_[side]->resource().status().volumes.front();
}

std::string TwoNodes::difference() const {
    std::string text;
    std::array<uint8_t, sector_bytes> left, right;
    const uint64_t end = std::max(status(0).size_sectors, status(1).size_sectors);
    uint64_t first = end, last = 0;
    for (uint64_t sector = 0; sector < end; ++sector) {
        nodes_[0]->data_disk().read_now(Sector(sector), left);
        nodes_[1]->data_disk().read_now(Sector(sector), right);
        if (left == right) continue;
        first = std::min(first, sector);
        last = sector;
    }
    return first == end ? text : fmt::format("sectors {} to {}", first, last);
}

void TwoNodes::damage(unsigned side, uint64_t sector) {
    std::array<uint8_t, sector_bytes> bytes;
    bytes.fill(0xdd);
    nodes_[side]->data_disk().write_now(Sector(sector), bytes);
}

}  // namespace duplex::sim
