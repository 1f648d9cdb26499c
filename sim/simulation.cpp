#include "sim/simulation.hpp"

namespace duplex::sim {

using engine::ConnState;
using engine::DiskState;
using engine::Reply;
using engine::Role;
using engine::State;

namespace {

constexpr uint64_t second_us = 1'000'000;
constexpr uint64_t set_up_limit_us = 600 * second_us;
constexpr uint64_t calm_limit_us = 900 * second_us;
// More than that in a second is a loop that does not end. Where time passes its limits are enough: a resync
// of a few hundred MiB at the lowest rate, under a busy load, takes millions of events.
constexpr uint64_t events_max = 3'000'000;
constexpr uint64_t events_per_second_max = 100'000;
// From Ahead to SyncSource, until the load counts as more than the link can take.
constexpr uint64_t returns_max = 20;

}  // namespace

Simulation::Simulation(uint64_t seed)
    : scheduler_(seed),
      journal_(scheduler_),
      scenario_(Scenario::draw(scheduler_.random, seed)),
      cable_(scheduler_, scenario_.network),
      nodes_{std::make_unique<Node>(scheduler_, journal_, cable_, scenario_, 0,
                                    [this](Node& n) { after_run(n); }),
             std::make_unique<Node>(scheduler_, journal_, cable_, scenario_, 1,
                                    [this](Node& n) { after_run(n); })},
      oracle_(verdict_, journal_, {&nodes_[0]->data_disk(), &nodes_[1]->data_disk()}),
      checker_(scheduler_, verdict_, scenario_, oracle_) {
    for (auto& node : nodes_)
        node->data_disk().observer = [this, &node](const engine::DiskIo& io, int error) {
            if (journal_.traces(io.sector.value, io.size_bytes / sector_bytes))
                journal_.add(
                    node->name(),
                    fmt::format("trace: disk operation {}, {}s +{}, error {}, now {:#x}",
                                static_cast<int>(io.kind), io.sector.value, io.size_bytes / sector_bytes,
                                error, node->data_disk().word_at(Sector(*journal_.traced_sector))));
        };
    const std::array<Node*, 2> nodes{nodes_[0].get(), nodes_[1].get()};
    checker_.watch(nodes, &wire_watch_);
    watch_disks_and_cable(nodes);
    for (const unsigned side : {0u, 1u})
        workloads_[side] = std::make_unique<Workload>(scheduler_, verdict_, journal_, scenario_.workload,
                                                      *nodes_[side], oracle_, checker_);
}

Simulation::~Simulation() = default;

void Simulation::watch_disks_and_cable(std::array<Node*, 2> nodes) {
    wire_watch_.watch(nodes);
    cable_.watch = &wire_watch_;
    for (Node* node : nodes)
        for (unsigned volume = 0; volume < scenario_.volumes; ++volume)
            node->data_disk(volume).submission_observer = [this, node, volume](const engine::DiskIo& io) {
                disk_checks_.before_submission(*node, volume, io);
            };
}

void Simulation::after_run(Node& node) {
    wire_watch_.after_run(node.side());
    checker_.after_run(node);
}

bool Simulation::run() {
    say(scenario_.describe());
    if (set_up() && first_primary()) {
        chaos();
        calm();
    }
    return !verdict_.failed();
}

template <typename Condition>
bool Simulation::run_until(Condition condition, uint64_t limit_us) {
    const uint64_t end_us = scheduler_.now_us() + limit_us;
    bool timed_out = false;
    const Scheduler::EventId alarm = scheduler_.after(limit_us, [&timed_out] { timed_out = true; });
    while (!verdict_.failed() && !condition()) {
        if (timed_out || scheduler_.now_us() > end_us) return false;
        if (scheduler_.events() > events_max + scheduler_.now_us() / second_us * events_per_second_max) {
            verdict_.fail("{} events and no end: {} and {}", scheduler_.events(),
                          engine::describe(nodes_[0]->state()), engine::describe(nodes_[1]->state()));
            break;
        }
        if (!scheduler_.step()) break;
    }
    scheduler_.cancel(alarm);
    return !verdict_.failed() && condition();
}

void Simulation::run_for(uint64_t us) {
    (void)run_until([] { return false; }, us);
}

// ---- the administrator
// ----------------------------------------------------------------------------------------------

template <typename Send>
void Simulation::command(Node& node, const char* what, Send send, Then then) {
    const unsigned side = node.side();
    ++busy_[side];
    say(fmt::format("{}: {}", node.name(), what));
    send(node.resource(), [this, &node, what, side, incarnation = node.incarnation(),
                           then = std::move(then)](const Reply& reply) {
        // From the loop of the process; what follows is the administrator's, a little later.
        scheduler_.after(scheduler_.random.below(1000), [this, &node, what, side, incarnation, then, reply] {
            if (!node.running() || node.incarnation() != incarnation) return;
            --busy_[side];
            say(fmt::format("{}: {}: {} {}", node.name(), what, reply.code, reply.info));
            if (then) then(reply);
        });
    });
    node.turn();
}

void Simulation::start(Node& node) {
    say(fmt::format("{}: starts", node.name()));
    busy_[node.side()] = 0;
    node.start();
    attach(node, [this, &node](const Reply& reply) {
        if (!reply.ok() && scenario_.weights.disk_error == 0 && !reply.info.starts_with("interrupted"))
            verdict_.fail("node {}: attach after a start: {} {}", node.side(), reply.code, reply.info);
        connect(node, false);
    });
}

// As drbdadm does it.
void Simulation::attach(Node& node, Then then) {
    if (const Status applied = node.meta_data().apply_al(); !applied) {
        verdict_.fail("node {}: {}", node.side(), applied.error().text);
        return;
    }
    command(
        node, "attach",
        [&node](engine::Resource& r, engine::Done done) {
            r.attach(0, node.attach_command(), std::move(done));
        },
        std::move(then));
}

void Simulation::connect(Node& node, bool discard_my_data) {
    if (discard_my_data) oracle_.discard_ordered(node.side());
    command(node, discard_my_data ? "connect --discard-my-data" : "connect",
            [&node, discard_my_data](engine::Resource& r, engine::Done done) {
                r.connect(node.connect_command(discard_my_data), std::move(done));
            });
}

void Simulation::promote(Node& node, bool force) {
    command(
        node, force ? "primary --force" : "primary",
        [force](engine::Resource& r, engine::Done done) { r.primary(0, {force}, std::move(done)); },
        [this, &node, force](const Reply& reply) {
            if (!reply.ok()) return;
            if (force) oracle_.found(node.side());
            workloads_[node.side()]->start();
        });
}

void Simulation::demote(Node& node, std::function<void()> then) {
    say(fmt::format("{}: stops its applications", node.name()));
    workloads_[node.side()]->stop([this, &node, then = std::move(then)] {
        command(
            node, "secondary",
            [](engine::Resource& r, engine::Done done) { r.secondary(0, std::move(done)); },
            [then](const Reply&) {
                if (then) then();
            });
    });
}

void Simulation::verify(Node& node, uint64_t stop_sector) {
    command(node, "verify", [stop_sector](engine::Resource& r, engine::Done done) {
        r.verify(0, {std::nullopt, stop_sector}, std::move(done));
    });
}

void Simulation::stop(Node& node, bool power) {
    if (!node.running()) return;
    say(fmt::format("{}: {}", node.name(), power ? "loses power" : "is killed"));
    checker_.before_stop(node);
    workloads_[node.side()]->forget();
    node.stop(power);
    wire_watch_.node_died(node.side());
    busy_[node.side()] = 0;
    checker_.after_stop(node, power);
}

// Without the wish for it no administrator promotes a node while the other may have newer data.
bool Simulation::may_promote(const Node& node) const {
    if (scenario_.promote_anything) return true;
    const Node& peer = *nodes_[1 - node.side()];
    if (oracle_.has_exclusive_data(peer.side())) return false;
    if (scenario_.net.allow_two_primaries) return checker_.in_contact(node.side());
    const bool connected = node.state().conn >= ConnState::connected;
    return connected || !peer.running() || peer.state().role != Role::primary;
}

// ---- before the faults
// ----------------------------------------------------------------------------------------------

bool Simulation::set_up() {
    Random& random = scheduler_.random;
    for (auto& node : nodes_) {
        node->meta_data().create();
        if (scenario_.skip_initial_sync) continue;
        // Both disks have a past.
        for (const HotRange& range : scenario_.workload.ranges)
            if (random.chance(50))
                oracle_.prefill(node->side(), node->data_disk(), Sector(range.first_sector),
                                static_cast<uint32_t>(random.between(1, range.size_sectors)));
    }
    for (auto& node : nodes_) {
        node->start();
        attach(*node);
    }
    const auto attached = [this] {
        return nodes_[0]->state().disk == DiskState::inconsistent &&
               nodes_[1]->state().disk == DiskState::inconsistent && !busy(*nodes_[0]) && !busy(*nodes_[1]);
    };
    if (!run_until(attached, set_up_limit_us)) {
        verdict_.fail("the first attach does not end");
        return false;
    }
    if (scenario_.forced_alone) return true;
    for (auto& node : nodes_) connect(*node, false);
    const auto connected = [this] {
        return nodes_[0]->state().conn == ConnState::connected &&
               nodes_[1]->state().conn == ConnState::connected;
    };
    if (!run_until(connected, set_up_limit_us)) {
        verdict_.fail("the first connect does not end: {} and {}", engine::describe(nodes_[0]->state()),
                      engine::describe(nodes_[1]->state()));
        return false;
    }
    return true;
}

bool Simulation::first_primary() {
    Node& node = *nodes_[scheduler_.random.below(2)];
    if (scenario_.skip_initial_sync) {
        command(node, "new-current-uuid --clear-bitmap",
                [](engine::Resource& r, engine::Done done) { r.new_current_uuid(0, true, std::move(done)); });
        if (!run_until([this] { return checker_.all_in_sync(); }, set_up_limit_us)) {
            verdict_.fail("new-current-uuid --clear-bitmap leaves {} and {}",
                          engine::describe(nodes_[0]->state()), engine::describe(nodes_[1]->state()));
            return false;
        }
        oracle_.found(node.side());
        promote(node, false);
    } else {
        promote(node, true);
    }
    if (!run_until([&] { return workloads_[node.side()]->active() && oracle_.founded(); }, set_up_limit_us)) {
        verdict_.fail("the first promotion does not end: {}", engine::describe(node.state()));
        return false;
    }
    if (scenario_.forced_alone)
        for (auto& each : nodes_) connect(*each, false);
    if (!scenario_.wait_for_first_sync) return true;
    if (!run_until([this] { return checker_.all_in_sync() || load_is_too_much(); }, set_up_limit_us)) {
        verdict_.fail("the initial sync does not end: {} and {}", engine::describe(nodes_[0]->state()),
                      engine::describe(nodes_[1]->state()));
        return false;
    }
    return true;
}

// ---- the faults
// -----------------------------------------------------------------------------------------------------

void Simulation::chaos() {
    for (auto& node : nodes_) node->host().model().failing_percent = scenario_.failing_handlers_percent;
    const uint64_t end_us = scheduler_.now_us() + scenario_.chaos_us;
    while (scheduler_.now_us() < end_us && !verdict_.failed()) {
        run_for(1 + scheduler_.random.below(scenario_.pause_us_max));
        if (!verdict_.failed()) something_happens();
    }
}

void Simulation::something_happens() {
    const uint64_t now = scheduler_.now_us();
    Random& random = scheduler_.random;
    if (cable_.is_cut() && now >= mend_us_) {
        say("the cable is mended");
        cable_.mend();
    }
    for (auto& node : nodes_) {
        if (now >= heal_us_) node->data_disk().broken = {};
        if (!node->running() && now >= restart_us_[node->side()]) start(*node);
    }
    const Weights& w = scenario_.weights;
    const std::array<unsigned, 15> weights{
        w.power_loss,  w.kill,   w.cut,        w.reset, w.disk_error, w.promote, w.demote,
        w.disconnect,  w.detach, w.invalidate, w.pause, w.verify,     w.suspend, w.invalidate_remote,
        w.force_detach};
    unsigned sum = 0;
    for (const unsigned weight : weights) sum += weight;
    if (sum == 0) return;
    uint64_t draw = random.below(sum);
    unsigned what = 0;
    while (draw >= weights[what]) draw -= weights[what++];
    Node& node = *nodes_[random.below(2)];
    if (node.running()) happens(node, what);
}

bool Simulation::happens(Node& node, unsigned what) {
    Random& random = scheduler_.random;
    Node& peer = *nodes_[1 - node.side()];
    const State s = node.state();
    const uint64_t outage_us = random.below(scenario_.outage_us_max);
    const auto send = [&](const char* name, auto method) {
        command(node, name,
                [method](engine::Resource& r, engine::Done done) { (r.*method)(0, std::move(done)); });
    };
    if (what >= 5 && busy(node)) return false;
    switch (what) {
        case 0:
        case 1:
            if (!peer.running() && !scenario_.both_machines_fail) return false;
            stop(node, what == 0);
            restart_us_[node.side()] = scheduler_.now_us() + outage_us;
            // A power failure may take both at the same moment.
            if (what == 0 && scenario_.both_machines_fail && random.chance(30)) {
                stop(peer, true);
                restart_us_[peer.side()] = scheduler_.now_us() + random.below(scenario_.outage_us_max);
            }
            return true;
        case 2:
            say("the cable is cut");
            cable_.cut();
            mend_us_ = scheduler_.now_us() + outage_us;
            return true;
        case 3:
            say("the connections are reset");
            cable_.reset_all();
            return true;
        case 4: {
            if (node.side() != scenario_.failing_disk) return false;
            say(fmt::format("{}: the disk fails", node.name()));
            Disk::Broken& broken = node.data_disk().broken;
            broken.first = random.below(scenario_.data_sectors);
            broken.end = random.chance(50) ? node.data_disk().limits().size_sectors : broken.first + 1024;
            broken.percent = random.chance(50) ? 100 : 30;
            broken.reads = random.chance(70);
            broken.writes = !broken.reads || random.chance(70);
            heal_us_ = scheduler_.now_us() + outage_us;
            return true;
        }
        case 5:
            if (s.role == Role::primary)
                workloads_[node.side()]->start();
            else if (may_promote(node))
                promote(node, false);
            return true;
        case 6:
            if (s.role == Role::primary) demote(node);
            return true;
        case 7:
            if (s.conn == ConnState::stand_alone)
                connect(node, false);
            else
                command(node, "disconnect",
                        [](engine::Resource& r, engine::Done done) { r.disconnect(false, std::move(done)); });
            return true;
        case 8:
            if (s.disk == DiskState::diskless)
                attach(node);
            else
                command(node, "detach",
                        [](engine::Resource& r, engine::Done done) { r.detach(0, false, std::move(done)); });
            return true;
        case 9:
            if (s.role == Role::primary || s.conn != ConnState::connected || s.pdsk != DiskState::up_to_date)
                return false;
            send("invalidate", &engine::Resource::invalidate);
            return true;
        case 12:
            if (s.susp)
                send("resume-io", &engine::Resource::resume_io);
            else
                send("suspend-io", &engine::Resource::suspend_io);
            return true;
        case 13:
            if (s.peer == Role::primary || s.conn != ConnState::connected || s.disk != DiskState::up_to_date)
                return false;
            send("invalidate-remote", &engine::Resource::invalidate_remote);
            return true;
        case 14:
            if (s.disk == DiskState::diskless || s.role == Role::primary) return false;
            command(node, "detach --force",
                    [](engine::Resource& r, engine::Done done) { r.detach(0, true, std::move(done)); });
            return true;
        case 11:
            if (s.conn != ConnState::connected) return false;
            verify(node, UINT64_MAX);
            return true;
        default:
            if (s.user_isp)
                send("resume-sync", &engine::Resource::resume_sync);
            else
                send("pause-sync", &engine::Resource::pause_sync);
            return true;
    }
}

// ---- after the faults
// -----------------------------------------------------------------------------------------------

void Simulation::calm() {
    if (verdict_.failed()) return;
    say("the faults stop");
    returns_before_ = checker_.returns();
    cable_.mend();
    for (auto& node : nodes_) {
        node->data_disk().broken = {};
        node->host().model().failing_percent = 0;
    }
    const uint64_t end_us = scheduler_.now_us() + calm_limit_us;
    const uint64_t quiet_us = scheduler_.now_us() + scheduler_.random.below(3 * second_us);
    while (!verdict_.failed()) {
        if (scheduler_.now_us() > end_us) {
            verdict_.fail("the nodes do not come to rest: {} {} and {} {}",
                          engine::describe(nodes_[0]->state()), workloads_[0]->in_flight(),
                          engine::describe(nodes_[1]->state()), workloads_[1]->in_flight());
            return;
        }
        if (checker_.no_good_data()) {
            if (scenario_.weights.disk_error == 0)
                verdict_.fail("no good data are left, although no disk has failed");
            say("a disk error has taken the only good data");
            return;
        }
        for (auto& node : nodes_) tidy(*node);
        run_for(500'000);
        if (scheduler_.now_us() < quiet_us) continue;
        // Stop the applications, where they still run.
        for (auto& node : nodes_)
            if (node->running() && workloads_[node->side()]->active() && !busy(*node) &&
                (checker_.all_in_sync() || load_is_too_much()))
                demote(*node);
        if (at_rest()) break;
    }
    if (verdict_.failed()) return;
    run_for(5 * second_us);
    if (!verdict_.failed() && !at_rest())
        verdict_.fail("came to rest and did not stay there: {} and {}", engine::describe(nodes_[0]->state()),
                      engine::describe(nodes_[1]->state()));
    if (!verdict_.failed()) checker_.final_check();
}

// Congestion is looked for at every write, in a resync as well (states 17): a load that exceeds the limit
// before the peer's first answer keeps the peer Behind for as long as it lasts. So it is configured, and no
// fault; that the node does not come back from Ahead, or the peer is not in sync when the load has ended, is
// one.
bool Simulation::load_is_too_much() const {
    return checker_.returns() - returns_before_ >= returns_max;
}

bool Simulation::at_rest() {
    return checker_.all_in_sync() && !workloads_[0]->active() && !workloads_[1]->active() &&
           !busy(*nodes_[0]) && !busy(*nodes_[1]) && nodes_[0]->state().role == Role::secondary &&
           nodes_[1]->state().role == Role::secondary;
}

// What an administrator does who wants everything to run again.
void Simulation::tidy(Node& node) {
    if (!node.running()) return start(node);
    if (busy(node)) return;
    const State s = node.state();
    Workload& workload = *workloads_[node.side()];
    // suspend-io and the frozen states wait for this word; what waits cannot end, and keeps the node Primary.
    if (s.susp || (s.susp_fen && s.conn == ConnState::stand_alone))
        return command(node, "resume-io",
                       [](engine::Resource& r, engine::Done done) { r.resume_io(0, std::move(done)); });
    if (s.disk == DiskState::diskless) {
        // An attach is refused for ever where the data have parted: first each for itself.
        if (++diskless_seen_[node.side()] % 4 == 0 && s.conn >= ConnState::connected &&
            checker_.generations_parted())
            return command(node, "disconnect --force", [](engine::Resource& r, engine::Done done) {
                r.disconnect(true, std::move(done));
            });
        attach(node, [this, &node](const Reply& reply) {
            if (reply.ok()) return;
            const State now = node.state();
            // What its applications saw is out of reach: they have to go.
            if (now.role == Role::primary && now.susp_nod)
                stop(node, false);
            else if (now.role == Role::primary && now.pdsk != DiskState::up_to_date)
                demote(node);
            else if (now.conn == ConnState::stand_alone)
                connect(node, false);
            else
                give_up_damaged_data(*nodes_[1 - node.side()]);
        });
        return;
    }
    if (s.user_isp)
        return command(node, "resume-sync",
                       [](engine::Resource& r, engine::Done done) { r.resume_sync(0, std::move(done)); });
    if (s.role == Role::primary && !workload.active() && checker_.all_in_sync()) return demote(node);
    if (s.conn == ConnState::verify_s) return verify(node, 0);
    // Frozen I/O is sent again when the connection is new (states 15.3).
    const bool peer_is_good = s.conn == ConnState::connected && s.pdsk == DiskState::up_to_date;
    if (s.susp_nod && peer_is_good) cable_.reset_all();
    // So does a disk that had errors become a sync target.
    if (s.disk == DiskState::inconsistent && peer_is_good) cable_.reset_all();
    if (s.conn != ConnState::stand_alone) return;
    if (s.role == Role::primary && s.disk == DiskState::inconsistent) return give_up_damaged_data(node);
    // Plainly first; if that ends again the data have parted, and one side has to give way: the second node.
    if (++stand_alone_seen_[node.side()] <= 2) return connect(node, false);
    Node& victim = *nodes_[1];
    if (!oracle_.diverged() && !checker_.generations_parted()) {
        verdict_.fail("node {} goes StandAlone again and again without a split brain", node.side());
        return;
    }
    if (&node != &victim) return connect(node, false);
    if (s.role == Role::primary) return demote(node);
    connect(node, true);
}

// Neither it nor a peer without a disk takes older data while somebody uses the newer ones, damaged as they
// are; frozen requests end only with their node.
void Simulation::give_up_damaged_data(Node& node) {
    const State s = node.state();
    if (busy(node) || s.role != Role::primary || s.disk != DiskState::inconsistent) return;
    if (s.susp_nod)
        stop(node, false);
    else
        demote(node);
}

}  // namespace duplex::sim
