"""How large the device is: the smaller disk, the size option, external meta data, shrinking."""

import os
import re

import pytest

from lab import conf
from lab.compare import read_direct
from lab.machine import pattern
from lab.pair import PEER_LOST

MIB = 1 << 20


def size(machine):
    """Of the device; a Secondary's cannot be opened."""
    return int(re.search(r"\bsize:(\d+)", machine.drbdsetup("status r0 --verbose --statistics").output)[1]) * 1024


def both_have(pair, size_bytes):
    for machine in pair.machines:
        machine.await_status(f"{size_bytes} bytes", lambda s, m=machine: size(m) == size_bytes)


@pytest.fixture
def external(pair):
    """Both nodes with meta data on the second disk; the data disk is all data."""
    pair.fresh(conf.fast(pair.left, pair.right).replace("meta-disk internal", "flexible-meta-disk /dev/sdc1"))
    pair.create_md()
    pair.up()
    pair.connected()
    pair.left.drbdadm("-- --overwrite-data-of-peer primary r0")
    pair.synced()
    return pair


def same(pair, length):
    contents = [read_direct(machine.backing_file, 0, length) for machine in pair.machines]
    assert contents[0] == contents[1]


@pytest.mark.feature("Meta data: external, flexible")
def test_external_meta_data(external):
    """Every byte of the data disk is the user's; a resync and an orderly restart find the meta data again."""
    primary, secondary = external.left, external.right
    whole = os.stat(primary.backing_file).st_size
    both_have(external, whole)
    primary.write(whole - MIB, pattern("the last MiB", MIB))
    secondary.drbdadm("disconnect r0")
    primary.await_connection("WFConnection")
    primary.write(whole - 65536, pattern("alone", 65536))
    external.reconnect()
    external.synced()
    primary.drbdadm("secondary r0")
    external.down()
    external.up()
    external.synced()
    assert read_direct(secondary.backing_file, whole - 65536, 65536) == pattern("alone", 65536)
    same(external, whole)


@pytest.mark.feature("Size: shrinks, and grows again")
def test_shrink_and_grow(pair):
    primary, _ = pair.clean()
    full = size(primary)
    primary.write(0, pattern("content", 24 * MIB))
    primary.drbdadm(f"-- --size={24 * 2048}s resize r0")
    both_have(pair, 24 * MIB)
    primary.write(23 * MIB, pattern("the new end", MIB))
    refused = primary.run("dd if=/dev/zero of=/dev/drbd0 bs=4096 seek=6144 count=1 oflag=direct conv=notrunc status=none", check=False)
    assert refused.status != 0
    pair.synced()
    primary.drbdadm("resize r0")
    both_have(pair, full)
    pair.synced()
    primary.write(full - MIB, pattern("the old end", MIB))
    assert primary.read(0, 23 * MIB) == pattern("content", 24 * MIB)[:23 * MIB]
    pair.compare()


@pytest.mark.feature("Size: the size option")
def test_size_option(pair):
    """The smaller of the two nodes' options counts; an option larger than the disk is refused."""
    pair.fresh(conf.fast(pair.left, pair.right, disk="size 32M;"))
    pair.create_md()
    pair.up()
    pair.connected()
    pair.left.drbdadm("-- --clear-bitmap new-current-uuid r0")
    pair.synced()
    pair.left.drbdadm("primary r0")
    both_have(pair, 32 * MIB)
    pair.left.write(32 * MIB - 65536, pattern("end", 65536))
    pair.compare()
    pair.left.drbdadm("secondary r0")
    pair.down()
    pair.configure(conf.fast(pair.left, pair.right, disk="size 10G;"), [pair.left])
    pair.allow(*PEER_LOST, r"too small|size|111")
    assert "(111)" in pair.left.drbdadm("up r0", check=False).output


@pytest.mark.feature("Size: disks that differ")
def test_disks_that_differ(pair):
    """The right disk is smaller: the device has its size, whichever node is Primary."""
    pair.fresh()
    small = pair.right
    text = conf.fast(pair.left, pair.right)
    pair.configure(text.replace(f"on {small.name} {{ device /dev/drbd0; disk /dev/sdb1", f"on {small.name} {{ device /dev/drbd0; disk /dev/sdc1"))
    pair.create_md()
    pair.up()
    pair.connected()
    pair.left.drbdadm("-- --overwrite-data-of-peer primary r0")
    pair.synced()
    # 32 MiB less 4 KiB superblock, 32 KiB activity log and 4 KiB bitmap.
    agreed = 32 * MIB - 40 * 1024
    both_have(pair, agreed)
    pair.left.write(agreed - 65536, pattern("end", 65536))
    pair.left.drbdadm("secondary r0")
    small.drbdadm("primary r0")
    small.write(0, pattern("beginning", MIB))
    for machine, path in ((pair.left, pair.left.backing_file), (small, small.second.path)):
        assert read_direct(path, 0, MIB) == pattern("beginning", MIB), machine.name
        assert read_direct(path, agreed - 65536, 65536) == pattern("end", 65536), machine.name
    assert read_direct(pair.left.backing_file, 0, agreed) == read_direct(small.second.path, 0, agreed)
    small.drbdadm("secondary r0")
