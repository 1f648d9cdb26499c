"""The disks grow under a running device: loop files under Duplex, a dm-linear under the kernel's DRBD."""

import os
import re

import pytest

from lab import conf
from lab.compare import compare_data_areas, read_direct, same
from lab.machine import pattern
from lab.pair import PEER_LOST
from lab.workload import Workload

MIB = 1 << 20
SMALL, LARGE = 24 * MIB, 64 * MIB


# By the volume: the machines' disk, and what it grows from and to. Volume 1's is smaller.
DISKS = {0: ("sdb1", SMALL, LARGE), 1: ("sdc1", 16 * MIB, 32 * MIB)}


def shrink(machine, volume):
    """Before it is in use; from then on it can grow()."""
    disk, small_bytes, _ = DISKS[volume]
    if machine.kind == "kernel":
        machine.run("insmod /usr/lib/uml/modules/$(uname -r)/kernel/drivers/md/dm-mod.ko 2>/dev/null; "
                    f"dmsetup --noudevsync create grows{volume} --table '0 {small_bytes // 512} linear /dev/{disk} 0' && dmsetup mknodes && "
                    f"test -b /dev/mapper/grows{volume}")
    else:
        os.truncate(backing_file(machine, volume), small_bytes)
        machine.run(f"losetup -c /dev/{disk}")


def grow(machine, volume=0):
    disk, _, large_bytes = DISKS[volume]
    if machine.kind == "kernel":
        machine.run(f"dmsetup --noudevsync suspend grows{volume} && dmsetup reload grows{volume} --table '0 {large_bytes // 512} linear /dev/{disk} 0' && "
                    f"dmsetup --noudevsync resume grows{volume}")
    else:
        os.truncate(backing_file(machine, volume), large_bytes)
        machine.run(f"losetup -c /dev/{disk}")


def backing_file(machine, volume):
    return (machine.disk, machine.second)[volume].path


def disk_of(machine, volume):
    return f"/dev/mapper/grows{volume}" if machine.kind == "kernel" else f"/dev/{DISKS[volume][0]}"


def can_grow(pair, *volumes):
    """Both machines with disks that can grow; nothing configured."""
    pair.fresh()
    pair.allow(*PEER_LOST)  # at the end both lose power
    for machine in pair.machines:
        for volume in volumes:
            shrink(machine, volume)
    yield pair
    for machine in pair.machines:
        machine.power_off()


@pytest.fixture
def small(pair):
    yield from can_grow(pair, 0)


@pytest.fixture
def two_small(pair):
    yield from can_grow(pair, 0, 1)


def configuration(pair, disk="", meta_disk="internal"):
    text = conf.fast(pair.left, pair.right, disk=disk).replace("meta-disk internal", f"{'' if meta_disk == 'internal' else 'flexible-'}meta-disk {meta_disk}")
    for machine in pair.machines:
        text = text.replace(f"on {machine.name} {{ device /dev/drbd0; disk /dev/sdb1",
                            f"on {machine.name} {{ device /dev/drbd0; disk {disk_of(machine, 0)}")
    return text


def start(pair, disk="", meta_disk="internal"):
    pair.configure(configuration(pair, disk, meta_disk))
    pair.create_md()
    pair.up()
    pair.connected()
    pair.left.drbdadm("-- --overwrite-data-of-peer primary r0")
    pair.synced()


def size(machine, minor=0):
    return int(machine.run(f"blockdev --getsize64 /dev/drbd{minor}").output)


def old_data_in_the_new_area(machine, volume=0):
    with open(backing_file(machine, volume), "r+b") as disk:
        disk.seek(DISKS[volume][1])
        disk.write(pattern(machine.name, 2 * MIB))


def resynced_kib(machine, mark, minor=0):
    return int(machine.await_log(rf"drbd{minor}: Began resync as Sync\w+ \(will sync (\d+) KB", mark)[1])


def both_grow(pair, resizer):
    """Both disks grow, and `resizer` resizes; how many KiB each node has resynced."""
    for machine in pair.machines:
        grow(machine)
        old_data_in_the_new_area(machine)
    marks = {machine: machine.log_mark() for machine in pair.machines}
    pair.machine(resizer).drbdadm("resize r0")
    # Before the resync has begun it looks as if all were in sync.
    kib = [resynced_kib(machine, marks[machine]) for machine in pair.machines]
    pair.synced()
    return kib


