"""Initial synchronisation, and writes on either side seen on the other."""

import pytest

from lab import conf
from lab.machine import pattern
from lab.workload import Workload

pytestmark = pytest.mark.feature("Replication")

MIB = 1 << 20


@pytest.mark.feature("Resync: initial")
@pytest.mark.parametrize("source", ["left", "right"])
def test_initial_sync(pair, source):
    pair.fresh()
    content = pattern(source, 24 * MIB)
    source, target = pair.machine(source), pair.other(pair.machine(source))
    with open(source.backing_file, "r+b") as disk:
        disk.seek(7 * MIB)
        disk.write(content)
    with open(target.backing_file, "r+b") as disk:
        disk.write(pattern("something old", 40 * MIB))
    pair.create_md("--force")
    pair.up()
    for machine in pair.machines:
        status = machine.await_connection("Connected")
        assert (status.role, status.peer_role) == ("Secondary", "Secondary")
        assert (status.disk, status.peer_disk) == ("Inconsistent", "Inconsistent")
    source.drbdadm("-- --overwrite-data-of-peer primary r0")
    pair.synced()
    assert source.status().role == "Primary" and target.status().peer_role == "Primary"
    assert source.status().ns == target.status().nr > 0
    pair.compare()
    assert target.disk.read(7 * MIB, len(content)) == content
    assert source.read(7 * MIB, MIB) == content[:MIB]


def test_writes_in_turn(pair):
    primary, secondary = pair.mirrored()
    size = int(primary.run("blockdev --getsize64 /dev/drbd0").output)
    expected = {}
    for turn in range(2):
        for index, (offset, length) in enumerate([(0, 512), (512, 512), (4096, 4096), (3 * 4096 + 512, 1024), (65536, 65536),
                                                  (4 * MIB - 4096, 8192), (8 * MIB, MIB), (size - 512, 512),
                                                  (size - 8192, 4096)]):
            expected[offset] = pattern(f"turn {turn} write {index}", length)
            primary.write(offset, expected[offset])
        primary.run(f"blkdiscard --zeroout --offset {16 * MIB} --length {MIB} /dev/drbd0")
        expected[16 * MIB] = bytes(MIB)
        for offset, data in expected.items():
            assert secondary.disk.read(offset, len(data)) == data, f"offset {offset} on {secondary.name}'s disk"
        primary.drbdadm("secondary r0")
        secondary.drbdadm("primary r0")
        primary, secondary = secondary, primary
        for offset, data in expected.items():
            assert primary.read(offset, len(data)) == data, f"offset {offset} read on {primary.name}"
        primary.write(16 * MIB, pattern("not zero", MIB))
    pair.synced()
    pair.compare()


def test_filesystem_moves(pair):
    """mkfs, files, a role switch, fsck and the same files on the other side."""
    primary, secondary = pair.mirrored()
    primary.run("mkfs.ext4 -q /dev/drbd0 && mkdir -p /mnt/r0 && mount /dev/drbd0 /mnt/r0")
    primary.run("cp -r /usr/share/doc/[a-d]* /mnt/r0/ && sync -f /mnt/r0", limit_s=120)
    sums = primary.run("cd /mnt/r0 && find . -type f -print0 | sort -z | xargs -0 sha256sum", limit_s=120).output
    assert len(sums.splitlines()) > 100
    primary.run("umount /mnt/r0")
    primary.drbdadm("secondary r0")
    secondary.drbdadm("primary r0")
    secondary.run("fsck.ext4 -fn /dev/drbd0 && mkdir -p /mnt/r0 && mount /dev/drbd0 /mnt/r0")
    assert secondary.run("cd /mnt/r0 && find . -type f -print0 | sort -z | xargs -0 sha256sum", limit_s=120).output == sums
    secondary.run("umount /mnt/r0")
    pair.synced()
    pair.compare()


@pytest.mark.parametrize("protocol", ["A", "B"])
def test_other_protocols(pair, protocol):
    """Writes and a flush under protocols A and B; after the flush nothing is missing on the peer."""
    primary, secondary = pair.mirrored(configuration=conf.fast(pair.left, pair.right, protocol=protocol))
    assert primary.status().protocol == secondary.status().protocol == protocol
    load = Workload(primary, run=3, span_blocks=2048, count=400)
    load.join()
    primary.write(32 * MIB, pattern(protocol, 65536))
    primary.drbdadm("secondary r0")
    pair.synced()
    load.check(secondary.disk.read(0, 2048 * 4096))
    assert secondary.disk.read(32 * MIB, 65536) == pattern(protocol, 65536)
    pair.compare()
