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
        for (unsigned volume = 0; volume < scenario.volumes; ++volume)
            nodes_[side]->meta_data(volume).create();
        nodes_[side]->start();
        user_.nodes[side] = nodes_[side].get();
    }
}

TwoNodes::~TwoNodes() = default;

void TwoNodes::mirrored() {
    for (const unsigned side : {0u, 1u})
        for (unsigned volume = 0; volume < scenario.volumes; ++volume) ensure(attach(side, volume).ok());
    for (const unsigned side : {0u, 1u}) ensure(connect(side).ok());
    ensure(run_until([this] { return connected(); }));
    for (unsigned volume = 0; volume < scenario.volumes; ++volume) {
        const Command skip = [volume](engine::Resource& r, engine::Done done) {
            r.new_current_uuid(volume, true, std::move(done));
        };
        ensure(command(0, skip).ok());
    }
    ensure(run_until([this] { return in_sync(); }));
    for (unsigned volume = 0; volume < scenario.volumes; ++volume) ensure(primary(0, volume).ok());
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

Reply TwoNodes::primary(unsigned side, unsigned volume) {
    return command(
        side, [volume](engine::Resource& r, engine::Done done) { r.primary(volume, {}, std::move(done)); });
}

Reply TwoNodes::secondary(unsigned side, unsigned volume) {
    return command(
        side, [volume](engine::Resource& r, engine::Done done) { r.secondary(volume, std::move(done)); });
}

Reply TwoNodes::attach(unsigned side, unsigned volume) {
    ensure(nodes_[side]->meta_data(volume).apply_al().ok());
    return command(side, [this, side, volume](engine::Resource& r, engine::Done done) {
        r.attach(volume, nodes_[side]->attach_command(volume), std::move(done));
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
    for (unsigned volume = 0; volume < scenario.volumes; ++volume)
        for (const unsigned side : {0u, 1u})
            if (state(side, volume).conn != ConnState::connected) return false;
    return true;
}

bool TwoNodes::in_sync() const {
    for (unsigned volume = 0; volume < scenario.volumes; ++volume)
        if (!in_sync(volume)) return false;
    return true;
}

bool TwoNodes::in_sync(unsigned volume) const {
    for (const unsigned side : {0u, 1u}) {
        const engine::State s = state(side, volume);
        if (s.conn != ConnState::connected || s.disk != DiskState::up_to_date ||
            s.pdsk != DiskState::up_to_date || out_of_sync(side, volume) > 0)
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
    nodes[request.user_tag % 2]->volume(static_cast<unsigned>(request.user_tag / 2)).release(request);
}

engine::Request* TwoNodes::take(unsigned side, unsigned volume, engine::Op op, uint64_t sector,
                                uint32_t sectors) {
    engine::Request* request = nodes_[side]->volume(volume).take_request(
        op, Sector(sector), sectors * static_cast<uint32_t>(sector_bytes), user_);
    ensure(request != nullptr);
    request->user_tag = volume * 2 + side;
    return request;
}

void TwoNodes::start_write(unsigned side, uint64_t sector, uint32_t sectors, uint8_t filling,
                           unsigned volume) {
    engine::Request* request = take(side, volume, engine::Op::write, sector, sectors);
    std::fill_n(request->data, request->size_bytes, filling);
    nodes_[side]->volume(volume).submit(*request);
    nodes_[side]->turn();
}

int TwoNodes::write(unsigned side, uint64_t sector, uint32_t sectors, uint8_t filling, unsigned volume) {
    const size_t before = user_.ended;
    start_write(side, sector, sectors, filling, volume);
    return run_until([&] { return user_.ended > before; }) ? user_.last_error : -1;
}

void TwoNodes::start_flush(unsigned side, unsigned volume) {
    nodes_[side]->volume(volume).submit(*take(side, volume, engine::Op::flush, 0, 0));
    nodes_[side]->turn();
}

int TwoNodes::flush(unsigned side, unsigned volume) {
    const size_t before = user_.ended;
    start_flush(side, volume);
    return run_until([&] { return user_.ended > before; }) ? user_.last_error : -1;
}

void TwoNodes::start_read(unsigned side, uint64_t sector, uint32_t sectors, unsigned volume) {
    nodes_[side]->volume(volume).submit(*take(side, volume, engine::Op::read, sector, sectors));
    nodes_[side]->turn();
}

int TwoNodes::read(unsigned side, uint64_t sector, uint32_t sectors, std::vector<uint8_t>& data,
                   unsigned volume) {
    const size_t before = user_.ended;
    start_read(side, sector, sectors, volume);
    if (!run_until([&] { return user_.ended > before; })) return -1;
    data = user_.last_read;
    return user_.last_error;
}

int TwoNodes::submit(unsigned side, engine::Op op, uint64_t sector, uint32_t sectors) {
    const size_t before = user_.ended;
    nodes_[side]->volume().submit(*take(side, 0, op, sector, sectors));
    nodes_[side]->turn();
    return run_until([&] { return user_.ended > before; }) ? user_.last_error : -1;
}

int TwoNodes::discard(unsigned side, uint64_t sector, uint32_t sectors) {
    return submit(side, engine::Op::discard, sector, sectors);
}

int TwoNodes::write_zeroes(unsigned side, uint64_t sector, uint32_t sectors) {
    return submit(side, engine::Op::write_zeroes, sector, sectors);
}

// ---- disks
// ---------------------------------------------------------------------------------------------------------

engine::VolumeStatus TwoNodes::status(unsigned side, unsigned volume) const {
    for (const engine::VolumeStatus& status : nodes_[side]->resource().status().volumes)
        if (status.volume == volume) return status;
    ensure(false);
}

std::string TwoNodes::difference(unsigned volume) const {
    std::string text;
    std::array<uint8_t, sector_bytes> left, right;
    const uint64_t end = std::max(status(0, volume).size_sectors, status(1, volume).size_sectors);
    uint64_t first = end, last = 0;
    for (uint64_t sector = 0; sector < end; ++sector) {
        nodes_[0]->data_disk(volume).read_now(Sector(sector), left);
        nodes_[1]->data_disk(volume).read_now(Sector(sector), right);
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
