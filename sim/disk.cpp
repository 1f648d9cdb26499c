#include "sim/disk.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/ensure.hpp"

namespace duplex::sim {

namespace {

// A cache is not endless: the oldest writes go to the medium by themselves.
constexpr size_t cached_writes_max = 256;

bool is_write(engine::IoKind kind) {
    return kind == engine::IoKind::write || kind == engine::IoKind::discard ||
           kind == engine::IoKind::write_zeroes;
}

}  // namespace

// ---- content
// ------------------------------------------------------------------------------------------------------

void Disk::Store::read(Sector sector, std::span<uint8_t> bytes) const {
    uint64_t at = sector.value * sector_bytes;
    while (!bytes.empty()) {
        const uint64_t in_page = at % page_bytes;
        const size_t part = std::min<size_t>(bytes.size(), page_bytes - in_page);
        const auto page = pages_.find(at / page_bytes);
        if (page == pages_.end())
            std::memset(bytes.data(), 0, part);
        else
            std::memcpy(bytes.data(), page->second->data() + in_page, part);
        bytes = bytes.subspan(part);
        at += part;
    }
}

void Disk::Store::write(Sector sector, std::span<const uint8_t> bytes) {
    uint64_t at = sector.value * sector_bytes;
    while (!bytes.empty()) {
        const uint64_t in_page = at % page_bytes;
        const size_t part = std::min<size_t>(bytes.size(), page_bytes - in_page);
        auto page = pages_.find(at / page_bytes);
        if (page == pages_.end()) {
            const bool zeroes = bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, part - 1) == 0;
            if (!zeroes) page = pages_.emplace(at / page_bytes, std::make_unique<Page>(Page{})).first;
        }
        if (page != pages_.end()) std::memcpy(page->second->data() + in_page, bytes.data(), part);
        bytes = bytes.subspan(part);
        at += part;
    }
}

uint64_t Disk::Store::word_at(Sector sector) const {
    const auto page = pages_.find(sector.value / page_sectors);
    if (page == pages_.end()) return 0;
    uint64_t word = 0;
    std::memcpy(&word, page->second->data() + sector.value % page_sectors * sector_bytes, sizeof word);
    return word;
}

// ---- operations
// ---------------------------------------------------------------------------------------------------

Disk::Disk(Scheduler& scheduler, Turn& turn, uint64_t size_sectors, const DiskModel& model)
    : scheduler_(scheduler), turn_(turn), model_(model) {
    limits_.size_sectors = real_size_sectors_ = size_sectors;
    limits_.can_discard = model.can_discard;
    limits_.io_bytes_max = model.io_bytes_max;
    limits_.discard_granularity_bytes = model.can_discard ? 4096 : 0;
}

void Disk::submit(engine::DiskIo& io) {
    const bool has_data = io.kind == engine::IoKind::read || io.kind == engine::IoKind::write;
    ensure(io.kind == engine::IoKind::flush ||
           (io.size_bytes > 0 && io.size_bytes % sector_bytes == 0 &&
            io.sector.value + io.size_bytes / sector_bytes <= limits_.size_sectors));
    ensure(!has_data || (io.data && reinterpret_cast<uintptr_t>(io.data) % sector_bytes == 0 &&
                         io.size_bytes <= limits_.io_bytes_max));
    if (submission_observer) submission_observer(io);
    linked_.push_back(io);
    uint64_t delay_us = scheduler_.random.between(model_.delay_us_min, model_.delay_us_max);
    if (model_.slow_percent > 0 && scheduler_.random.chance(model_.slow_percent)) delay_us *= 10;
    const auto at = operations_.insert(operations_.end(), Operation{&io, 0, sequence_});
    at->event = scheduler_.after(delay_us, [this, at] { complete(at); });
}

void Disk::go_on() {
    hangs_ = false;
    for (auto at = operations_.begin(); at != operations_.end(); ++at)
        if (at->event == 0) at->event = scheduler_.after(0, [this, at] { complete(at); });
}

void Disk::complete(Operations::iterator operation) {
    if (hangs_) {
        operation->event = 0;
        return;
    }
    engine::DiskIo& io = *operation->io;
    const uint64_t writes_before = operation->writes_before;
    operations_.erase(operation);
    linked_.remove(io);
    scheduler_.note(static_cast<uint64_t>(io.kind) << 56 ^ io.sector.value << 16 ^ io.size_bytes);
    const int error = carry_out(io, writes_before);
    if (observer) observer(io, error);
    io.completed(error);
    turn_.turn();
}

bool Disk::fails(const engine::DiskIo& io) {
    if (broken.percent == 0 || io.kind == engine::IoKind::flush) return false;
    if (broken.only_discards && io.kind != engine::IoKind::discard) return false;
    if (io.kind == engine::IoKind::read ? !broken.reads : !broken.writes) return false;
    if ((io.sector.value >= broken.end || io.sector.value + io.size_bytes / sector_bytes <= broken.first))
        return false;
    return scheduler_.random.chance(broken.percent);
}

std::vector<uint8_t> Disk::content_of(const engine::DiskIo& io) const {
    if (io.kind == engine::IoKind::write) return {io.data, io.data + io.size_bytes};
    return std::vector<uint8_t>(io.size_bytes);
}

