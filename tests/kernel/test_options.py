"""Protocols, buffers, epochs and write ordering: whatever they are set to, both disks are the same in the end."""

import pytest

from lab import conf
from lab.machine import pattern
from lab.pair import PEER_LOST
from lab.process import await_until
from lab.workload import Workload

MIB = 1 << 20
SPAN = 4096


def loaded(pair, run, writes=300, **options):
    """Writes on a Primary under this configuration, then on the other one."""
    primary, secondary = pair.clean(conf.fast(pair.left, pair.right, **options))
    for turn in range(2):
        load = Workload(primary, run=run + turn, span_blocks=SPAN)
        load.await_writes(writes)
        primary.write(20 * MIB, pattern(f"large {turn}", 4 * MIB))
        load.stop()
        primary.drbdadm("secondary r0")
        primary, secondary = secondary, primary
        primary.drbdadm("primary r0")
        load.check(primary.read(0, SPAN * 4096))
        assert primary.read(20 * MIB, 4 * MIB) == pattern(f"large {turn}", 4 * MIB)
    pair.compare()
    return primary, secondary


@pytest.mark.feature("Protocols A, B, C")
@pytest.mark.parametrize("protocol", ["A", "B", "C"])
def test_protocol(pair, protocol):
    for machine in loaded(pair, run=40, protocol=protocol):
        assert machine.status().protocol == protocol


@pytest.mark.feature("Protocols A, B, C: changed while connected")
def test_protocol_changes_under_load(pair):
    primary, secondary = pair.clean()
    load = Workload(primary, run=45, span_blocks=SPAN)
    load.await_writes(50)
    for protocol in ("A", "B", "C"):
        pair.configure(conf.fast(pair.left, pair.right, protocol=protocol))
        for machine in pair.machines:
            machine.drbdadm("adjust r0")
        for machine in pair.machines:
            machine.await_status(f"protocol {protocol}", lambda s, p=protocol: (s.cs, s.protocol) == ("Connected", p))
        load.await_writes(50)
    load.stop()
    load.check(secondary.disk.read(0, SPAN * 4096))
    pair.compare()


@pytest.mark.feature("Protocols A, B, C: refused when they differ")
def test_different_protocols_do_not_connect(pair):
    pair.clean()
    pair.left.drbdadm("secondary r0")
    for machine in pair.machines:
        machine.drbdadm("disconnect r0")
        machine.await_connection("StandAlone")
    pair.configure(conf.fast(pair.left, pair.right, protocol="A"), [pair.left])
    pair.allow(*PEER_LOST, r"incompatible")
    for machine in pair.machines:
        machine.drbdadm("connect r0")
    await_until(lambda: "StandAlone" in [machine.status().cs for machine in pair.machines], "one of them gives up", 30)
    pair.configure(conf.fast(pair.left, pair.right, protocol="A"))
    for machine in pair.machines:
        machine.drbdadm("adjust r0")
    pair.synced()
    pair.compare()


@pytest.mark.feature("Options: max-buffers, max-epoch-size, sndbuf-size, rcvbuf-size")
@pytest.mark.parametrize("net", ["max-buffers 32; max-epoch-size 1;", "max-epoch-size 20000; max-buffers 131072; unplug-watermark 131072;",
                                 "sndbuf-size 4k; rcvbuf-size 4k;", "sndbuf-size 10M; rcvbuf-size 10M; tcp-cork no;"],
                         ids=["smallest", "largest", "small-buffers", "large-buffers"])
def test_extreme_buffers(pair, net):
    loaded(pair, run=50, net=net)


@pytest.mark.feature("Options: a resync with the smallest buffers")
def test_resync_with_the_smallest_buffers(pair):
    _, secondary = pair.behind(8, conf.fast(pair.left, pair.right, net="max-buffers 32; max-epoch-size 1; sndbuf-size 16k; rcvbuf-size 16k;"))
    pair.reconnect()
    pair.synced()
    assert secondary.disk.read(0, MIB) == pattern(0, MIB)
    pair.compare()


@pytest.mark.feature("Write ordering: flush, drain, none")
@pytest.mark.parametrize("disk, shown", [("", "f"), ("disk-flushes no; md-flushes no;", "d"), ("disk-flushes no; disk-drain no;", "n"),
                                         ("disk-barrier yes; disk-flushes no;", "d")], ids=["flush", "drain", "none", "barrier"])
def test_write_ordering(pair, disk, shown):
    for machine in loaded(pair, run=60, disk=disk):
        assert f" wo:{shown} " in machine.status().text, machine.status().text


@pytest.mark.feature("data-integrity-alg")
@pytest.mark.parametrize("algorithm", ["crc32c", "sha1"])
def test_data_integrity(pair, algorithm):
    loaded(pair, run=70, net=f"data-integrity-alg {algorithm};")


@pytest.mark.feature("data-integrity-alg: switched while connected")
def test_data_integrity_switched_on_and_off(pair):
    primary, secondary = pair.clean()
    load = Workload(primary, run=75, span_blocks=SPAN)
    for net in ("data-integrity-alg crc32c;", "data-integrity-alg md5;", ""):
        pair.configure(conf.fast(pair.left, pair.right, net=net))
        load.await_writes(50)
        for machine in pair.machines:
            machine.drbdadm("adjust r0")
        load.await_writes(50)
    load.stop()
    load.check(secondary.disk.read(0, SPAN * 4096))
    pair.compare()


# Writes its memory to the disk, and changes it meanwhile.
SCRIBBLER = """
import mmap, os, threading, sys
memory = mmap.mmap(-1, 1 << 16)
done = threading.Event()
def scribble():
    number = 0
    while not done.is_set():
        number += 1
        memory[:8] = number.to_bytes(8, 'little'); memory[65528:] = number.to_bytes(8, 'big')
thread = threading.Thread(target=scribble)
thread.start()
disk = os.open('/dev/drbd0', os.O_RDWR | os.O_DIRECT)
for turn in range(int(sys.argv[1])):
    os.pwrite(disk, memory, (turn % 64) << 16)
done.set()
thread.join()
"""


@pytest.mark.feature("data-integrity-alg: data change while they are written")
def test_memory_that_changes_while_it_is_written(pair):
    """The kernel sends what is not what it wrote; its peer notices, and the reconnect makes both the same. Duplex has a copy."""
    primary, secondary = pair.clean(conf.fast(pair.left, pair.right, net="data-integrity-alg crc32c;"))
    pair.allow(*PEER_LOST, r"Digest integrity check FAILED|Digest mismatch", r"Error receiving")
    mark = secondary.log_mark()
    primary.write_file("/etc/scribbler", SCRIBBLER)
    if primary.kind == "kernel":  # what waits for a slow cable is still the writer's memory
        primary.run("insmod /usr/lib/uml/modules/$(uname -r)/kernel/net/sched/sch_netem.ko 2>/dev/null; "
                    "tc qdisc add dev vec0 root netem rate 100mbit")
    try:
        primary.run("/usr/bin/python3 /etc/scribbler 200")
    finally:
        if primary.kind == "kernel":
            primary.run("tc qdisc del dev vec0 root")
    noticed = "Digest" in secondary.log_since(mark)
    assert noticed == (primary.kind == "kernel"), secondary.log_since(mark)
    primary.run("dd if=/dev/zero of=/dev/drbd0 bs=64k count=64 oflag=direct conv=notrunc status=none")
    pair.synced()
    pair.compare()
