// What the administrator of a simulation does, command by command.
#include <algorithm>

#include "sim/simulation.hpp"

namespace duplex::sim {

using engine::ConnState;
using engine::Reply;
using engine::Role;

void Simulation::command(Node& node, const std::string& what, const Send& send, Then then) {
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

void Simulation::command(Node& node, VolumeSet& volume, const char* what, VolumeCommand method, Then then) {
    command(
        node, what + volume.label,
        [method, number = volume.number](engine::Resource& r, engine::Done done) {
            (r.*method)(number, std::move(done));
        },
        std::move(then));
}

void Simulation::start(Node& node) {
    say(fmt::format("{}: starts", node.name()));
    busy_[node.side()] = 0;
    node.start();
    bring_up(node, 0);
}

// The volumes from this one on, then the connection.
void Simulation::bring_up(Node& node, unsigned number) {
    if (number == volumes_.size()) return connect(node, false);
    VolumeSet& volume = volumes_[number];
    attach(node, volume, [this, &node, &volume](const Reply& reply) {
        if (!reply.ok() && scenario_.weights.disk_error == 0 && !reply.info.starts_with("interrupted"))
            volume.verdict.fail("node {}: attach after a start: {} {}", node.side(), reply.code, reply.info);
        bring_up(node, volume.number + 1);
    });
}

// As drbdadm does it.
void Simulation::attach(Node& node, VolumeSet& volume, Then then) {
    if (const Status applied = node.meta_data(volume.number).apply_al(); !applied) {
        volume.verdict.fail("node {}: {}", node.side(), applied.error().text);
        return;
    }
    command(
        node, "attach" + volume.label,
        [&node, number = volume.number](engine::Resource& r, engine::Done done) {
            r.attach(number, node.attach_command(number), std::move(done));
        },
        std::move(then));
}

void Simulation::connect(Node& node, bool discard_my_data) {
    if (discard_my_data)
        for (VolumeSet& volume : volumes_) volume.oracle.discard_ordered(node.side());
    command(node, discard_my_data ? "connect --discard-my-data" : "connect",
            [&node, discard_my_data](engine::Resource& r, engine::Done done) {
                r.connect(node.connect_command(discard_my_data), std::move(done));
            });
}

void Simulation::promote(Node& node, VolumeSet& volume, bool force, std::function<void()> then) {
    command(
        node, (force ? "primary --force" : "primary") + volume.label,
        [force, number = volume.number](engine::Resource& r, engine::Done done) {
            r.primary(number, {force}, std::move(done));
        },
        [&node, &volume, force, then = std::move(then)](const Reply& reply) {
            if (!reply.ok()) return;
            if (force) volume.oracle.found(node.side());
            volume.workloads[node.side()].start();
            if (then) then();
        });
}

// From this one on, and no further than the first that is refused: as drbdadm does it with a resource.
void Simulation::promote_all(Node& node, unsigned number) {
    if (number == volumes_.size()) return;
    VolumeSet& volume = volumes_[number];
    if (node.state(number).role == Role::primary) {
        volume.workloads[node.side()].start();
        promote_all(node, number + 1);
    } else if (may_promote(node, volume)) {
        promote(node, volume, false, [this, &node, number] { promote_all(node, number + 1); });
    }
}

void Simulation::demote(Node& node, VolumeSet& volume, std::function<void()> then) {
    say(fmt::format("{}: stops its applications{}", node.name(), volume.label));
    volume.workloads[node.side()].stop([this, &node, &volume, then = std::move(then)] {
        command(node, volume, "secondary", &engine::Resource::secondary, [then](const Reply&) {
            if (then) then();
        });
    });
}

void Simulation::demote_all(Node& node, unsigned number) {
    if (number == volumes_.size()) return;
    if (node.state(number).role != Role::primary) return demote_all(node, number + 1);
    demote(node, volumes_[number], [this, &node, number] { demote_all(node, number + 1); });
}

void Simulation::verify(Node& node, VolumeSet& volume, uint64_t stop_sector) {
    command(node, "verify" + volume.label,
            [stop_sector, number = volume.number](engine::Resource& r, engine::Done done) {
                r.verify(number, {std::nullopt, stop_sector}, std::move(done));
            });
}

void Simulation::detach(Node& node, VolumeSet& volume, bool force) {
    command(node, (force ? "detach --force" : "detach") + volume.label,
            [force, number = volume.number](engine::Resource& r, engine::Done done) {
                r.detach(number, force, std::move(done));
            });
}

void Simulation::disconnect(Node& node, bool force) {
    command(node, force ? "disconnect --force" : "disconnect",
            [force](engine::Resource& r, engine::Done done) { r.disconnect(force, std::move(done)); });
}

void Simulation::stop(Node& node, bool power) {
    if (!node.running()) return;
    say(fmt::format("{}: {}", node.name(), power ? "loses power" : "is killed"));
    for (VolumeSet& volume : volumes_) {
        volume.checker.before_stop(node);
        volume.workloads[node.side()].forget();
    }
    node.stop(power);
    wire_watch_.node_died(node.side());
    busy_[node.side()] = 0;
    for (VolumeSet& volume : volumes_) volume.checker.after_stop(node, power);
    if (power) check_epochs(node);
}

// A write that was issued when another had completed is in a later epoch, whichever volumes they are of, and
// its disk does not see it before what the earlier epochs wrote is stable.
void Simulation::check_epochs(const Node& node) {
    if (scenario_.weights.disk_error > 0) return;  // a flush that fails ends the order
    for (const VolumeSet& earlier : volumes_)
        for (const VolumeSet& later : volumes_) {
            const Oracle::Remains& lost = earlier.checker.remains(node.side());
            const Oracle::Remains& kept = later.checker.remains(node.side());
            if (lost.first_lost < kept.last_kept)
                verdict_.fail("I25: node {}: the power failure took {}{}, and left {}{}", node.side(),
                              lost.lost, earlier.label, kept.kept, later.label);
        }
}

// What a handler does, a moment later.
void Simulation::restart(Node& node) {
    scheduler_.after(scheduler_.random.below(10'000), [this, &node, incarnation = node.incarnation()] {
        if (node.incarnation() == incarnation) stop(node, false);
    });
}

// Without the wish for it no administrator promotes a node while the other may have newer data.
bool Simulation::may_promote(const Node& node, const VolumeSet& volume) const {
    if (scenario_.promote_anything) return true;
    const Node& peer = *nodes_[1 - node.side()];
    if (volume.oracle.has_exclusive_data(peer.side())) return false;
    if (scenario_.net.allow_two_primaries) return volume.checker.in_contact(node.side());
    const bool connected = node.state(volume.number).conn >= ConnState::connected;
    return connected || !is_primary(peer);
}

bool Simulation::is_primary(const Node& node) const {
    return std::any_of(volumes_.begin(), volumes_.end(), [&node](const VolumeSet& volume) {
        return node.state(volume.number).role == Role::primary;
    });
}

VolumeSet& Simulation::draw_volume() {
    return volumes_[volumes_.size() == 1 ? 0 : scheduler_.random.below(volumes_.size())];
}

}  // namespace duplex::sim
