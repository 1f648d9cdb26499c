#include "exports/testing/fake_volume.hpp"

#include <cerrno>
#include <cstring>
#include <sys/mman.h>
#include <utility>

namespace duplex::exports {

using engine::Op;

FakeVolume::FakeVolume(runtime::Loop& loop, const FakeSettings& settings)
    : loop_(loop),
      settings_(settings),
      random_(settings.seed),
      memory_bytes_(settings.size_sectors_max * sector_bytes),
      size_sectors_(settings.size_sectors),
      buffers_(settings.arena_bytes),
      requests_(settings.requests) {
    void* memory = mmap(nullptr, memory_bytes_, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ensure(memory != MAP_FAILED);
    memory_ = static_cast<uint8_t*>(memory);
}

FakeVolume::~FakeVolume() {
    ensure(requests_.used() == 0 && openers_.empty() && watchers_.empty() && waiting_.empty());
    loop_.cancel(finish_soon_);
    loop_.cancel(room_soon_);
    munmap(memory_, memory_bytes_);
}

void FakeVolume::set_primary(bool primary) {
    primary_ = primary;
    for (engine::VolumeWatcher* watcher : watchers_) watcher->primary_changed(primary);
}

void FakeVolume::set_size(uint64_t size_sectors) {
    ensure(size_sectors <= settings_.size_sectors_max);
    size_sectors_ = size_sectors;
    for (engine::VolumeWatcher* watcher : watchers_) watcher->size_changed(size_sectors);
}

void FakeVolume::set_held(bool held) {
    held_ = held;
    if (!held) loop_.next_turn(finish_soon_);
}

int FakeVolume::open(bool for_writing, std::string_view who) {
    if (!primary_) return for_writing ? EROFS : EMEDIUMTYPE;
    openers_.emplace(who);
    return 0;
}

void FakeVolume::close(std::string_view who) {
    const auto found = openers_.find(who);
    ensure(found != openers_.end());
    openers_.erase(found);
}

engine::Request* FakeVolume::take_request(Op op, Sector sector, uint32_t size_bytes, engine::User& user) {
    const bool has_data = op == Op::read || op == Op::write;
    ensure(size_bytes <= (has_data ? engine::request_bytes_max : engine::discard_request_bytes_max));
    FakeRequest* request = requests_.take();
    uint8_t* data = request != nullptr && has_data ? buffers_.take(size_bytes) : nullptr;
    if (request == nullptr || (has_data && data == nullptr)) {
        if (request != nullptr) requests_.give(request);
        waiting_.insert(&user);
        ++counters_.refused_for_room;
        return nullptr;
    }
    request->volume = this;
    request->op = op;
    request->fua = request->may_unmap = false;
    request->sector = sector;
    request->size_bytes = size_bytes;
    request->data = data;
    request->error = 0;
    request->user = &user;
    return request;
}

int FakeVolume::refusal(const engine::Request& request) const {
    if (!primary_) return request.op == Op::read ? EMEDIUMTYPE : EROFS;
    if (request.size_bytes % sector_bytes != 0) return EINVAL;
    if (request.sector.value > size_sectors_ ||
        request.size_bytes / sector_bytes > size_sectors_ - request.sector.value)
        return EINVAL;
    if (request.op == Op::write_zeroes && !can_zero_) return EOPNOTSUPP;
    return error_;
}

void FakeVolume::submit(engine::Request& submitted) {
    auto& request = static_cast<FakeRequest&>(submitted);
    request.error = refusal(request);
    if (request.error != 0) {
        request.user->completed(request);
        return;
    }
    if (settings_.delay_ms_max > 0 && random_.chance(50)) {
        loop_.arm(request, random_.between(0, settings_.delay_ms_max));
        return;
    }
    due_.push_back(request);
    loop_.next_turn(finish_soon_);
}

void FakeVolume::finish_due() {
    if (held_) return;
    for (size_t count = due_.size(); count > 0; --count) finish(due_.pop_front());
}

void FakeVolume::finish(FakeRequest& request) {
    if (held_) {
        due_.push_back(request);
        return;
    }
    perform(request);
    request.user->completed(request);
}

void FakeVolume::perform(FakeRequest& request) {
    uint8_t* at = memory_ + request.sector.value * sector_bytes;
    counters_.fua += request.fua;
    switch (request.op) {
        case Op::read:
            ++counters_.reads;
            std::memcpy(request.data, at, request.size_bytes);
            break;
        case Op::write:
            ++counters_.writes;
            std::memcpy(at, request.data, request.size_bytes);
            break;
        case Op::flush:
            ++counters_.flushes;
            break;
        case Op::discard:
            ++counters_.discards;
            std::memset(at, 0, request.size_bytes);
            break;
        case Op::write_zeroes:
            ++counters_.write_zeroes;
            std::memset(at, 0, request.size_bytes);
            break;
    }
}

void FakeVolume::release(engine::Request& released) {
    auto& request = static_cast<FakeRequest&>(released);
    if (request.data != nullptr) buffers_.give(request.data, request.size_bytes);
    requests_.give(&request);
    if (!waiting_.empty()) loop_.next_turn(room_soon_);
}

void FakeVolume::tell_of_room() {
    for (engine::User* user : std::exchange(waiting_, {})) user->room();
}

}  // namespace duplex::exports
