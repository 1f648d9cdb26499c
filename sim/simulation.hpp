// One run of one seed: two machines are set up, then things go wrong while applications work, then the faults
// stop and everything has to come to rest, connected and in sync.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <string>

#include "sim/disk_checks.hpp"
#include "sim/node.hpp"
#include "sim/scenario.hpp"
#include "sim/scheduler.hpp"
#include "sim/verdict.hpp"
#include "sim/volume_set.hpp"
#include "sim/wire_watch.hpp"

namespace duplex::sim {

class Simulation {
  public:
    explicit Simulation(uint64_t seed);
    ~Simulation();

    bool run();  // nothing was violated
    const std::string& failure() const { return verdict_.text(); }
    Journal& journal() { return journal_; }
    const Scenario& scenario() const { return scenario_; }
    uint64_t digest() const { return scheduler_.digest(); }
    uint64_t events() const { return scheduler_.events(); }
    uint64_t virtual_us() const { return scheduler_.now_us(); }
    const std::deque<VolumeSet>& volumes() const { return volumes_; }
    const WireWatch& wire_watch() const { return wire_watch_; }
    const DiskChecks& disk_checks() const { return disk_checks_; }

  private:
    template <typename Condition>
    bool run_until(Condition condition, uint64_t limit_us);
    void run_for(uint64_t us);
    void after_run(Node& node);
    void watch_disk(Node& node, unsigned volume);
    void listen_to(Node& node);
    void say(const std::string& line) { journal_.add("admin", line); }

    // ---- the administrator
    using Then = std::function<void(const engine::Reply&)>;
    using Send = std::function<void(engine::Resource& resource, engine::Done done)>;
    // Sends a command; the answer is logged, and `then` called unless the node has died meanwhile.
    void command(Node& node, const std::string& what, const Send& send, Then then = {});
    // The same, where the command is one of a volume without more than that.
    using VolumeCommand = void (engine::Resource::*)(unsigned volume, engine::Done done);
    void command(Node& node, VolumeSet& volume, const char* what, VolumeCommand method, Then then = {});
    void start(Node& node);
    void bring_up(Node& node, unsigned number);
    void attach(Node& node, VolumeSet& volume, Then then = {});
    void connect(Node& node, bool discard_my_data);
    void promote(Node& node, VolumeSet& volume, bool force, std::function<void()> then = {});
    void promote_all(Node& node, unsigned number = 0);
    void demote(Node& node, VolumeSet& volume, std::function<void()> then = {});
    void demote_all(Node& node, unsigned number = 0);
    void verify(Node& node, VolumeSet& volume, uint64_t stop_sector);
    void detach(Node& node, VolumeSet& volume, bool force);
    void disconnect(Node& node, bool force);
    void stop(Node& node, bool power);
    void restart(Node& node);
    void check_epochs(const Node& node);
    bool may_promote(const Node& node, const VolumeSet& volume) const;
    bool busy(const Node& node) const { return busy_[node.side()] > 0; }
    bool is_primary(const Node& node) const;  // of a volume
    VolumeSet& draw_volume();
    std::string describe() const;

    // ---- the phases
    bool set_up();
    bool first_primary();
    void chaos();
    void something_happens();
    bool happens(Node& node, unsigned what);
    void calm();
    void tidy(Node& node);
    bool tidy(Node& node, VolumeSet& volume);
    void renew_connection(const Node& node);
    void connect_again(Node& node);
    void attach_again(Node& node, VolumeSet& volume);
    void give_up_damaged_data(Node& node, VolumeSet& volume);
    void heal(Node& node);
    bool of_all(bool (*condition)(const engine::State&)) const;  // volumes, on both nodes
    bool all_in_sync() const;
    bool at_rest() const;
    bool load_is_too_much() const;
    bool load_is_too_much(const VolumeSet& volume) const;

    Scheduler scheduler_;
    Verdict verdict_;
    Journal journal_;
    Scenario scenario_;
    WireWatch wire_watch_{verdict_, scenario_.net.protocol};
    DiskChecks disk_checks_{verdict_, scenario_.disk, wire_watch_};
    Cable cable_;
    std::array<std::unique_ptr<Node>, 2> nodes_;
    std::deque<VolumeSet> volumes_;
    std::array<unsigned, 2> busy_{};
    std::array<uint64_t, 2> restart_us_{};
    std::array<unsigned, 2> busy_seen_{};
    std::array<unsigned, 2> stand_alone_seen_{};
    uint64_t mend_us_ = 0;
    uint64_t heal_us_ = 0;
    uint64_t load_limit_us_ = 0;
};

}  // namespace duplex::sim
