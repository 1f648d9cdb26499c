// The applications of one volume on one node: they open the device when it is Primary and keep it busy.
#pragma once

#include <array>
#include <unordered_map>
#include <vector>

#include "engine/volume.hpp"
#include "sim/node.hpp"
#include "sim/oracle.hpp"
#include "sim/scenario.hpp"
#include "sim/scheduler.hpp"

namespace duplex::sim {

class Checker;

class Workload final : public engine::User {
  public:
    Workload(Scheduler& scheduler, Verdict& verdict, Journal& journal, const WorkloadModel& model, Node& node,
             unsigned volume, Oracle& oracle, Checker& checker)
        : scheduler_(scheduler),
          verdict_(verdict),
          journal_(journal),
          model_(model),
          node_(node),
          volume_(volume),
          oracle_(oracle),
          checker_(checker) {}

    // The device is Primary: opens it and begins.
    void start();
    // No new requests; closes the device when the last one has ended, then calls drained.
    void stop(std::function<void()> drained);
    // The node died: nothing comes back.
    void forget();
    bool active() const { return open_; }
    size_t in_flight() const { return requests_.size(); }
    uint64_t oldest_request_us() const;

    void completed(engine::Request& request) override;
    void room() override { schedule(); }

  private:
    struct Pending {
        WriteId write = 0;
        PendingRead* read = nullptr;
        uint64_t issued_us = 0;
        uint64_t writes_before_flush = 0;  // on the local disk
        uint64_t flush_issued = 0;         // in the order of the oracle
        bool expected_to_succeed = false;
        uint64_t interruptions = 0;
    };

    void schedule();
    void issue();
    bool draw_place(bool is_write, Sector& sector, uint32_t& size_sectors) const;
    engine::Op draw_op() const;
    void write_completed(engine::Request& request, const Pending& pending);
    void flush_completed(const Pending& pending);
    void check_fua(const engine::Request& request, const Write& write) const;
    void close();

    Scheduler& scheduler_;
    Verdict& verdict_;
    Journal& journal_;
    const WorkloadModel& model_;
    Node& node_;
    const unsigned volume_;
    Oracle& oracle_;
    Checker& checker_;
    bool open_ = false;
    bool stopping_ = false;
    std::function<void()> drained_;
    Scheduler::EventId issue_event_ = 0;
    std::unordered_map<engine::Request*, Pending> requests_;
};

}  // namespace duplex::sim
