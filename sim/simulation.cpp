#include "sim/simulation.hpp"

#include <algorithm>

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
// Half seconds, until a command does not come back by itself.
constexpr unsigned patience = 40;

}  // namespace

Simulation::Simulation(uint64_t seed)
    : scheduler_(seed),
      journal_(scheduler_),
      scenario_(Scenario::draw(scheduler_.random, seed)),
      cable_(scheduler_, scenario_.network),
      nodes_{std::make_unique<Node>(scheduler_, journal_, cable_, scenario_, 0,
                                    [this](Node& n) { after_run(n); }),
             std::make_unique<Node>(scheduler_, journal_, cable_, scenario_, 1,
                                    [this](Node& n) { after_run(n); })} {
    const std::array<Node*, 2> nodes{nodes_[0].get(), nodes_[1].get()};
    wire_watch_.watch(nodes);
    cable_.watch = &wire_watch_;
    const auto sequence = std::make_shared<uint64_t>(0);
    for (unsigned volume = 0; volume < scenario_.volumes; ++volume) {
        volumes_.emplace_back(scheduler_, verdict_, journal_, scenario_, nodes, wire_watch_, volume,
                              sequence);
        for (Node* const node : nodes) watch_disk(*node, volume);
    }
    for (Node* const node : nodes) listen_to(*node);
}

void Simulation::listen_to(Node& node) {
    node.host().split_brain_solved = [this, &node](unsigned volume, unsigned primaries, bool self_wins) {
        volumes_[volume].checker.split_brain_solved(node.side(), primaries, self_wins);
    };
    if (!scenario_.lost_primary_restarts) return;
    node.host().handler_called = [this, &node](std::string_view name) {
        if (name == "pri-lost" || name == "pri-lost-after-sb") restart(node);
    };
}

void Simulation::watch_disk(Node& node, unsigned volume) {
    Disk& disk = node.data_disk(volume);
    disk.submission_observer = [this, &node, volume](const engine::DiskIo& io) {
        disk_checks_.before_submission(node, volume, io);
    };
    disk.observer = [this, &node, &disk, volume](const engine::DiskIo& io, int error) {
        if (journal_.traces(volume, io.sector.value, io.size_bytes / sector_bytes))
            journal_.add(node.name(),
                         fmt::format("trace: disk operation {}, {}s +{}, error {}, now {:#x}",
                                     static_cast<int>(io.kind), io.sector.value, io.size_bytes / sector_bytes,
                                     error, disk.word_at(Sector(*journal_.traced_sector))));
    };
}

void Simulation::after_run(Node& node) {
    wire_watch_.after_run(node.side());
    for (VolumeSet& volume : volumes_) volume.checker.after_run(node);
}

Simulation::~Simulation() = default;

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
            verdict_.fail("{} events and no end: {}", scheduler_.events(), describe());
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

std::string Simulation::describe() const {
    std::string text;
    for (const VolumeSet& volume : volumes_)
        for (const auto& node : nodes_)
            text += fmt::format("{}{}: {}, {} requests, {} bits", text.empty() ? "" : "; ",
                                node->name() + volume.label, engine::describe(node->state(volume.number)),
                                volume.workloads[node->side()].in_flight(),
                                node->running() ? node->device(volume.number)->bitmap.set_bits() : 0);
    return text;
}

// ---- before the faults
// ----------------------------------------------------------------------------------------------

bool Simulation::set_up() {
    Random& random = scheduler_.random;
    for (auto& node : nodes_) {
        for (VolumeSet& volume : volumes_) {
            node->meta_data(volume.number).create();
            if (scenario_.skip_initial_sync) continue;
            // Both disks have a past.
            for (const HotRange& range : scenario_.workload.ranges)
                if (random.chance(50))
                    volume.oracle.prefill(node->side(), node->data_disk(volume.number),
                                          Sector(range.first_sector),
                                          static_cast<uint32_t>(random.between(1, range.size_sectors)));
        }
    }
    for (auto& node : nodes_) {
        node->start();
        for (VolumeSet& volume : volumes_) attach(*node, volume);
    }
    const auto attached = [this] {
        return of_all([](const State& s) { return s.disk == DiskState::inconsistent; }) &&
               !busy(*nodes_[0]) && !busy(*nodes_[1]);
    };
    if (!run_until(attached, set_up_limit_us)) {
        verdict_.fail("the first attach does not end");
        return false;
    }
    if (scenario_.forced_alone) return true;
    for (auto& node : nodes_) connect(*node, false);
    const auto connected = [this] {
        return of_all([](const State& s) { return s.conn == ConnState::connected; });
    };
    if (!run_until(connected, set_up_limit_us)) {
        verdict_.fail("the first connect does not end: {}", describe());
        return false;
    }
    return true;
}

