"""A Primary that loses its peer: the fence-peer handler, frozen I/O, outdated peers."""

import pytest

from lab import conf
from lab.machine import pattern
from lab.pair import PEER_LOST
from lab.workload import Workload

MIB = 1 << 20
LOSS = PEER_LOST + (r"fence-peer", r"I/O was frozen")


def fencing(pair, policy, handler, **options):
    text = conf.fast(pair.left, pair.right, disk=f"fencing {policy};", **options)
    return text.replace("resource r0 {", f'resource r0 {{\n  handlers {{ fence-peer "{handler}"; unfence-peer "exit 0"; }}', 1)


@pytest.mark.feature("Fencing: resource-and-stonith")
@pytest.mark.parametrize("primary", ["left", "right"])
def test_stonith_freezes_until_the_peer_is_fenced(pair, primary):
    primary, secondary = pair.mirrored(source=pair.machine(primary),
                                       configuration=fencing(pair, "resource-and-stonith", "sleep 4; exit 7"))
    pair.allow(*LOSS)
    mark = primary.log_mark()
    load = Workload(primary, run=21, span_blocks=4096)
    load.await_writes(200)
    secondary.unplug()
    status = primary.await_status("frozen", lambda s: s.cs == "WFConnection" and s.flags.startswith("s"))
    assert status.peer_disk == "DUnknown"
    frozen_at = load.writes
    primary.await_log(r"helper command: /sbin/drbdadm fence-peer r0", mark)
    assert load.writes == frozen_at
    primary.await_status("thawed", lambda s: s.flags.startswith("r") and s.peer_disk == "Outdated")
    load.await_writes(200)
    secondary.plug_in()
    pair.synced()
    load.stop()
    load.check(secondary.disk.read(0, 4096 * 4096))
    pair.compare()
    if primary.kind == "duplex":
        primary.await_log(r"fence-peer helper returned 7 \(peer was stonithed\)", mark)


@pytest.mark.feature("Fencing: resource-and-stonith")
@pytest.mark.parametrize("primary", ["left", "right"])
def test_frozen_until_the_peer_is_back(pair, primary):
    """The handler cannot fence; the connection comes back, and everything is on both disks."""
    primary, secondary = pair.mirrored(source=pair.machine(primary),
                                       configuration=fencing(pair, "resource-and-stonith", "exit 1"))
    pair.allow(*LOSS)
    load = Workload(primary, run=22, span_blocks=4096)
    load.await_writes(200)
    secondary.unplug()
    primary.await_status("frozen", lambda s: s.cs == "WFConnection" and s.flags.startswith("s"))
    frozen_at = load.writes
    secondary.await_connection("WFConnection")
    assert load.writes == frozen_at
    secondary.plug_in()
    load.await_writes(200)
    load.stop()
    pair.synced()
    load.check(secondary.disk.read(0, 4096 * 4096))
    pair.compare()


@pytest.mark.feature("Fencing: resource-and-stonith")
@pytest.mark.parametrize("primary", ["left", "right"])
def test_frozen_and_the_peer_restarts(pair, primary):
    """A peer that lost power may lack what it acknowledged: it has to be resynced before I/O goes on."""
    primary, secondary = pair.mirrored(source=pair.machine(primary),
                                       configuration=fencing(pair, "resource-and-stonith", "exit 1"))
    pair.allow(*LOSS)
    load = Workload(primary, run=23, span_blocks=4096)
    load.await_writes(200)
    secondary.power_off()
    primary.await_status("frozen", lambda s: s.cs == "WFConnection" and s.flags.startswith("s"))
    secondary.boot()
    secondary.drbdadm("up r0")
    load.await_writes(200)
    load.stop()
    pair.synced()
    load.check(secondary.disk.read(0, 4096 * 4096))
    pair.compare()


@pytest.mark.feature("Fencing: resource-only, outdate")
@pytest.mark.parametrize("primary", ["left", "right"])
def test_disconnect_outdates_the_secondary(pair, primary):
    primary, secondary = pair.mirrored(source=pair.machine(primary), configuration=fencing(pair, "resource-only", "exit 1"))
    pair.allow(*LOSS, r"state change failed|State change failed|state = |wanted = |refuse", r"peer\(")
    for asks in (primary, secondary):
        asks.drbdadm("disconnect r0")
        secondary.await_status("outdated", lambda s: s.disk == "Outdated")
        primary.await_status("peer outdated", lambda s: s.peer_disk == "Outdated")
        refused = secondary.drbdadm("primary r0", check=False)
        assert refused.status == 17 and "Need access to UpToDate data" in refused.output
        primary.write(MIB, pattern(asks.name, MIB))
        asks.drbdadm("connect r0")
        pair.synced()
    assert secondary.disk.read(MIB, MIB) == pattern(secondary.name, MIB)
    pair.compare()


@pytest.mark.feature("Fencing: resource-only, outdate")
@pytest.mark.parametrize("promoted", ["left", "right"])
def test_promotion_asks_the_handler(pair, promoted):
    primary, secondary = pair.mirrored(source=pair.other(pair.machine(promoted)),
                                       configuration=fencing(pair, "resource-only", "cat /etc/fence-exit >/dev/null && exit $(cat /etc/fence-exit)"))
    pair.allow(*LOSS, r"State change failed|state = |wanted = ", r"helper command")
    for machine in pair.machines:
        machine.write_file("/etc/fence-exit", "1\n")
    primary.drbdadm("secondary r0")
    secondary.unplug()
    secondary.await_connection("WFConnection")
    refused = secondary.drbdadm("primary r0", check=False)
    assert refused.status == 11 and "(-7)" in refused.output, refused.output
    secondary.write_file("/etc/fence-exit", "4\n")
    secondary.drbdadm("primary r0")
    assert secondary.status().peer_disk == "Outdated"
    secondary.write(2 * MIB, pattern("promoted", MIB))
    secondary.plug_in()
    pair.synced()
    assert primary.disk.read(2 * MIB, MIB) == pattern("promoted", MIB)
    pair.compare()


@pytest.mark.feature("Fencing: an outdated disk before a Secondary without a disk")
@pytest.mark.parametrize("outdated", ["left", "right"])
def test_outdated_before_a_secondary_without_a_disk(pair, outdated):
    """The newer data are on a disk that has been detached. The kernel calls its old data UpToDate then; Duplex keeps them Outdated, and
    nobody becomes Primary with them, also not a kernel that takes them for UpToDate."""
    outdated = pair.machine(outdated)
    newer, _ = pair.mirrored(source=pair.other(outdated), configuration=fencing(pair, "resource-only", "exit 7"))
    pair.allow(*LOSS, r"tate change failed|state = |wanted = ")
    newer.drbdadm("disconnect r0")
    outdated.drbdadm("outdate r0")
    newer.await_status("alone", lambda s: s.cs == "StandAlone")
    newer.write(0, pattern("newer", MIB))
    newer.drbdadm("secondary r0")
    newer.drbdadm("detach r0")
    newer.drbdadm("connect r0")
    pair.connected()
    if outdated.kind == "duplex":
        assert outdated.status().disk == "Outdated"
        for machine in pair.machines:
            refused = machine.drbdadm("primary r0", check=False)
            # The kernel, which thinks better of that disk, hears it from the node that has it.
            assert refused.status == (17 if machine.kind == "duplex" else 11), (machine.name, refused.output)
            assert machine.status().role == "Secondary"
    newer.drbdadm("attach r0")
    pair.synced()
    outdated.drbdadm("primary r0")
    assert outdated.read(0, MIB) == pattern("newer", MIB)
    outdated.drbdadm("secondary r0")
    pair.compare()
