// Two simulated nodes under a test's hands: no faults but those it asks for, every command waited for.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sim/network.hpp"
#include "sim/node.hpp"
#include "sim/scenario.hpp"
#include "sim/scheduler.hpp"

namespace duplex::sim {

class TwoNodes {
  public:
    // A device of `mib` MiB. adjust may change the scenario before the machines are made.
    explicit TwoNodes(uint64_t mib, const std::function<void(Scenario&)>& adjust = {});
    ~TwoNodes();

    // Every volume attached, connected, UpToDate on both without an initial sync; node 0 is Primary.
    void mirrored();

    using Command = std::function<void(engine::Resource&, engine::Done)>;
    engine::Reply command(unsigned side, const Command& command);
    // A command whose answer comes later; see answered().
    void start_command(unsigned side, const Command& command);
    bool answered() const { return answer_ != nullptr && *answer_ != nullptr; }
    const engine::Reply& answer() const { return **answer_; }

    engine::Reply primary(unsigned side, unsigned volume = 0);
    engine::Reply secondary(unsigned side, unsigned volume = 0);
    engine::Reply attach(unsigned side, unsigned volume = 0);
    engine::Reply connect(unsigned side);
    engine::Reply disconnect(unsigned side);

    // false: not within limit_ms.
    bool run_until(const std::function<bool()>& condition, uint64_t limit_ms = 120'000);
    void run_for(uint64_t ms);
    // All volumes that the scenario names.
    bool connected() const;
    bool in_sync() const;
    bool in_sync(unsigned volume) const;

    // Through the device of a Primary. The error is the request's.
    int write(unsigned side, uint64_t sector, uint32_t sectors, uint8_t filling, unsigned volume = 0);
    int read(unsigned side, uint64_t sector, uint32_t sectors, std::vector<uint8_t>& data,
             unsigned volume = 0);
    int flush(unsigned side, unsigned volume = 0);
    int discard(unsigned side, uint64_t sector, uint32_t sectors);
    int write_zeroes(unsigned side, uint64_t sector, uint32_t sectors);
    // Without waiting for the end; ended() counts the completions, errors() those with an error.
    void start_write(unsigned side, uint64_t sector, uint32_t sectors, uint8_t filling, unsigned volume = 0);
    void start_flush(unsigned side, unsigned volume = 0);
    void start_read(unsigned side, uint64_t sector, uint32_t sectors, unsigned volume = 0);
    const std::vector<uint8_t>& last_read() const { return user_.last_read; }
    size_t ended() const { return user_.ended; }
    size_t errors() const { return user_.errors; }

    Node& node(unsigned side) { return *nodes_[side]; }
    engine::State state(unsigned side, unsigned volume = 0) const { return nodes_[side]->state(volume); }
    engine::VolumeStatus status(unsigned side, unsigned volume = 0) const;
    uint64_t out_of_sync(unsigned side, unsigned volume = 0) const {
        return status(side, volume).out_of_sync_bits;
    }
    // First and last sectors of the device that differ between the disks, as text; empty if none does.
    std::string difference(unsigned volume = 0) const;
    // Behind DRBD's back.
    void damage(unsigned side, uint64_t sector);

    Scheduler scheduler{1};
    Journal journal{scheduler};
    Scenario scenario;
    Cable& cable() { return *cable_; }

  private:
    struct Application final : engine::User {
        void completed(engine::Request& request) override;
        void room() override {}
        size_t ended = 0;
        size_t errors = 0;
        std::array<Node*, 2> nodes{};
        int last_error = 0;
        std::vector<uint8_t> last_read;
    };

    int submit(unsigned side, engine::Op op, uint64_t sector, uint32_t sectors);
    engine::Request* take(unsigned side, unsigned volume, engine::Op op, uint64_t sector, uint32_t sectors);

    Application user_;
    std::unique_ptr<Cable> cable_;
    std::array<std::unique_ptr<Node>, 2> nodes_;
    std::shared_ptr<std::unique_ptr<engine::Reply>> answer_;
};

}  // namespace duplex::sim
