"""Both nodes Primary, and both write the same blocks at the same time: whatever order the writes take, it is one order."""

import time

import pytest

from lab import conf, overlap

pytestmark = pytest.mark.feature("Two Primaries: overlapping writes at the same time")

@pytest.mark.parametrize("delay_ms", [0, 1, 3, 10])
def test_overlapping_writes(pair, delay_ms):
    """Several rounds of load; after each both disks are equal. The connection holds all the time."""
    pair.alike(conf.fast(pair.left, pair.right, net="allow-two-primaries; timeout 60; ping-timeout 50;"))
    pair.both("drbdadm primary r0")
    marks = {machine: machine.log_mark() for machine in pair.machines}
    pair.switch.delay(pair.left.port, pair.right.port, delay_ms)
    try:
        began = time.monotonic()
        pair.left.run("dd if=/dev/zero of=/dev/drbd0 bs=4k count=50 oflag=direct conv=notrunc status=none")
        assert time.monotonic() - began > 0.7 * 50 * delay_ms / 1000, "the link is slow"
        for _ in range(4):
            before = [machine.status() for machine in pair.machines]
            reports = pair.both(overlap.writers(2))
            assert all(overlap.written_kib(report) > 1024 for report in reports), reports
            for machine in pair.machines:
                machine.await_synced()
            same_on_both(pair, before)
    finally:
        pair.switch.delay(pair.left.port, pair.right.port, 0)
    for machine in pair.machines:
        said = machine.log_since(marks[machine])
        assert "conn(" not in said and "Assertion" not in said, said
    pair.both("drbdadm secondary r0")
    pair.compare()


def same_on_both(pair, before):
    """Both sent and both received, and the disks are equal although both are in use (but idle)."""
    for machine, earlier in zip(pair.machines, before):
        now = machine.await_status("idle", lambda s: s.pe == 0 and s.ap == 0, 5)
        assert now.ns > earlier.ns and now.nr > earlier.nr, (machine.name, now)
    pair.compare()