bool Simulation::first_primary() {
    Node& node = *nodes_[scheduler_.random.below(2)];
    if (scenario_.skip_initial_sync) {
        for (const VolumeSet& volume : volumes_)
            command(node, "new-current-uuid --clear-bitmap" + volume.label,
                    [number = volume.number](engine::Resource& r, engine::Done done) {
                        r.new_current_uuid(number, true, std::move(done));
                    });
        if (!run_until([this] { return all_in_sync(); }, set_up_limit_us)) {
            verdict_.fail("new-current-uuid --clear-bitmap leaves {}", describe());
            return false;
        }
        for (VolumeSet& volume : volumes_) volume.oracle.found(node.side());
    }
    for (VolumeSet& volume : volumes_) promote(node, volume, !scenario_.skip_initial_sync);
    const auto promoted = [this, &node] {
        return std::all_of(volumes_.begin(), volumes_.end(), [&node](const VolumeSet& volume) {
            return volume.workloads[node.side()].active() && volume.oracle.founded();
        });
    };
    if (!run_until(promoted, set_up_limit_us)) {
        verdict_.fail("the first promotion does not end: {}", describe());
        return false;
    }
    if (scenario_.forced_alone)
        for (auto& each : nodes_) connect(*each, false);
    if (!scenario_.wait_for_first_sync) return true;
    load_limit_us_ = scheduler_.now_us() + set_up_limit_us / 2;
    if (!run_until([this] { return all_in_sync() || load_is_too_much(); }, set_up_limit_us)) {
        verdict_.fail("the initial sync does not end: {}", describe());
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
        if (now >= heal_us_) heal(*node);
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
    VolumeSet& volume = draw_volume();
    const bool apart = scenario_.volumes_apart && random.chance(50);
    const State s = node.state(volume.number);
    const uint64_t outage_us = random.below(scenario_.outage_us_max);
    const auto send = [&](const char* name, VolumeCommand method) { command(node, volume, name, method); };
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
            say(fmt::format("{}: the disk fails{}", node.name(), volume.label));
            Disk& disk = node.data_disk(volume.number);
            Disk::Broken& broken = disk.broken;
            broken.first = random.below(scenario_.data_sectors);
            broken.end = random.chance(50) ? disk.limits().size_sectors : broken.first + 1024;
            broken.percent = random.chance(50) ? 100 : 30;
            broken.reads = random.chance(70);
            broken.writes = !broken.reads || random.chance(70);
            heal_us_ = scheduler_.now_us() + outage_us;
            return true;
        }
        case 5:
            if (!apart)
                promote_all(node);
            else if (s.role == Role::primary)
                volume.workloads[node.side()].start();
            else if (may_promote(node, volume))
                promote(node, volume, false);
            return true;
        case 6:
            if (!apart)
                demote_all(node);
            else if (s.role == Role::primary)
                demote(node, volume);
            return true;
        case 7:
            if (s.conn == ConnState::stand_alone)
                connect(node, false);
            else
                disconnect(node, false);
            return true;
        case 8:
            if (s.disk == DiskState::diskless)
                attach(node, volume);
            else
                detach(node, volume, false);
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
            detach(node, volume, true);
            return true;
        case 11:
            if (s.conn != ConnState::connected) return false;
            verify(node, volume, UINT64_MAX);
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
    for (VolumeSet& volume : volumes_) volume.returns_before = volume.checker.returns();
    cable_.mend();
    for (auto& node : nodes_) {
        heal(*node);
        node->host().model().failing_percent = 0;
    }
    const uint64_t end_us = scheduler_.now_us() + calm_limit_us;
    load_limit_us_ = scheduler_.now_us() + calm_limit_us / 2;
    const uint64_t quiet_us = scheduler_.now_us() + scheduler_.random.below(3 * second_us);
    while (!verdict_.failed()) {
        if (scheduler_.now_us() > end_us) {
            verdict_.fail("the nodes do not come to rest: {}", describe());
            return;
        }
        for (VolumeSet& volume : volumes_) {
            if (!volume.checker.no_good_data()) continue;
            if (scenario_.weights.disk_error == 0)
                volume.verdict.fail("no good data are left, although no disk has failed");
            say("a disk error has taken the only good data" + volume.label);
            return;
        }
        for (auto& node : nodes_) tidy(*node);
        run_for(500'000);
        if (scheduler_.now_us() < quiet_us) continue;
        // Stop the applications, where they still run.
        for (auto& node : nodes_)
            for (VolumeSet& volume : volumes_)
                if (node->running() && volume.workloads[node->side()].active() && !busy(*node) &&
                    (volume.checker.all_in_sync() || load_is_too_much(volume)))
                    demote(*node, volume);
        if (at_rest()) break;
    }
    if (verdict_.failed()) return;
    run_for(5 * second_us);
    if (!verdict_.failed() && !at_rest())
        verdict_.fail("came to rest and did not stay there: {}", describe());
    for (VolumeSet& volume : volumes_)
        if (!verdict_.failed()) volume.checker.final_check();
}

// Congestion is looked for at every write, in a resync as well (states 17): a load that exceeds the limit
// before the peer's first answer keeps the peer Behind for as long as it lasts. So it is configured, and no
// fault; that the node does not come back from Ahead, or the peer is not in sync when the load has ended, is
// one.
// So do two volumes under protocol A: what the one writes queues up for a slow peer, and the resync of the
// other waits for each extent until the writes that it last took there have gone through that queue.
bool Simulation::load_is_too_much(const VolumeSet& volume) const {
    const bool waits_for_the_other = volumes_.size() > 1 && scheduler_.now_us() > load_limit_us_;
    return waits_for_the_other || volume.checker.returns() - volume.returns_before >= returns_max;
}

bool Simulation::load_is_too_much() const {
    return std::any_of(volumes_.begin(), volumes_.end(),
                       [this](const VolumeSet& volume) { return load_is_too_much(volume); });
}

bool Simulation::all_in_sync() const {
    return std::all_of(volumes_.begin(), volumes_.end(),
                       [](const VolumeSet& volume) { return volume.checker.all_in_sync(); });
}

bool Simulation::at_rest() const {
    const bool applications = std::any_of(volumes_.begin(), volumes_.end(), [](const VolumeSet& volume) {
        return volume.workloads[0].active() || volume.workloads[1].active();
    });
    return all_in_sync() && !applications && !busy(*nodes_[0]) && !busy(*nodes_[1]) &&
           !is_primary(*nodes_[0]) && !is_primary(*nodes_[1]);
}

// What an administrator does who wants everything to run again.
void Simulation::tidy(Node& node) {
    if (!node.running()) return start(node);
    // A promotion waits for as long as its disk is Inconsistent and the peer's good (states 2.4 b, rule 8).
    if (busy(node)) {
        if (++busy_seen_[node.side()] > patience) renew_connection(node);
        return;
    }
    busy_seen_[node.side()] = 0;
    for (VolumeSet& volume : volumes_)
        if (tidy(node, volume)) return;
    renew_connection(node);
    if (node.state().conn == ConnState::stand_alone) connect_again(node);
}

// true: it has something to do, and the rest can wait.
bool Simulation::tidy(Node& node, VolumeSet& volume) {
    const State s = node.state(volume.number);
    const Workload& workload = volume.workloads[node.side()];
    // suspend-io and the frozen states wait for this word; what waits cannot end, and keeps the node Primary.
    if (s.susp || (s.susp_fen && s.conn == ConnState::stand_alone))
        command(node, volume, "resume-io", &engine::Resource::resume_io);
    else if (s.disk == DiskState::diskless)
        attach_again(node, volume);
    else if (s.user_isp)
        command(node, volume, "resume-sync", &engine::Resource::resume_sync);
    else if (s.role == Role::primary && !workload.active() && volume.checker.all_in_sync())
        demote(node, volume);
    else if (s.conn == ConnState::verify_s)
        verify(node, volume, 0);
    else if (s.conn == ConnState::stand_alone && s.role == Role::primary && s.disk == DiskState::inconsistent)
        give_up_damaged_data(node, volume);
    else
        return false;
    return true;
}

void Simulation::attach_again(Node& node, VolumeSet& volume) {
    // An attach is refused for ever where the data have parted: first each for itself.
    if (++volume.diskless_seen[node.side()] % 4 == 0 &&
        node.state(volume.number).conn >= ConnState::connected && volume.checker.generations_parted())
        return disconnect(node, true);
    attach(node, volume, [this, &node, &volume](const Reply& reply) {
        if (reply.ok()) return;
        const State now = node.state(volume.number);
        // What its applications saw is out of reach: they have to go.
        if (now.role == Role::primary && now.susp_nod)
            stop(node, false);
        else if (now.role == Role::primary && now.pdsk != DiskState::up_to_date)
            demote(node, volume);
        else if (now.conn == ConnState::stand_alone)
            connect(node, false);
        else
            give_up_damaged_data(*nodes_[1 - node.side()], volume);
    });
}

void Simulation::renew_connection(const Node& node) {
    bool has_data = true;
    bool needs_a_new_one = false;
    for (const VolumeSet& volume : volumes_) {
        const State s = node.state(volume.number);
        const bool peer_is_good = s.conn == ConnState::connected && s.pdsk == DiskState::up_to_date;
        has_data &= peer_is_good || (volumes_.size() > 1 && s.disk == DiskState::up_to_date);
        // So does a disk that had errors become a sync target.
        needs_a_new_one |= s.disk == DiskState::inconsistent && peer_is_good;
    }
    // Frozen I/O is sent again when the connection is new (states 15.3).
    needs_a_new_one |= node.state().susp_nod && has_data && node.state().conn >= ConnState::connected;
    if (needs_a_new_one) cable_.reset_all();
}

void Simulation::connect_again(Node& node) {
    Node& victim = *nodes_[1];
    // Plainly first; if that ends again the data have parted, and one side has to give way: the second node.
    if (++stand_alone_seen_[node.side()] <= 2) return connect(node, false);
    const bool parted = std::any_of(volumes_.begin(), volumes_.end(), [](const VolumeSet& volume) {
        return volume.oracle.diverged() || volume.checker.generations_parted();
    });
    if (!parted) {
        verdict_.fail("node {} goes StandAlone again and again without a split brain", node.side());
        return;
    }
    // The policies may have chosen a Primary, which stays one and does not give in (rr-conflict).
    const bool chosen = scenario_.may_decide_against_primary() && stand_alone_seen_[node.side()] % 4 == 0;
    if (is_primary(node) && (&node == &victim || chosen)) return demote_all(node);
    if (&node != &victim) return connect(node, false);
    connect(node, true);
}

// Neither it nor a peer without a disk takes older data while somebody uses the newer ones, damaged as they
// are; frozen requests end only with their node.
void Simulation::give_up_damaged_data(Node& node, VolumeSet& volume) {
    const State s = node.state(volume.number);
    if (busy(node) || s.role != Role::primary || s.disk != DiskState::inconsistent) return;
    if (s.susp_nod)
        stop(node, false);
    else
        demote(node, volume);
}

void Simulation::heal(Node& node) {
    for (const VolumeSet& volume : volumes_) node.data_disk(volume.number).broken = {};
}

bool Simulation::of_all(bool (*condition)(const State&)) const {
    return std::all_of(volumes_.begin(), volumes_.end(), [&](const VolumeSet& volume) {
        return condition(nodes_[0]->state(volume.number)) && condition(nodes_[1]->state(volume.number));
    });
}

}  // namespace duplex::sim
