"""Connections that come and go, and Primaries that change places, again and again."""

import pytest

from lab import conf
from lab.machine import pattern
from lab.pair import PEER_LOST, Pair
from lab.workload import Workload

MIB = 1 << 20
SPAN = 4096


@pytest.mark.feature("Roles: switched again and again")
def test_switch_primaries(pair):
    """Each Primary reads what the one before it wrote."""
    primary, secondary = pair.clean()
    for turn in range(8):
        if turn:
            assert primary.read(turn * MIB - MIB, MIB) == pattern(turn - 1, MIB)
        primary.write(turn * MIB, pattern(turn, MIB))
        primary.drbdadm("secondary r0")
        secondary.drbdadm("primary r0")
        primary, secondary = secondary, primary
        assert (primary.status().role, secondary.await_status("peer Primary", lambda s: s.peer_role == "Primary").role) == ("Primary", "Secondary")
    pair.compare()


@pytest.mark.feature("Roles: only one Primary")
def test_second_primary_is_refused(pair):
    primary, secondary = pair.clean()
    pair.allow(r"State change failed|state = |wanted = ")
    refused = secondary.drbdadm("primary r0", check=False)
    assert refused.status == 11 and "(-1)" in refused.output, refused.output
    assert secondary.status().role == "Secondary"
    pair.compare()


@pytest.mark.feature("Connection: made and ended again and again")
def test_connect_and_disconnect(pair):
    """By either side and by both at once, under load: each time they meet again and are in sync."""
    primary, secondary = pair.clean()
    load = Workload(primary, run=95, span_blocks=SPAN)
    load.await_writes(50)
    pair.allow(*PEER_LOST)
    for leavers in ([secondary], [primary], [primary, secondary]) * 2:
        for machine in leavers:
            machine.drbdadm("disconnect r0")
        for machine in leavers:
            machine.await_connection("StandAlone")
        load.await_writes(20)
        pair.reconnect()
        pair.connected()
    load.stop()
    pair.synced()
    load.check(secondary.disk.read(0, SPAN * 4096))
    pair.compare()


@pytest.fixture(scope="module")
def wide(machines):
    """A pair whose device has more areas than the smallest activity log: 300 MiB, 75 areas."""
    made = Pair(machines.left.kind, machines.right.kind, size_bytes=304 << 20)
    yield made
    made.close()


@pytest.mark.feature("Activity log: areas come and go; crash of the Primary")
def test_stress_of_the_activity_log(wide):
    """Writes all over the device with the smallest log; after a crash no more than its areas are resynced."""
    primary, secondary = wide.clean(conf.fast(wide.left, wide.right, disk="al-extents 67;"))
    wide.allow(*PEER_LOST)
    load = Workload(primary, run=97, span_blocks=75_000)
    load.await_writes(600)
    assert primary.status().al > 67
    primary.power_off()
    load.lost_power()
    secondary.await_connection("WFConnection")
    primary.boot()
    mark = primary.log_mark()
    primary.drbdadm("up r0")
    wide.synced()
    kib = int(primary.await_log(r"Began resync as Sync\w+ \(will sync (\d+) KB", mark)[1])
    assert 0 < kib <= 67 * 4096
    wide.compare()
