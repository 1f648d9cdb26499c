// One run of one seed: two machines are set up, then things go wrong while applications work, then the faults
// stop and everything has to come to rest, connected and in sync.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "sim/checker.hpp"
#include "sim/disk_checks.hpp"
#include "sim/node.hpp"
#include "sim/oracle.hpp"
#include "sim/scenario.hpp"
#include "sim/scheduler.hpp"
#include "sim/verdict.hpp"
#include "sim/wire_watch.hpp"
#include "sim/workload.hpp"

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
    const Oracle& oracle() const { return oracle_; }
    const Checker& checker() const { return checker_; }
    const WireWatch& wire_watch() const { return wire_watch_; }
    const DiskChecks& disk_checks() const { return disk_checks_; }

  private:
    template <typename Condition>
    bool run_until(Condition condition, uint64_t limit_us);
    void run_for(uint64_t us);
    void watch_disks_and_cable(std::array<Node*, 2> nodes);
    void after_run(Node& node);
    void say(const std::string& line) { journal_.add("admin", line); }

    // ---- the administrator
    using Then = std::function<void(const engine::Reply&)>;
    // Sends a command; the answer is logged, and `then` called unless the node has died meanwhile.
    template <typename Send>
    void command(Node& node, const char* what, Send send, Then then = {});
    void start(Node& node);
    void attach(Node& node, Then then = {});
    void connect(Node& node, bool discard_my_data);
    void promote(Node& node, bool force);
    void demote(Node& node, std::function<void()> then = {});
    void verify(Node& node, uint64_t stop_sector);
    void stop(Node& node, bool power);
    bool may_promote(const Node& node) const;
    bool busy(const Node& node) const { return busy_[node.side()] > 0; }

    // ---- the phases
    bool set_up();
    bool first_primary();
    void chaos();
    void something_happens();
    bool happens(Node& node, unsigned what);
    void calm();
    void tidy(Node& node);
    void give_up_damaged_data(Node& node);
    bool at_rest();
    bool load_is_too_much() const;

    Scheduler scheduler_;
    Verdict verdict_;
    Journal journal_;
    Scenario scenario_;
    WireWatch wire_watch_{verdict_, scenario_.net.protocol};
    DiskChecks disk_checks_{verdict_, scenario_.disk, wire_watch_};
    Cable cable_;
    std::array<std::unique_ptr<Node>, 2> nodes_;
    Oracle oracle_;
    Checker checker_;
    std::array<std::unique_ptr<Workload>, 2> workloads_;
    std::array<unsigned, 2> busy_{};
    std::array<uint64_t, 2> restart_us_{};
    std::array<unsigned, 2> stand_alone_seen_{};
    std::array<unsigned, 2> diskless_seen_{};
    uint64_t mend_us_ = 0;
    uint64_t heal_us_ = 0;
    uint64_t returns_before_ = 0;  // the faults stopped
};

}  // namespace duplex::sim
