#include "sim/workload.hpp"

#include <algorithm>

#include "sim/checker.hpp"

namespace duplex::sim {

using engine::Op;

namespace {

bool writes(Op op) {
    return op == Op::write || op == Op::discard || op == Op::write_zeroes;
}

}  // namespace

void Workload::start() {
    if (open_ || !node_.running() || node_.volume(volume_).open(true, "app") != 0) return;
    open_ = true;
    stopping_ = false;
    schedule();
}

void Workload::stop(std::function<void()> drained) {
    if (!open_) return drained();
    stopping_ = true;
    drained_ = std::move(drained);
    scheduler_.cancel(issue_event_);
    issue_event_ = 0;
    if (requests_.empty()) close();
}

void Workload::close() {
    open_ = stopping_ = false;
    node_.volume(volume_).close("app");
    const std::function<void()> drained = std::move(drained_);
    drained_ = nullptr;
    if (drained) drained();
}

void Workload::forget() {
    oracle_.node_died(node_.side());
    requests_.clear();
    open_ = stopping_ = false;
    drained_ = nullptr;
    scheduler_.cancel(issue_event_);
    issue_event_ = 0;
}

uint64_t Workload::oldest_request_us() const {
    uint64_t oldest = UINT64_MAX;
    for (const auto& [request, pending] : requests_) oldest = std::min(oldest, pending.issued_us);
    return oldest;
}

void Workload::schedule() {
    if (!open_ || stopping_ || issue_event_ != 0 || requests_.size() >= model_.depth) return;
    issue_event_ = scheduler_.after(scheduler_.random.below(model_.think_us_max), [this] {
        issue_event_ = 0;
        issue();
    });
}

Op Workload::draw_op() const {
    Random& random = scheduler_.random;
    if (random.chance(model_.flush_percent)) return Op::flush;
    if (!random.chance(model_.write_percent)) return Op::read;
    if (random.chance(model_.discard_percent)) return Op::discard;
    if (random.chance(model_.zeroes_percent)) return Op::write_zeroes;
    return Op::write;
}

bool Workload::draw_place(bool is_write, Sector& sector, uint32_t& size_sectors) const {
    Random& random = scheduler_.random;
    const uint64_t device = node_.volume(volume_).size_sectors();
    for (int tries = 0; tries < 4; ++tries) {
        size_t range = random.below(model_.ranges.size());
        // With two Primaries each keeps to its own ranges, unless they are to meet.
        const bool shared = model_.conflicting || model_.ranges.size() < 2;
        if (is_write && !shared && range % 2 != node_.side()) range ^= 1;
        if (range >= model_.ranges.size()) continue;
        const HotRange& hot = model_.ranges[range];
        const uint64_t unit = random.chance(model_.unaligned_percent) ? 1 : 8;
        const uint64_t size = unit * random.between(1, std::max<uint64_t>(1, model_.sectors_max / unit));
        const uint64_t fitting = std::min(size, hot.size_sectors / unit * unit);
        if (fitting == 0) continue;
        const uint64_t first =
            hot.first_sector + random.below((hot.size_sectors - fitting) / unit + 1) * unit;
        if (first + fitting > device) continue;
        sector = Sector(first);
        size_sectors = static_cast<uint32_t>(fitting);
        if (!is_write || model_.overlapping || model_.conflicting || !oracle_.under_way(first, fitting))
            return true;
    }
    return false;
}

void Workload::issue() {
    if (!open_ || stopping_ || !node_.running()) return;
    const Op op = draw_op();
    Sector sector;
    uint32_t size_sectors = 0;
    if (op != Op::flush && !draw_place(writes(op), sector, size_sectors)) return schedule();
    const auto size_bytes = static_cast<uint32_t>(size_sectors * sector_bytes);
    engine::Request* request = node_.volume(volume_).take_request(op, sector, size_bytes, *this);
    if (!request) return;  // room() follows
    Pending pending;
    pending.issued_us = scheduler_.now_us();
    pending.expected_to_succeed = checker_.serves_requests(node_.side());
    pending.interruptions = checker_.interruptions(node_.side());
    if (writes(op)) {
        const bool in_contact = checker_.in_contact(node_.side());
        pending.write =
            oracle_.issue(node_.side(), op, sector, size_sectors, in_contact, checker_.session(node_.side()));
        checker_.write_issued(pending.write);
        if (op == Op::write)
            for (uint32_t i = 0; i < size_sectors; ++i)
                Oracle::fill(oracle_.write(pending.write).tag, sector.value + i,
                             {request->data + i * sector_bytes, sector_bytes});
        request->fua = scheduler_.random.chance(model_.fua_percent);
        request->may_unmap = op == Op::write_zeroes && scheduler_.random.chance(50);
    } else if (op == Op::read) {
        pending.read = oracle_.start_read(node_.side(), sector, size_sectors);
    } else {
        pending.writes_before_flush = node_.data_disk(volume_).writes_completed();
        pending.flush_issued = oracle_.now();
    }
    requests_.emplace(request, pending);
    node_.volume(volume_).submit(*request);
    node_.turn();
    schedule();
}

void Workload::completed(engine::Request& request) {
    const auto found = requests_.find(&request);
    if (found == requests_.end()) {
        verdict_.fail("node {}: a request was completed that is not under way", node_.side());
        return;
    }
    const Pending pending = found->second;
    requests_.erase(found);
    scheduler_.note(uint64_t{request.sector.value} << 8 ^ static_cast<uint64_t>(request.error));
    if (request.error != 0) {
        journal_.add(node_.name(),
                     fmt::format("app: request {} {}s +{} failed: {}", static_cast<int>(request.op),
                                 request.sector.value, request.size_bytes / sector_bytes, request.error));
        // Discards may be refused by what the peer can do.
        const bool optional = request.op == Op::discard || request.op == Op::write_zeroes;
        const bool tells_of_lost_writes =
            request.op == Op::flush && checker_.may_have_lost_writes(node_.side());
        const bool expected = pending.expected_to_succeed && checker_.serves_requests(node_.side()) &&
                              pending.interruptions == checker_.interruptions(node_.side());
        if (tells_of_lost_writes && expected)
            checker_.flush_answered(node_.side());
        else if (expected && !optional)
            verdict_.fail("I31: node {}: a request failed with {} although its disk is UpToDate",
                          node_.side(), request.error);
    }
    if (writes(request.op)) write_completed(request, pending);
    if (request.op == Op::flush && request.error == 0) {
        checker_.flush_answered(node_.side());
        flush_completed(pending);
    }
    if (request.op == Op::flush && request.error != 0) oracle_.flush_failed(node_.side());
    if (request.op == Op::read)
        oracle_.finish_read(node_.side(), pending.read, {request.data, request.size_bytes},
                            request.error == 0, checker_.has_good_data(node_.side()));
    node_.volume(volume_).release(request);
    if (stopping_ && requests_.empty())
        close();
    else
        schedule();
}

void Workload::write_completed(engine::Request& request, const Pending& pending) {
    if (request.error != 0) {
        oracle_.failed(pending.write);
        checker_.write_failed(pending.write);
        return;
    }
    Oracle::Completion completion = checker_.completion(node_.side());
    completion.fua = request.fua;
    oracle_.completed(pending.write, completion);
    const Write& write = oracle_.write(pending.write);
    checker_.write_completed(node_.side(), pending.write);
    if (request.fua && request.op == Op::write && !model_.overlapping && !model_.conflicting)
        check_fua(request, write);
}

// Stable on the local disk when it was reported.
void Workload::check_fua(const engine::Request& request, const Write& write) const {
    if (node_.state(volume_).disk < wire::DiskState::up_to_date ||
        node_.data_disk(volume_).broken.percent > 0)
        return;
    std::array<uint8_t, sector_bytes> bytes;
    for (uint32_t i = 0; i < write.size_sectors; ++i) {
        node_.data_disk(volume_).read_durable(request.sector + i, bytes);
        if (oracle_.check_sector(node_.side(), request.sector.value + i, bytes) != write.tag)
            verdict_.fail("node {}: a write with FUA to sector {} completed and is not on stable storage",
                          node_.side(), request.sector.value + i);
    }
}

void Workload::flush_completed(const Pending& pending) {
    oracle_.flushed(node_.side(), pending.flush_issued);
    if (node_.state(volume_).disk < wire::DiskState::up_to_date ||
        node_.data_disk(volume_).broken.percent > 0)
        return;
    if (!node_.data_disk(volume_).is_durable(Sector(0), node_.data_disk(volume_).limits().size_sectors,
                                             pending.writes_before_flush))
        verdict_.fail(
            "node {}: a flush completed, but writes that had completed before it are not on stable storage",
            node_.side());
}

}  // namespace duplex::sim
