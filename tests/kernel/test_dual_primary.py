"""Both nodes Primary and writing at the same time."""

import pytest

from lab import conf, overlap
from lab.workload import Workload

SPAN = 512
TWO = "allow-two-primaries; timeout 20; ko-count 3; ping-timeout 50;"
# What breaks when a kernel takes part in writes that overlap: the connection, with all that is said about that.
BREAKS = (r"conn\(|network|peer\(", r"sock was shut down|sock_recvmsg|short read|sendmsg|meta connection shut down|error receiving",
          r"[Cc]oncurrent writes|ASSERT|[Aa]ssert|BAD! |[Uu]nexpected|PingAck|Timed out|timed out|expected|logic|helper command|[Ss]plit-[Bb]rain|uuid|Discard")


def two_primaries(pair):
    pair.alike(conf.fast(pair.left, pair.right, net=TWO))
    pair.both("drbdadm primary r0")


@pytest.mark.feature("Two Primaries: writes that do not overlap")
def test_crossing_writes(pair):
    """Neighbouring blocks on both nodes at once; the connection holds, and everything acknowledged is on both disks."""
    two_primaries(pair)
    marks = {machine: machine.log_mark() for machine in pair.machines}
    loads = [Workload(machine, run=51 + lane, span_blocks=SPAN, lane=lane, lanes=2) for lane, machine in enumerate(pair.machines)]
    for load in loads:
        load.await_writes(1000)
    for load in loads:
        load.stop()
    pair.synced()
    for machine in pair.machines:
        content = machine.disk.read(0, SPAN * 4096)
        for load in loads:
            load.check(content)
        assert "conn(" not in machine.log_since(marks[machine])
    pair.compare()


@pytest.mark.feature("Two Primaries: overlapping writes at the same time")
def test_overlapping_writes(pair):
    """They end equal, or in a split brain that both report. (Two kernels break soon: docs/compatibility.md.)"""
    two_primaries(pair)
    pair.allow(*BREAKS)
    marks = {machine: machine.log_mark() for machine in pair.machines}
    # The writes of a node whose peer is lost go on: what is broken here is the connection, never the device.
    for report in pair.both(overlap.writers(3)):
        assert overlap.written_kib(report) > 256
    if broken(pair, marks):
        for machine in pair.machines:
            machine.await_log(r"Split-Brain detected but unresolved", marks[machine])
            machine.await_connection("StandAlone")
        pair.left.run("drbdadm secondary r0 && drbdadm connect --discard-my-data r0")
        pair.right.drbdadm("connect r0")
    pair.synced()
    pair.both("sync /dev/drbd0")  # ends although a kernel does not acknowledge every epoch with a conflict
    pair.both("drbdadm secondary r0")
    pair.compare()


def broken(pair, marks):
    return any("conn( Connected" in machine.log_since(marks[machine]) for machine in pair.machines)
