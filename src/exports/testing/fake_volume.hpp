// A volume in memory for the exports' tests: as slow, as short of requests and as faulty as asked. What it
// refuses it completes from inside submit(), everything else later from the loop.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/buffer_pool.hpp"
#include "base/list.hpp"
#include "base/pool.hpp"
#include "base/random.hpp"
#include "engine/volume.hpp"
#include "runtime/loop.hpp"
#include "runtime/operation.hpp"

namespace duplex::exports {

struct FakeSettings {
    uint64_t size_sectors = 0;
    uint64_t size_sectors_max = 0;
    unsigned minor = 0;
    unsigned requests = 512;
    size_t arena_bytes = size_t{64} << 20;
    uint64_t delay_ms_max = 0;  // 0: everything completes in the next turn
    uint64_t seed = 1;
};

struct FakeCounters {
    uint64_t reads = 0, writes = 0, flushes = 0, discards = 0, write_zeroes = 0, fua = 0;
    uint64_t refused_for_room = 0;
};

class FakeVolume final : public engine::Volume {
  public:
    FakeVolume(runtime::Loop& loop, const FakeSettings& settings);
    ~FakeVolume();
    FakeVolume(const FakeVolume&) = delete;
    FakeVolume& operator=(const FakeVolume&) = delete;

    void set_primary(bool primary);
    void set_size(uint64_t size_sectors);
    void set_can_discard(bool can) { can_discard_ = can; }
    void set_can_zero(bool can) { can_zero_ = can; }
    void set_error(int error_number) { error_ = error_number; }  // of every later request; 0: none
    void set_held(bool held);                                    // nothing completes while held
    const FakeCounters& counters() const { return counters_; }
    const std::multiset<std::string, std::less<>>& openers() const { return openers_; }
    size_t requests_out() const { return requests_.used(); }

    unsigned number() const override { return 0; }
    unsigned minor() const override { return settings_.minor; }
    uint64_t size_sectors() const override { return size_sectors_; }
    bool is_primary() const override { return primary_; }
    bool can_discard() const override { return can_discard_; }
    int open(bool for_writing, std::string_view who) override;
    void close(std::string_view who) override;
    void add_watcher(engine::VolumeWatcher& watcher) override { watchers_.insert(&watcher); }
    void remove_watcher(engine::VolumeWatcher& watcher) override { watchers_.erase(&watcher); }
    engine::Request* take_request(engine::Op op, Sector sector, uint32_t size_bytes,
                                  engine::User& user) override;
    void submit(engine::Request& request) override;
    void release(engine::Request& request) override;

  private:
    struct FakeRequest final : engine::Request, engine::Timer, ListNode<FakeRequest> {
        FakeVolume* volume = nullptr;
        void fired() override { volume->finish(*this); }
    };

    int refusal(const engine::Request& request) const;
    void finish(FakeRequest& request);
    void perform(FakeRequest& request);
    void finish_due();
    void tell_of_room();

    runtime::Loop& loop_;
    const FakeSettings settings_;
    Random random_;
    uint8_t* memory_;
    size_t memory_bytes_;
    uint64_t size_sectors_;
    bool primary_ = false;
    bool can_discard_ = true;
    bool can_zero_ = true;
    bool held_ = false;
    int error_ = 0;
    FakeCounters counters_;
    std::multiset<std::string, std::less<>> openers_;
    std::set<engine::VolumeWatcher*> watchers_;
    std::set<engine::User*> waiting_;
    BufferPool buffers_;
    Pool<FakeRequest> requests_;
    List<FakeRequest, FakeRequest> due_;
    runtime::CallLater<&FakeVolume::finish_due> finish_soon_{*this};
    runtime::CallLater<&FakeVolume::tell_of_room> room_soon_{*this};
};

}  // namespace duplex::exports
