"""Discards and write-zeroes go to both disks."""

import os

import pytest

from lab.machine import pattern

MIB = 1 << 20


def written(pair):
    primary, secondary = pair.clean()
    for index in range(4):
        primary.write(index * 4 * MIB, pattern(index, 4 * MIB))
    return primary, secondary


def expect(machines, zero, length=16 * MIB):
    """The 16 MiB of written(), but zeroes in the ranges of bytes `zero`."""
    content = bytearray(b"".join(pattern(index, 4 * MIB) for index in range(4)))
    for begin, end in zero:
        content[begin:end] = bytes(end - begin)
    for machine in machines:
        machine.disk.flush()
        assert machine.disk.read(0, length) == bytes(content), machine.name


def allocated(machine):
    return os.stat(machine.backing_file).st_blocks * 512


def gets_holes(pair, machine):
    """/dev/drbdN over FUSE cannot tell a discard from zeroes that may be holes, and the disk of User Mode Linux writes these."""
    return machine.kind == "duplex" or pair.left.kind == "kernel"


@pytest.mark.feature("Discard")
def test_discard(pair):
    primary, secondary = written(pair)
    before = {machine: allocated(machine) for machine in pair.machines}
    assert int(primary.run("blockdev --getsize64 /dev/drbd0 >/dev/null; cat /sys/dev/block/$(stat -L -c %Hr:%Lr /dev/drbd0)/queue/discard_max_bytes").output) > 0
    primary.run(f"blkdiscard -o {3 * MIB} -l {10 * MIB} /dev/drbd0")
    expect(pair.machines, [(3 * MIB, 13 * MIB)])
    for machine in pair.machines:
        if gets_holes(pair, machine):
            assert allocated(machine) <= before[machine] - 9 * MIB, machine.name
    assert primary.read(2 * MIB, 2 * MIB) == (pattern(0, 4 * MIB)[2 * MIB:3 * MIB] + bytes(MIB))
    assert secondary.status().oos == 0
    pair.compare()


@pytest.mark.feature("Discard: unaligned, and of less than a block")
def test_unaligned_discards(pair):
    primary, _ = written(pair)
    ranges = [(512, 1024), (8192 + 512, 8192 + 512 + 65536), (MIB - 512, MIB + 512), (5 * MIB - 4096, 6 * MIB + 512)]
    for begin, end in ranges:
        primary.run(f"blkdiscard -o {begin} -l {end - begin} /dev/drbd0")
    # What a discard leaves of a range is not determined, but it is the same on both, and nothing around it is touched.
    content = [machine.disk.read(0, 16 * MIB) for machine in pair.machines]
    assert content[0] == content[1]
    original = b"".join(pattern(index, 4 * MIB) for index in range(4))
    edges = sorted([0, 16 * MIB] + [edge for pair_of_edges in ranges for edge in pair_of_edges])
    for begin, end in zip(edges[::2], edges[1::2]):
        assert content[0][begin:end] == original[begin:end], (begin, end)
    pair.compare()


@pytest.mark.feature("Write zeroes")
def test_write_zeroes(pair):
    primary, _ = written(pair)
    primary.run(f"blkdiscard --zeroout -o {2 * MIB} -l {5 * MIB + 512} /dev/drbd0")
    primary.run(f"blkdiscard --zeroout -o {14 * MIB} -l 4096 /dev/drbd0")
    expect(pair.machines, [(2 * MIB, 7 * MIB + 512), (14 * MIB, 14 * MIB + 4096)])
    pair.compare()


@pytest.mark.feature("Discard: while disconnected")
def test_discard_while_alone(pair):
    primary, secondary = written(pair)
    secondary.drbdadm("disconnect r0")
    primary.await_connection("WFConnection")
    primary.run(f"blkdiscard -o {4 * MIB} -l {4 * MIB} /dev/drbd0")
    primary.run(f"blkdiscard --zeroout -o {10 * MIB} -l {MIB} /dev/drbd0")
    assert primary.status().oos == 5 * 1024
    pair.reconnect()
    pair.synced()
    expect(pair.machines, [(4 * MIB, 8 * MIB), (10 * MIB, 11 * MIB)])
    pair.compare()


@pytest.mark.feature("Discard: a file system's fstrim")
def test_fstrim(pair):
    primary, secondary = pair.clean()
    primary.run("mkfs.ext4 -q /dev/drbd0 && mkdir -p /mnt/x && mount /dev/drbd0 /mnt/x && dd if=/dev/urandom of=/mnt/x/file bs=1M count=24 "
                "status=none && sync && md5sum </mnt/x/file >/mnt/x/sum", limit_s=120)
    full = allocated(secondary)
    primary.run("cp /mnt/x/sum /mnt/x/kept && rm /mnt/x/file && sync && fstrim /mnt/x && umount /mnt/x", limit_s=120)
    if gets_holes(pair, secondary):
        assert allocated(secondary) < full - 16 * MIB
    primary.drbdadm("secondary r0")
    pair.compare()
    secondary.drbdadm("primary r0")
    secondary.run("mkdir -p /mnt/x && mount /dev/drbd0 /mnt/x && cmp /mnt/x/sum /mnt/x/kept && umount /mnt/x")
    secondary.drbdadm("secondary r0")
