"""Two volumes of one resource over one connection, and the order of the resyncs of several resources."""

import re

import pytest

from lab.compare import compare_data_areas
from lab.process import await_until
from lab.workload import Workload
from system.test_crash import kill_process

SIZE = 64 << 20
SPAN = 8192


def volumes(pair, *numbers, disk=""):
    """r0 with these volumes: 0 on sdb1, 1 on sdc."""
    text = "".join(f"  volume {number} {{ device /dev/drbd{number}; disk /dev/{'sdb1' if number == 0 else 'sdc'}; meta-disk internal; }}\n"
                   for number in numbers)
    left, right = pair.machines
    return f"""global {{ usage-count no; }}
resource r0 {{
  net {{ timeout 20; connect-int 3; ping-int 3; ping-timeout 10; }}
  disk {{ resync-rate 400M; c-plan-ahead 0; c-min-rate 0; {disk} }}
{text}  on {left.name} {{ address {left.address}:7788; }}
  on {right.name} {{ address {right.address}:7788; }}
}}
"""


@pytest.fixture
def second(pair, add_disk):
    """compare() of the second disks, which both machines have as /dev/sdc."""
    pair.fresh()
    paths = [add_disk(machine, "sdc", SIZE) for machine in pair.machines]
    return lambda: compare_data_areas(*map(str, paths))


def both(machine, what, condition, limit_s=60):
    for minor in (0, 1):
        machine.await_status(what, condition, limit_s=limit_s, minor=minor)


def in_sync(status):
    return (status.cs, status.disk, status.peer_disk, status.oos) == ("Connected", "UpToDate", "UpToDate", 0)


def mirrored(pair):
    pair.fresh(volumes(pair, 0, 1))
    pair.create_md()
    pair.up()
    for machine in pair.machines:
        both(machine, "connected", lambda s: s.cs == "Connected")
    pair.left.drbdadm("-- --overwrite-data-of-peer primary r0")
    for machine in pair.machines:
        both(machine, "in sync", in_sync)
    return pair.left, pair.right


def test_both_are_equal_after_crashes(pair, second):
    """Loaded side by side; the Primary's process dies, and the peer's: nothing that was acknowledged is missing."""
    primary, secondary = mirrored(pair)
    for victim in (primary, secondary, primary):
        loads = [Workload(primary, run=40 + minor, span_blocks=SPAN, device=f"/dev/drbd{minor}") for minor in (0, 1)]
        for load in loads:
            load.await_writes(300)
        kill_process(victim)
        if victim is primary:
            await_until(lambda: all(load.error or not load.reading() for load in loads), "the writers notice")
            for load in loads:
                load.lost_power()
        victim.drbdadm("up r0")
        if victim is not primary:
            for load in loads:
                load.await_writes(100)
                load.stop()
        for machine in pair.machines:
            both(machine, "in sync", in_sync)
        primary.drbdadm("primary r0")
        for minor, load in enumerate(loads):
            load.check(primary.read(0, SPAN * 4096, device=f"/dev/drbd{minor}"))
    primary.drbdadm("secondary r0")
    pair.compare()
    second()