int Disk::carry_out(engine::DiskIo& io, uint64_t writes_before) {
    if (fails(io)) {
        // What a failed write has left behind is anybody's guess.
        if (is_write(io.kind) && scheduler_.random.chance(50)) {
            std::vector<uint8_t> bytes = content_of(io);
            bytes.resize(scheduler_.random.below(bytes.size() / sector_bytes + 1) * sector_bytes);
            if (!bytes.empty()) write(io.sector, std::move(bytes), false);
        }
        return EIO;
    }
    switch (io.kind) {
        case engine::IoKind::read:
            visible_.read(io.sector, {io.data, io.size_bytes});
            break;
        case engine::IoKind::flush:
            destage(writes_before);
            break;
        default:
            write(io.sector, content_of(io), io.fua);
    }
    return 0;
}

// ---- the cache
// ----------------------------------------------------------------------------------------------------

void Disk::write(Sector sector, std::vector<uint8_t> bytes, bool fua) {
    visible_.write(sector, bytes);
    ++sequence_;
    if (fua || !model_.volatile_cache) {
        durable_.write(sector, bytes);
        // What is older and still in the cache must not come back over it.
        const uint64_t end = sector.value + bytes.size() / sector_bytes;
        for (CachedWrite& cached : cache_) {
            const uint64_t first = std::max(sector.value, cached.sector.value);
            const uint64_t last = std::min(end, cached.sector.value + cached.size_sectors());
            for (uint64_t s = first; s < last; ++s) cached.alive[s - cached.sector.value] = false;
        }
        return;
    }
    CachedWrite& cached = cache_.emplace_back();
    cached.sequence = sequence_;
    cached.sector = sector;
    cached.bytes = std::move(bytes);
    cached.alive.assign(cached.size_sectors(), true);
    if (cache_.size() > cached_writes_max) destage(cache_.front().sequence);
}

void Disk::make_durable(const CachedWrite& cached) {
    if (std::find(cached.alive.begin(), cached.alive.end(), false) == cached.alive.end()) {
        durable_.write(cached.sector, cached.bytes);
        return;
    }
    for (uint64_t i = 0; i < cached.size_sectors(); ++i)
        if (cached.alive[i])
            durable_.write(cached.sector + i,
                           std::span(cached.bytes).subspan(i * sector_bytes, sector_bytes));
}

void Disk::destage(uint64_t up_to_write) {
    while (!cache_.empty() && cache_.front().sequence <= up_to_write) {
        make_durable(cache_.front());
        cache_.pop_front();
    }
}

void Disk::write_now(Sector sector, std::span<const uint8_t> bytes) {
    write(sector, std::vector<uint8_t>(bytes.begin(), bytes.end()), true);
}

bool Disk::is_durable(Sector sector, uint64_t size_sectors, uint64_t up_to_write) const {
    for (const CachedWrite& cached : cache_) {
        if (cached.sequence > up_to_write) break;
        const uint64_t first = std::max(sector.value, cached.sector.value);
        const uint64_t last =
            std::min(sector.value + size_sectors, cached.sector.value + cached.size_sectors());
        for (uint64_t s = first; s < last; ++s)
            if (cached.alive[s - cached.sector.value]) return false;
    }
    return true;
}

bool Disk::is_writing(Sector sector, uint64_t size_sectors) const {
    for (const Operation& operation : operations_) {
        const engine::DiskIo& io = *operation.io;
        if (is_write(io.kind) && io.sector.value < sector.value + size_sectors &&
            sector.value < io.sector.value + io.size_bytes / sector_bytes)
            return true;
    }
    return false;
}

// ---- power
// --------------------------------------------------------------------------------------------------------

void Disk::drop_operations() {
    for (Operation& operation : operations_) {
        scheduler_.cancel(operation.event);
        engine::DiskIo& io = *operation.io;
        linked_.remove(io);
        if (!is_write(io.kind) || !scheduler_.random.chance(50)) continue;
        if (scheduler_.random.chance(50)) {
            write(io.sector, content_of(io), false);
            continue;
        }
        const std::vector<uint8_t> bytes = content_of(io);
        for (uint64_t i = 0; i < bytes.size() / sector_bytes; ++i)
            if (scheduler_.random.chance(50)) {
                const auto first = bytes.begin() + static_cast<long>(i * sector_bytes);
                write(io.sector + i, std::vector<uint8_t>(first, first + sector_bytes), false);
            }
    }
    operations_.clear();
}

void Disk::lose_power() {
    ensure(operations_.empty());
    Random& random = scheduler_.random;
    enum {
        lose_all,
        keep_all,
        by_write,
        by_sector
    } const fate{static_cast<decltype(lose_all)>(random.below(4))};
    std::list<CachedWrite> cache = std::move(cache_);
    cache_.clear();
    for (CachedWrite& cached : cache) {
        const bool kept = fate == keep_all || (fate == by_write && random.chance(50));
        if (fate == by_sector) {
            for (uint64_t i = 0; i < cached.size_sectors(); ++i)
                if (random.chance(50)) cached.alive[i] = false;
            make_durable(cached);
        } else if (kept) {
            make_durable(cached);
        }
    }
    std::vector<uint8_t> survived;
    for (const CachedWrite& cached : cache) {
        survived.resize(cached.bytes.size());
        durable_.read(cached.sector, survived);
        visible_.write(cached.sector, survived);
    }
}

}  // namespace duplex::sim
