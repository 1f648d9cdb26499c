"""The disks grow under a running device: loop files under Duplex, a dm-linear under the kernel's DRBD."""

import os

import pytest

from lab import conf
from lab.machine import pattern
from lab.pair import PEER_LOST
from lab.workload import Workload

MIB = 1 << 20
SMALL, LARGE = 24 * MIB, 64 * MIB


@pytest.fixture
def small(pair):
    """Both machines with disks that can grow; nothing configured."""
    pair.fresh()
    pair.allow(*PEER_LOST)  # at the end both lose power
    for machine in pair.machines:
        if machine.kind == "kernel":
            machine.run("insmod /usr/lib/uml/modules/$(uname -r)/kernel/drivers/md/dm-mod.ko 2>/dev/null; "
                        f"dmsetup --noudevsync create grows --table '0 {SMALL // 512} linear /dev/sdb1 0' && dmsetup mknodes && "
                        "test -b /dev/mapper/grows")
        else:
            os.truncate(machine.backing_file, SMALL)
            machine.run("losetup -c /dev/sdb1")
    yield pair
    for machine in pair.machines:
        machine.power_off()


def configuration(pair, disk=""):
    text = conf.fast(pair.left, pair.right, disk=disk)
    for machine in pair.machines:
        if machine.kind == "kernel":
            text = text.replace(f"on {machine.name} {{ device /dev/drbd0; disk /dev/sdb1",
                                f"on {machine.name} {{ device /dev/drbd0; disk /dev/mapper/grows")
    return text


def start(pair, disk=""):
    pair.configure(configuration(pair, disk))
    pair.create_md()
    pair.up()
    pair.connected()
    pair.left.drbdadm("-- --overwrite-data-of-peer primary r0")
    pair.synced()


def grow(machine):
    if machine.kind == "kernel":
        machine.run(f"dmsetup --noudevsync suspend grows && dmsetup reload grows --table '0 {LARGE // 512} linear /dev/sdb1 0' && "
                    "dmsetup --noudevsync resume grows")
    else:
        os.truncate(machine.backing_file, LARGE)
        machine.run("losetup -c /dev/sdb1")


def size(machine):
    return int(machine.run("blockdev --getsize64 /dev/drbd0").output)


def old_data_in_the_new_area(machine):
    with open(machine.backing_file, "r+b") as disk:
        disk.seek(SMALL)
        disk.write(pattern(machine.name, 2 * MIB))


@pytest.mark.feature("Size: both disks grow")
@pytest.mark.parametrize("resizer", ["left", "right"])
def test_both_disks_have_grown(small, resizer):
    """Only the new area is resynced; the meta data have moved to the new end."""
    start(small)
    primary, secondary = small.left, small.right
    before = size(primary)
    primary.write(0, pattern("content", MIB))
    for machine in small.machines:
        grow(machine)
        old_data_in_the_new_area(machine)
    marks = {machine: machine.log_mark() for machine in small.machines}
    small.machine(resizer).drbdadm("resize r0")
    secondary.await_log(r"Began resync as SyncTarget \(will sync (\d+) KB", marks[secondary])
    small.synced()
    for machine in small.machines:
        kib = int(machine.await_log(r"Began resync as Sync\w+ \(will sync (\d+) KB", marks[machine])[1])
        assert kib == (size(primary) - before) // 1024
    assert size(primary) > LARGE - MIB
    primary.write(size(primary) - MIB // 2, pattern("at the end", MIB // 2))
    primary.drbdadm("secondary r0")
    small.compare()
    # Found again at the new end, by both.
    for machine in small.machines:
        machine.drbdadm("down r0")
    small.up()
    small.synced()
    secondary.drbdadm("primary r0")
    assert secondary.read(size(secondary) - MIB // 2, MIB // 2) == pattern("at the end", MIB // 2)
    assert secondary.read(0, MIB) == pattern("content", MIB)
    secondary.drbdadm("secondary r0")
    small.compare()


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