@pytest.mark.feature("Size: both disks grow")
@pytest.mark.parametrize("resizer", ["left", "right"])
def test_both_disks_have_grown(small, resizer):
    """Only the new area is resynced; the meta data have moved to the new end."""
    start(small)
    primary, secondary = small.left, small.right
    before = size(primary)
    primary.write(0, pattern("content", MIB))
    kib = both_grow(small, resizer)
    assert kib == [(size(primary) - before) // 1024] * 2
    assert size(primary) > LARGE - MIB
    primary.write(size(primary) - MIB // 2, pattern("at the end", MIB // 2))
    primary.drbdadm("secondary r0")
    small.compare()
    # Found again at the new end, by both.
    small.down()
    small.up()
    small.synced()
    secondary.drbdadm("primary r0")
    assert secondary.read(size(secondary) - MIB // 2, MIB // 2) == pattern("at the end", MIB // 2)
    assert secondary.read(0, MIB) == pattern("content", MIB)
    secondary.drbdadm("secondary r0")
    small.compare()


@pytest.mark.feature("Size: both disks grow, external meta data")
@pytest.mark.parametrize("resizer", ["left", "right"])
def test_both_data_disks_have_grown(small, resizer):
    """Not one byte of the data disk is for meta data, before and after; the meta data stay where they are."""
    start(small, meta_disk="/dev/sdc1")
    primary, secondary = small.left, small.right
    assert size(primary) == SMALL
    for offset in (0, SMALL - MIB):
        primary.write(offset, pattern(offset, MIB))
    kib = both_grow(small, resizer)
    assert size(primary) == LARGE
    assert kib == [(LARGE - SMALL) // 1024] * 2
    primary.write(LARGE - MIB, pattern("at the end", MIB))
    # A resync of the new area finds its bitmap, too.
    secondary.drbdadm("disconnect r0")
    primary.await_connection("WFConnection")
    primary.write(LARGE - 2 * MIB, pattern("alone", MIB))
    assert primary.status().oos == 1024
    small.reconnect()
    small.synced()
    primary.drbdadm("secondary r0")
    small.down()
    small.up()
    small.synced()
    secondary.drbdadm("primary r0")
    assert size(secondary) == LARGE
    for offset in (0, SMALL - MIB):
        assert secondary.read(offset, MIB) == pattern(offset, MIB)
    assert secondary.read(LARGE - 2 * MIB, 2 * MIB) == pattern("alone", MIB) + pattern("at the end", MIB)
    secondary.drbdadm("secondary r0")
    same(*(read_direct(machine.backing_file, 0, LARGE) for machine in small.machines))


@pytest.mark.feature("Volumes: one of two grows")
@pytest.mark.parametrize("grows", [0, 1])
def test_one_of_two_volumes_grows(two_small, grows):
    """The other one is written all the while and is not resynced; then it grows, too, and `resize` of both leaves the first."""
    pair, other = two_small, 1 - grows
    primary, secondary = pair.machines
    pair.configure(conf.two_volumes(pair.left, pair.right, disks={machine: (disk_of(machine, 0), disk_of(machine, 1)) for machine in pair.machines}))
    pair.create_md()
    pair.up()
    both_volumes(pair, "connected", lambda s: s.cs == "Connected")
    primary.drbdadm("-- --overwrite-data-of-peer primary r0")
    both_volumes(pair, "in sync", in_sync)
    before = [size(primary, minor) for minor in (0, 1)]
    primary.write(0, pattern("content", MIB), device=f"/dev/drbd{grows}")
    load = Workload(primary, run=32, span_blocks=2048, device=f"/dev/drbd{other}")
    for number, growing in enumerate((grows, other)):
        for machine in pair.machines:
            grow(machine, growing)
            old_data_in_the_new_area(machine, growing)
        marks = {machine: machine.log_mark() for machine in pair.machines}
        load.await_writes(50)
        primary.drbdadm(("resize r0", f"resize r0/{growing}")[number == 0])
        kib = [resynced_kib(machine, marks[machine], growing) for machine in pair.machines]
        both_volumes(pair, "in sync", in_sync)
        load.await_writes(50)
        assert size(primary, growing) > DISKS[growing][2] - MIB
        assert kib == [(size(primary, growing) - before[growing]) // 1024] * 2
        for machine in pair.machines:
            assert not re.search(rf"drbd{1 - growing}: (Began resync|size =)", machine.log_since(marks[machine]))
        if number == 0:
            assert size(primary, other) == before[other]
    load.stop()
    for minor in (0, 1):
        primary.write(size(primary, minor) - MIB // 2, pattern(minor, MIB // 2), device=f"/dev/drbd{minor}")
    primary.drbdadm("secondary r0")
    both_volumes(pair, "in sync", in_sync)
    load.check(read_direct(backing_file(secondary, other), 0, 2048 * 4096))
    secondary.drbdadm("primary r0")
    assert secondary.read(0, MIB, device=f"/dev/drbd{grows}") == pattern("content", MIB)
    for minor in (0, 1):
        assert secondary.read(size(secondary, minor) - MIB // 2, MIB // 2, device=f"/dev/drbd{minor}") == pattern(minor, MIB // 2)
    secondary.drbdadm("secondary r0")
    for volume in DISKS:
        compare_data_areas(*(backing_file(machine, volume) for machine in pair.machines))


def both_volumes(pair, what, condition):
    for machine in pair.machines:
        for minor in DISKS:
            machine.await_status(what, condition, 60, minor)


def in_sync(status):
    return (status.cs, status.disk, status.peer_disk, status.oos) == ("Connected", "UpToDate", "UpToDate", 0)


@pytest.mark.feature("Size: the smaller disk decides")
def test_the_smaller_disk_decides(small):
    start(small)
    before = size(small.left)
    grow(small.right)
    small.left.drbdadm("resize r0")
    assert size(small.left) == before
    grow(small.left)
    # The peer's answer to the first one may come after the growth, and is enough then: 130, a resync is under way.
    second = small.left.drbdadm("resize r0", check=False)
    assert second.status == 0 or "(130)" in second.output
    for machine in small.machines:
        machine.await_status("grown", lambda s, m=machine: m.kind == "kernel" or size(m) > LARGE - MIB)
    small.synced()
    assert size(small.left) > LARGE - MIB
    small.left.drbdadm("secondary r0")
    small.compare()


@pytest.mark.feature("Size: resize --size")
def test_grow_under_load_to_a_given_size(small):
    start(small)
    for machine in small.machines:
        grow(machine)
        old_data_in_the_new_area(machine)
    load = Workload(small.left, run=31, span_blocks=4096)
    load.await_writes(100)
    small.left.drbdadm(f"-- --size={40 * 2048}s resize r0")
    load.await_writes(100)
    small.synced()
    load.stop()
    assert size(small.left) == 40 * MIB
    small.left.write(40 * MIB - 65536, pattern("end", 65536))
    small.left.drbdadm("secondary r0")
    load.check(small.right.disk.read(0, 4096 * 4096))
    assert small.right.disk.read(40 * MIB - 65536, 65536) == pattern("end", 65536)
    small.compare()


@pytest.mark.feature("Size: resize --assume-clean")
def test_assume_clean_resyncs_nothing(small):
    start(small)
    for machine in small.machines:
        grow(machine)
    marks = {machine: machine.log_mark() for machine in small.machines}
    small.left.drbdadm("-- --assume-clean resize r0")
    small.left.await_status("grown", lambda s: size(small.left) > LARGE - MIB)
    small.synced()
    for machine in small.machines:
        assert "Began resync" not in machine.log_since(marks[machine])
    # The kernel leaves its old superblock where data are now, Duplex does not: written over, both are the same.
    small.left.write(SMALL - MIB, pattern("old meta data", MIB))
    small.left.drbdadm("secondary r0")
    small.compare()


@pytest.mark.feature("Size: both disks grow while disconnected")
def test_both_grow_while_parted(small):
    """Nobody resizes: the second handshake finds the size on both sides, and compares generations that are equal. The new area is marked
    and called UpToDate, as it is by two kernels; the next resync by bitmap brings it up."""
    start(small)
    left, right = small.left, small.right
    small.allow(r"No resync, but")
    left.drbdadm("secondary r0")
    for _ in range(2):
        right.unplug()
        for machine in small.machines:
            machine.await_connection("WFConnection")
            grow(machine)
        old_data_in_the_new_area(right)
        right.plug_in()
        small.connected()
    for machine in small.machines:
        status = machine.status()
        assert (status.disk, status.peer_disk) == ("UpToDate", "UpToDate")
        assert abs(status.oos - (LARGE - SMALL) // 1024) < 64, status
    right.unplug()
    left.drbdadm("primary r0")
    left.write(0, pattern("alone", 4096))
    right.plug_in()
    small.synced()
    left.drbdadm("secondary r0")
    small.compare()
