"""A disk that one implementation used is put into a machine of the other, after an orderly down and after a crash."""

import shutil

import pytest

from lab.compare import data_area_bytes
from lab.machine import pattern
from lab.pair import PEER_LOST
from lab.workload import Workload

pytestmark = pytest.mark.feature("Meta data: a disk moves to the other implementation")

MIB = 1 << 20
SPAN = 4096


def carry_disk(source, target):
    """The disk of `source` is now in `target`: copied byte for byte, both machines having let go of it."""
    with open(source.backing_file, "rb") as old, open(target.backing_file, "r+b") as new:
        shutil.copyfileobj(old, new, MIB)
    target.run("blockdev --flushbufs /dev/sdb1")


def generations(machine):
    """Generation identifiers and flags of the disk that is not in use, as drbdmeta reads them."""
    return machine.drbdadm("get-gi r0").output.strip().splitlines()[-1]


@pytest.mark.parametrize("maker", ["left", "right"])
def test_after_clean_down(pair, maker):
    maker = pair.machine(maker)
    user = pair.other(maker)
    pair.fresh()
    maker.drbdadm("create-md r0")
    maker.drbdadm("up r0")
    maker.drbdadm("-- --overwrite-data-of-peer primary r0")
    load = Workload(maker, run=1, span_blocks=SPAN, count=300)
    load.join()
    maker.write(20 * MIB, pattern("made", MIB))
    maker.drbdadm("secondary r0")
    maker.down()
    made = generations(maker)
    carry_disk(maker, user)
    assert generations(user) == made
    # It is attached, used and given back.
    user.drbdadm("up r0")
    status = user.status()
    assert (status.disk, status.role) == ("UpToDate", "Secondary")
    user.drbdadm("primary r0")
    load.check(user.read(0, SPAN * 4096))
    assert user.read(20 * MIB, MIB) == pattern("made", MIB)
    user.write(21 * MIB, pattern("used", MIB))
    user.drbdadm("secondary r0")
    user.down()
    used = generations(user)
    carry_disk(user, maker)
    assert generations(maker) == used
    maker.drbdadm("up r0")
    assert maker.status().disk == "UpToDate"
    maker.drbdadm("primary r0")
    assert maker.read(20 * MIB, 2 * MIB) == pattern("made", MIB) + pattern("used", MIB)
    maker.drbdadm("secondary r0")
    maker.down()


@pytest.mark.parametrize("maker", ["left", "right"])
def test_after_crash(pair, maker):
    """A Primary that was alone dies under load. The other implementation replays its activity log, has its data and marks what
    may differ from the old peer."""
    maker = pair.machine(maker)
    user = pair.other(maker)
    pair.mirrored(source=maker)
    pair.allow(*PEER_LOST, r"peer\(")
    user.down()
    maker.await_status("alone", lambda s: s.cs in ("WFConnection", "StandAlone"))
    maker.write(40 * MIB, pattern("written alone", MIB))
    load = Workload(maker, run=2, span_blocks=SPAN)
    load.await_writes(300)
    maker.power_off()
    load.lost_power()
    maker.boot()
    crashed = generations(maker)
    carry_disk(maker, user)
    assert generations(user) == crashed
    out_of_sync_of_maker = replay_and_attach(maker)
    maker.down()
    assert replay_and_attach(user) == out_of_sync_of_maker
    content = user.disk.read(0, data_area_bytes(user.backing_file))
    load.check(content)
    assert content[40 * MIB:41 * MIB] == pattern("written alone", MIB)
    user.drbdadm("primary r0")
    load.check(user.read(0, SPAN * 4096))


def replay_and_attach(machine):
    """KiB out of sync after the activity log was replayed and the disk attached."""
    machine.drbdadm("up r0")
    status = machine.status()
    assert status.disk == "UpToDate", status
    assert status.oos >= 1024 + 4096, status
    return status.oos