def test_adjust_adds_and_removes_one_under_load(pair, second):
    """The other volume is in use all the time and its connection stays."""
    pair.fresh(volumes(pair, 0))
    pair.create_md()
    pair.up()
    pair.connected()
    primary, secondary = pair.machines
    primary.drbdadm("-- --overwrite-data-of-peer primary r0")
    pair.synced()
    load = Workload(primary, run=50, span_blocks=SPAN)
    load.await_writes(100)
    mark = primary.log_mark()
    pair.configure(volumes(pair, 0, 1))
    for machine in pair.machines:
        machine.drbdadm("create-md r0/1")
    for machine in pair.machines:
        machine.drbdadm("adjust r0")
    for machine in pair.machines:
        machine.await_status("the new volume", lambda s: (s.cs, s.disk, s.peer_disk) == ("Connected", "Inconsistent", "Inconsistent"), minor=1)
    primary.drbdadm("-- --overwrite-data-of-peer primary r0/1")
    load.await_writes(100)
    for machine in pair.machines:
        both(machine, "in sync", lambda s: (s.cs, s.disk, s.peer_disk) == ("Connected", "UpToDate", "UpToDate"))
    other = Workload(primary, run=51, span_blocks=SPAN, count=200, device="/dev/drbd1")
    other.join()
    other.check(primary.read(0, SPAN * 4096, device="/dev/drbd1"))
    second()

    primary.drbdadm("secondary r0/1")
    pair.configure(volumes(pair, 0))
    for machine in (secondary, primary):
        machine.drbdadm("adjust r0")
        assert machine.status(1) is None
        load.await_writes(100)
    load.stop()
    changes = re.search(r"drbd(0| r0): .*conn\(", primary.log_since(mark))
    assert not changes, changes
    pair.synced()
    load.check(secondary.disk.read(0, SPAN * 4096))
    pair.compare()


def two_resources(pair):
    left, right = pair.machines
    text = "global { usage-count no; }\n"
    for number, (disk, port) in enumerate((("sdb1", 7788), ("sdc", 7789))):
        order = "resync-after r0;" if number == 1 else ""
        text += f"""resource r{number} {{
  net {{ timeout 20; connect-int 3; ping-int 3; ping-timeout 10; }}
  disk {{ resync-rate 4M; c-plan-ahead 0; c-min-rate 0; {order} }}
  device /dev/drbd{number}; disk /dev/{disk}; meta-disk internal;
  on {left.name} {{ address {left.address}:{port}; }}
  on {right.name} {{ address {right.address}:{port}; }}
}}
"""
    return text


def test_resync_after_another_resource(pair, second):
    """r1 waits for r0, whose process is another one; also when that dies in the middle of its resync."""
    pair.fresh(two_resources(pair))
    left, right = pair.machines
    for resource in ("r0", "r1"):
        for machine in pair.machines:
            machine.drbdadm(f"create-md {resource}")
            machine.drbdadm(f"up {resource}")
    for machine in pair.machines:
        both(machine, "connected", lambda s: s.cs == "Connected")
    left.drbdadm("-- --overwrite-data-of-peer primary r1")
    left.await_status("it syncs", lambda s: s.cs == "SyncSource", minor=1)
    left.drbdadm("-- --overwrite-data-of-peer primary r0")
    for machine in pair.machines:
        machine.await_status("r0 comes first", lambda s: s.cs.startswith("PausedSync"), minor=1)
    assert left.status(0).cs == "SyncSource"
    behind = right.status(1).oos
    left.run("drbdsetup disk-options 0 --resync-rate=400M")
    for machine in pair.machines:
        machine.await_status("r0 is done", in_sync, minor=0)
        machine.await_status("r1 goes on", lambda s: s.cs.startswith("Sync"), minor=1)
    assert right.status(1).oos <= behind

    # The process of the one that is waited for dies.
    right.drbdadm("invalidate r0")
    for machine in pair.machines:
        machine.await_status("r0 comes first", lambda s: s.cs.startswith("PausedSync"), minor=1)
    for machine in pair.machines:
        serving = [pid for pid in machine.processes("duplexd") if " r0 " in machine.run(f"tr '\\0' ' ' < /proc/{pid}/cmdline").output]
        machine.run(f"kill -9 {' '.join(map(str, serving))}")
    for machine in pair.machines:
        machine.await_status("r1 goes on", lambda s: s.cs.startswith("Sync"), minor=1)
    refused = left.drbdsetup("disk-options 1 --resync-after=1", check=False)
    assert refused.status != 0
    left.run("drbdsetup disk-options 1 --resync-rate=400M")
    for machine in pair.machines:
        machine.await_status("r1 is done", in_sync, minor=1)
        machine.drbdadm("up r0")
    pair.synced()
    left.drbdadm("secondary all")
    pair.compare()
    second()
