"""fencing resource-and-stonith: the process itself calls the handlers. Skipped, and said so, while it does not."""

import os

import pytest

from lab.machine import pattern
from lab.process import BINARIES, await_until
from pacemaker.test_cluster import compare, settled

CLUSTER = {"disk": "fencing resource-and-stonith;"}

with open(os.path.join(BINARIES, "duplexd"), "rb") as program:
    CALLS_FENCE_PEER = b"fence-peer helper" in program.read()
pytestmark = pytest.mark.skipif(not CALLS_FENCE_PEER, reason="duplexd does not call fence-peer yet")


def test_a_cut_replication_cable_bans_the_peer_until_it_is_equal_again(cluster):
    promoted, other = settled(cluster)
    promoted.write(0, pattern("before", 65536))
    promoted.unplug()
    await_until(lambda: cluster.fence_constraint() == promoted.name, "the handler's constraint", 30)
    # I/O was frozen until the handler had answered.
    promoted.write(1 << 20, pattern("alone", 65536))
    cluster.wait(lambda: promoted.status().peer_disk == "Outdated", "the peer counts as Outdated")
    promoted.plug_in()
    assert settled(cluster) == (promoted, other)
    await_until(lambda: cluster.fence_constraint() is None, "the constraint is gone", 20)
    compare(cluster)


def test_the_peer_takes_over_only_after_the_node_was_fenced(cluster):
    promoted, other = settled(cluster)
    promoted.write(2 << 20, pattern("killed", 65536))
    cluster.fenced.clear()
    promoted.power_off()
    cluster.wait(lambda: cluster.role_of(other.name) == "Promoted", f"{other.name} promoted", 60)
    assert promoted.name in cluster.fenced
    assert other.read(2 << 20, 65536) == pattern("killed", 65536)
    assert cluster.fence_constraint() == other.name
    cluster.rejoin(promoted)
    assert settled(cluster) == (other, promoted)
    await_until(lambda: cluster.fence_constraint() is None, "the constraint is gone", 20)
    compare(cluster)


def test_the_other_handler_powers_the_peer_off(cluster):
    """duplex-stonith-peer: the peer is alive and well, and is off when the handler has answered."""
    promoted, other = settled(cluster)
    cluster.fenced.clear()
    handler = promoted.start(f"DRBD_RESOURCE=r0 DRBD_PEERS={other.name} exec /usr/lib/duplex/duplex-stonith-peer")
    cluster.wait(lambda: handler.poll() is not None, "the handler has answered", 60)
    assert handler.returncode == 7, handler.stdout.read()
    assert cluster.fenced == [other.name] and not other.running
    unknown = promoted.run("DRBD_RESOURCE=r0 DRBD_PEERS= /usr/lib/duplex/duplex-stonith-peer", check=False)
    assert unknown.status == 1 and "DRBD_PEER names no peer" in unknown.output
    cluster.rejoin(other)
    assert settled(cluster) == (promoted, other)
    compare(cluster)
