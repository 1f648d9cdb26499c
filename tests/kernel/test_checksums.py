"""Resync that asks with checksums: only what differs travels."""

import pytest

from lab import conf
from lab.machine import pattern

pytestmark = pytest.mark.feature("Resync: with checksums (csums-alg)")

MIB = 1 << 20


@pytest.mark.parametrize("source", ["left", "right"])
@pytest.mark.parametrize("algorithm", ["sha1", "crc32c"])
def test_checksum_resync(pair, source, algorithm):
    source, target = pair.mirrored(source=pair.machine(source),
                                   configuration=conf.fast(pair.left, pair.right, net=f"csums-alg {algorithm};"))
    content = pattern("content", 8 * MIB)
    source.write(4 * MIB, content)
    pair.synced()
    before = source.status().ns
    marks = {machine: machine.log_mark() for machine in pair.machines}
    # Nothing differs: every block is asked for, none is sent.
    target.drbdadm("invalidate r0")
    pair.synced()
    for machine in pair.machines:
        machine.await_log(r"100 % had equal checksums, eliminated: (\d+)K; transferred 0K total \1K", marks[machine])
    assert source.status().ns == before
    # What differs is found and sent, and nothing else of its neighbourhood but what one request covers.
    for block in (1024, 1025, 2000, 9999):
        with open(target.backing_file, "r+b") as disk:
            disk.seek(block * 4096)
            disk.write(pattern(block, 4096))
    target.drbdadm("invalidate r0")
    pair.synced()
    assert 16 <= source.status().ns - before <= 4 * 1024
    assert target.disk.read(4 * MIB, 8 * MIB) == content
    pair.compare()
