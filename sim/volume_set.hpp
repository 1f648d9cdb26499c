// What the simulation has once for each volume of the two nodes.
#pragma once

#include <array>
#include <string>

#include "sim/checker.hpp"
#include "sim/node.hpp"
#include "sim/oracle.hpp"
#include "sim/scenario.hpp"
#include "sim/verdict.hpp"
#include "sim/workload.hpp"

namespace duplex::sim {

struct VolumeSet {
    VolumeSet(Scheduler& scheduler, Verdict& run, Journal& journal, const Scenario& scenario,
              std::array<Node*, 2> nodes, WireWatch& wire, unsigned volume,
              const std::shared_ptr<uint64_t>& sequence)
        : number(volume),
          label(volume == 0 ? "" : fmt::format(" (volume {})", volume)),
          verdict(run, label),
          oracle(verdict, journal, {&nodes[0]->data_disk(volume), &nodes[1]->data_disk(volume)}, volume,
                 sequence),
          checker(scheduler, verdict, scenario, oracle, volume),
          workloads{
              Workload(scheduler, verdict, journal, scenario.workload, *nodes[0], volume, oracle, checker),
              Workload(scheduler, verdict, journal, scenario.workload, *nodes[1], volume, oracle, checker)} {
        checker.watch(nodes, &wire);
    }

    const unsigned number;
    const std::string label;  // behind what is said of it
    Verdict verdict;
    Oracle oracle;
    Checker checker;
    std::array<Workload, 2> workloads;  // of each node
    std::array<unsigned, 2> diskless_seen{};
    uint64_t returns_before = 0;  // the faults stopped
};

}  // namespace duplex::sim
