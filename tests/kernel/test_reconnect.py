"""Writes while the peer is away, and how it catches up: by bitmap, no more than what changed."""

import re

import pytest

from lab import conf
from lab.machine import pattern
from lab.pair import PEER_LOST
from lab.workload import Workload

MIB = 1 << 20
BLOCKS = [0, 1, 2, 3, 700, 701, 5000, 9999, 16373]


def synced_kib(machine, mark):
    """KiB that the last resync since `mark` set out to do, from the log."""
    match = machine.await_log(r"Began resync as Sync\w+ \(will sync (\d+) KB", mark)
    return int(match[1])


def write_blocks(primary):
    for block in BLOCKS:
        primary.write(block * 4096, pattern(f"away {block}", 4096))


@pytest.mark.feature("Resync: by bitmap, after a disconnect")
@pytest.mark.parametrize("writer", ["left", "right"])
def test_bitmap_resync_after_disconnect(pair, writer):
    """An orderly disconnect; exactly the blocks written meanwhile are sent."""
    primary, secondary = pair.mirrored(source=pair.machine(writer))
    secondary.drbdadm("disconnect r0")
    secondary.await_connection("StandAlone")
    primary.await_status("the peer gone in order", lambda s: s.cs in ("StandAlone", "WFConnection") and s.peer_disk == "Outdated"
                         or s.cs == "WFConnection")
    write_blocks(primary)
    status = primary.status()
    assert status.oos == 4 * len(BLOCKS), status
    marks = {machine: machine.log_mark() for machine in pair.machines}
    for machine in (primary, secondary):
        if machine.status().cs == "StandAlone":
            machine.drbdadm("connect r0")
    pair.synced()
    for machine in pair.machines:
        assert synced_kib(machine, marks[machine]) == 4 * len(BLOCKS)
    for block in BLOCKS:
        assert secondary.disk.read(block * 4096, 4096) == pattern(f"away {block}", 4096)
    pair.compare()


@pytest.mark.feature("Connection: lost under load, and back")
@pytest.mark.parametrize("writer", ["left", "right"])
def test_cable_pulled_under_load(pair, writer):
    """The cable is pulled while writes run: they go on after the time-out, and the resync covers everything that was under way."""
    primary, secondary = pair.mirrored(source=pair.machine(writer))
    pair.allow(*PEER_LOST)
    load = Workload(primary, run=11, span_blocks=4096)
    load.await_writes(200)
    secondary.unplug()
    for machine in pair.machines:
        machine.await_status("the connection lost", lambda s: s.cs == "WFConnection", limit_s=30)
    assert secondary.status().disk == "UpToDate" and primary.status().peer_disk == "DUnknown"
    load.await_writes(200)
    assert primary.status().oos > 0
    secondary.plug_in()
    pair_synced_under_load(pair)
    load.await_writes(200)
    load.stop()
    pair.synced()
    load.check(secondary.disk.read(0, 4096 * 4096))
    pair.compare()


def pair_synced_under_load(pair):
    for machine in pair.machines:
        machine.await_status("both UpToDate again", lambda s: (s.cs, s.disk, s.peer_disk) == ("Connected", "UpToDate", "UpToDate"))


@pytest.mark.feature("Roles: exchanged while disconnected")
def test_disconnected_secondary_is_promoted(pair):
    """Roles change hands while disconnected in order: the old Primary becomes the target."""
    first, second = pair.mirrored()
    first.drbdadm("secondary r0")
    first.drbdadm("disconnect r0")
    first.await_connection("StandAlone")
    if second.status().cs == "StandAlone":
        second.drbdadm("connect r0")
    second.drbdadm("primary r0")
    write_blocks(second)
    first.drbdadm("connect r0")
    pair.synced()
    assert first.status().role == "Secondary" and second.status().role == "Primary"
    for block in BLOCKS:
        assert first.disk.read(block * 4096, 4096) == pattern(f"away {block}", 4096)
    pair.compare()


@pytest.mark.feature("Resync: interrupted, and continued")
def test_resync_survives_interruption(pair):
    """A resync cut in the middle goes on from where it was."""
    primary, secondary = pair.mirrored()
    secondary.drbdadm("disconnect r0")
    secondary.await_connection("StandAlone")
    for index in range(32):
        primary.write(index * MIB, pattern(index, MIB))
    pair.configure(conf.fast(pair.left, pair.right, rate="8M"))
    for machine in pair.machines:
        machine.drbdadm("adjust r0")
    pair.allow(*PEER_LOST)
    for machine in pair.machines:
        if machine.status().cs == "StandAlone":
            machine.drbdadm("connect r0")
    primary.await_status("resync under way", lambda s: s.cs == "SyncSource" and 0 < s.oos < 32 * 1024)
    secondary.unplug()
    primary.await_connection("WFConnection")
    secondary.await_connection("WFConnection")
    assert secondary.status().disk == "Inconsistent"
    left = primary.status().oos
    mark = primary.log_mark()
    secondary.plug_in()
    pair.synced()
    assert re.search(r"will sync (\d+) KB", primary.log_since(mark)), primary.log_since(mark)
    assert synced_kib(primary, mark) <= left + 4096
    pair.compare()
