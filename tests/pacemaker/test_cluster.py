"""ocf:duplex:drbd under Pacemaker and Corosync: start, promote, move, fail over, fence, rejoin. In this order: one cluster."""

from lab.compare import compare_data_areas
from lab.machine import pattern
from lab.process import await_until


def settled(cluster):
    """The promoted node and the other one, both UpToDate."""
    promoted = cluster.promoted()
    other = cluster.other(promoted)
    cluster.await_roles(**{promoted.name: "Promoted", other.name: "Unpromoted"})
    for node in cluster.nodes:
        cluster.wait(lambda: node.status() and (node.status().cs, node.status().disk, node.status().oos) ==
                     ("Connected", "UpToDate", 0), f"{node.name} Connected and UpToDate")
    return promoted, other


def test_starts_and_promotes(cluster):
    promoted, other = settled(cluster)
    assert promoted.drbdadm("role r0").output == "Primary/Secondary\n"
    assert (cluster.score("alpha"), cluster.score("bravo")) == (10000, 10000)
    promoted.write(0, pattern("start", 65536))


def test_moves_on_request(cluster):
    promoted, other = settled(cluster)
    promoted.run(f"crm_resource --resource ms_r0 --move --node {other.name} --promoted")
    cluster.await_roles(**{other.name: "Promoted", promoted.name: "Unpromoted"})
    assert other.read(0, 65536) == pattern("start", 65536)
    other.run("crm_resource --resource ms_r0 --clear")


def test_fails_over_when_the_node_is_killed_and_takes_it_back(cluster):
    promoted, other = settled(cluster)
    promoted.write(1 << 20, pattern("killed", 65536))
    promoted.power_off()
    cluster.wait(lambda: cluster.role_of(other.name) == "Promoted", f"{other.name} promoted", 40)
    assert promoted.name in cluster.fenced  # Pacemaker made sure first
    assert other.read(1 << 20, 65536) == pattern("killed", 65536)
    other.write(2 << 20, pattern("alone", 65536))
    cluster.wait(lambda: cluster.score(other.name) == 10000, "score of a lone Primary")

    cluster.rejoin(promoted)
    assert settled(cluster) == (other, promoted)
    compare(cluster)


def test_fences_when_all_cables_are_cut(cluster):
    promoted, other = settled(cluster)
    promoted.write(3 << 20, pattern("cut", 65536))
    cluster.fenced.clear()
    promoted.unplug_all()
    cluster.wait(lambda: cluster.fenced, "one node fenced", 40)
    victim = cluster.node(cluster.fenced[0])
    survivor = cluster.other(victim)
    cluster.wait(lambda: cluster.role_of(survivor.name) == "Promoted", f"{survivor.name} promoted", 40)
    assert survivor.running and not victim.running
    assert survivor.read(3 << 20, 65536) == pattern("cut", 65536)

    survivor.plug_in_all()
    cluster.rejoin(victim)
    assert settled(cluster) == (survivor, victim)
    compare(cluster)


def test_handlers_ban_the_peer_and_allow_it_again(cluster):
    promoted, other = settled(cluster)
    assert cluster.fence_constraint() is None
    promoted.unplug()  # the cluster's cable stays
    cluster.wait(lambda: promoted.status().cs == "WFConnection", "the replication is cut")
    # The environment is the one that duplexd gives its handlers; that it calls this one is in test_fencing.
    outcome = promoted.run("drbdadm fence-peer r0", check=False)
    assert outcome.status == 4, outcome.output  # the peer is alive in the cluster and may not be promoted
    assert cluster.fence_constraint() == promoted.name
    # The peer finds itself fenced, and does not fence in turn.
    outcome = other.run("drbdadm fence-peer r0", check=False)
    assert outcome.status == 1 and "has fenced this node" in outcome.output, outcome.output
    # With the peer's data unknown the constraint stays.
    assert promoted.drbdadm("unfence-peer r0", check=False).status == 1
    assert cluster.fence_constraint() == promoted.name
    promoted.write(4 << 20, pattern("fenced", 65536))
    other.run(f"crm_resource --resource ms_r0 --move --node {other.name} --promoted")
    other.run("crm_resource --wait --timeout 20")  # until the cluster has done all that it is going to do about that
    assert (cluster.role_of(promoted.name), cluster.role_of(other.name)) == ("Promoted", "Unpromoted")
    other.run("crm_resource --resource ms_r0 --clear")

    promoted.plug_in()
    assert settled(cluster) == (promoted, other)
    # After the resync, on its target: after-resync-target.
    await_until(lambda: cluster.fence_constraint() is None, "the constraint is gone", 20)
    compare(cluster)


def compare(cluster):
    for node in cluster.nodes:
        node.disk.flush()
    compare_data_areas(cluster.nodes[0].backing_file, cluster.nodes[1].backing_file)
