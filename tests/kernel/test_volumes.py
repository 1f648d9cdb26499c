"""Several volumes over one connection, and resources that resync one after the other."""

import pytest

from lab import conf, proc_drbd
from lab.compare import compare_data_areas
from lab.machine import pattern
from lab.workload import Workload

MIB = 1 << 20
NET = 'cram-hmac-alg sha1; shared-secret "my-secret"; timeout 20; connect-int 3; ping-int 3; ping-timeout 10;'
SPAN = 2048


def two_resources(pair, rate):
    text = "global { usage-count no; }\n"
    for number, disk in enumerate(("/dev/sdb1", "/dev/sdc1")):
        after = "resync-after r0;" if number else ""
        hosts = "".join(f"  on {machine.name} {{ device /dev/drbd{number}; disk {disk}; meta-disk internal; address {machine.address}:{7788 + number}; }}\n"
                        for machine in pair.machines)
        text += f"resource r{number} {{\n  net {{ {NET} }}\n  disk {{ resync-rate {rate}; c-plan-ahead 0; c-min-rate 0; {after} }}\n{hosts}}}\n"
    return text


def synced(pair):
    for machine in pair.machines:
        for minor in (0, 1):
            machine.await_status("in sync", lambda s: (s.cs, s.disk, s.peer_disk, s.oos) == ("Connected", "UpToDate", "UpToDate", 0), 60, minor)


def compare(pair):
    pair.compare()
    compare_data_areas(pair.left.second.path, pair.right.second.path)


def mirrored(pair, net="", disk=""):
    pair.fresh(conf.two_volumes(pair.left, pair.right, net, disk))
    pair.create_md()
    pair.up()
    for machine in pair.machines:
        for minor in (0, 1):
            machine.await_status("Connected", lambda s: s.cs == "Connected", 30, minor)
    pair.left.drbdadm("-- --overwrite-data-of-peer primary r0")
    synced(pair)
    return pair


@pytest.fixture
def volumes(pair):
    return mirrored(pair)


@pytest.mark.feature("Volumes: two in one resource")
@pytest.mark.parametrize("net, disk", [("", ""), ("protocol A;", "disk-flushes no; disk-drain no;")], ids=["C-flush", "A-none"])
def test_two_volumes_under_load(pair, net, disk):
    """With many epochs under way, as in the second case, a kernel that is Secondary acknowledges many a later one first."""
    primary, secondary = mirrored(pair, net, disk).machines
    loads = [Workload(primary, run=60 + minor, span_blocks=SPAN, device=f"/dev/drbd{minor}") for minor in (0, 1)]
    for load in loads:
        load.await_writes(600)
    for load in loads:
        load.stop()
    # Protocol A: the peer may still have to write some. It hears of the demotion after all of them.
    primary.drbdadm("secondary r0")
    for minor in (0, 1):
        secondary.await_status("all written", lambda s: s.peer_role == "Secondary" and s.lo == 0, 10, minor)
    synced(pair)
    loads[0].check(secondary.disk.read(0, SPAN * 4096))
    loads[1].check(secondary.second.read(0, SPAN * 4096))
    for machine in pair.machines:
        assert "Connection closed" not in machine.log_since(pair.mark(machine))
    compare(pair)


@pytest.mark.feature("Volumes: resynced together")
def test_two_volumes_catch_up(volumes):
    primary, secondary = volumes.machines
    secondary.drbdadm("disconnect r0")
    primary.await_connection("WFConnection")
    for minor in (0, 1):
        primary.write(3 * MIB, pattern(minor, 2 * MIB), device=f"/dev/drbd{minor}")
        assert primary.status(minor).oos == 2048
    volumes.reconnect()
    synced(volumes)
    assert secondary.disk.read(3 * MIB, 2 * MIB) == pattern(0, 2 * MIB)
    assert secondary.second.read(3 * MIB, 2 * MIB) == pattern(1, 2 * MIB)
    primary.drbdadm("secondary r0")
    secondary.drbdadm("primary r0")
    secondary.write(MIB, pattern("back", MIB), device="/dev/drbd1")
    assert primary.second.read(MIB, MIB) == pattern("back", MIB)
    compare(volumes)


@pytest.mark.feature("Volumes: one is detached")
def test_one_of_two_volumes_is_detached(volumes):
    primary, secondary = volumes.machines
    volumes.allow(r"pdsk\( \w+ -> (Failed|Diskless)", r"pdsk\( Failed")
    primary.drbdadm("detach r0/1")
    primary.await_status("diskless", lambda s: s.disk == "Diskless", 10, 1)
    primary.write(4 * MIB, pattern("remote", MIB), device="/dev/drbd1")
    primary.write(4 * MIB, pattern("local", MIB), device="/dev/drbd0")
    assert primary.read(4 * MIB, MIB, device="/dev/drbd1") == pattern("remote", MIB)
    assert primary.status(0).disk == "UpToDate"
    primary.drbdadm("attach r0/1")
    synced(volumes)
    assert primary.second.read(4 * MIB, MIB) == pattern("remote", MIB)
    compare(volumes)


def volumes_of(machine):
    return proc_drbd.parse(machine.proc_text()).keys()


def refused_while_in_use(machine):
    refused = machine.drbdsetup("del-minor 1", check=False)
    assert refused.status == 10 and "(160)" in refused.output
    assert machine.status(1).cs == "Connected"


def removed(pair, machine):
    """Takes volume 1, which is diskless and Secondary, from the machine; the connection and the other volume stay."""
    mark = pair.other(machine).log_mark()
    machine.drbdsetup("del-minor 1")
    assert set(volumes_of(machine)) == {0}
    unknown = machine.drbdsetup("del-minor 1", check=False)
    assert unknown.status == 10 and "(127)" in unknown.output
    pair.other(machine).await_status("alone", lambda s: (s.cs, s.peer_role, s.disk, s.peer_disk) == ("WFReportParams", "Unknown", "UpToDate", "DUnknown"),
                                     10, 1)
    assert "Connection closed" not in pair.other(machine).log_since(mark)
    for node in pair.machines:
        assert node.status(0).cs == "Connected"


@pytest.mark.feature("Volumes: one is removed while connected (del-minor)")
def test_a_volume_is_removed_from_the_secondary(volumes):
    """Under load; given back, it is resynced with what was written meanwhile, and nothing else is."""
    primary, secondary = volumes.machines
    volumes.allow(r"pdsk\( \w+ -> (Failed|Diskless)")
    # A kernel that writes both miscounts its epochs while only one of them has a peer (and drops the connection).
    loads = {minor: Workload(primary, run=70 + minor, span_blocks=SPAN, device=f"/dev/drbd{minor}")
             for minor in ((0, 1) if primary.kind == "duplex" else (1,))}
    refused_while_in_use(secondary)
    refused_while_in_use(primary)
    secondary.drbdadm("detach r0/1")
    removed(volumes, secondary)
    for load in loads.values():
        load.await_writes(100)
    assert 0 < primary.status(1).oos <= SPAN * 4
    mark = secondary.log_mark()
    secondary.drbdadm("adjust r0")
    kib = int(secondary.await_log(r"drbd1: Began resync as SyncTarget \(will sync (\d+) KB", mark)[1])
    assert 0 < kib <= SPAN * 4
    for load in loads.values():
        load.await_writes(50)
        load.stop()
    primary.write(8 * MIB, pattern("the other", MIB))
    synced(volumes)
    for minor, load in loads.items():
        load.check((secondary.disk, secondary.second)[minor].read(0, SPAN * 4096))
    assert secondary.disk.read(8 * MIB, MIB) == pattern("the other", MIB)
    compare(volumes)


@pytest.mark.feature("Volumes: one is removed while connected (del-minor)")
def test_a_volume_is_removed_from_the_former_primary(volumes):
    """A Primary keeps it, with or without a disk; without it the other node is Primary for both volumes."""
    first, other = volumes.machines
    volumes.allow(r"pdsk\( \w+ -> (Failed|Diskless)")
    first.drbdadm("detach r0/1")
    first.write(MIB, pattern("remote", MIB), device="/dev/drbd1")
    refused_while_in_use(first)
    first.drbdadm("secondary r0")
    removed(volumes, first)
    other.drbdadm("primary r0")
    for minor in (0, 1):
        other.write(2 * MIB, pattern(minor, MIB), device=f"/dev/drbd{minor}")
    # The MiB that went over the network was marked when it was written.
    assert [other.status(minor).oos for minor in (0, 1)] == [0, 2048]
    first.drbdadm("adjust r0")
    synced(volumes)
    assert first.second.read(MIB, 2 * MIB) == pattern("remote", MIB) + pattern(1, MIB)
    compare(volumes)


@pytest.mark.feature("Volumes: one is removed while connected (del-minor)")
def test_the_other_is_resynced_without_the_removed_one(volumes):
    """From a Duplex node: a kernel's resync does not begin while the peer has one volume less."""
    source = next((machine for machine in volumes.machines if machine.kind == "duplex"), volumes.left)
    target = volumes.other(source)
    volumes.allow(r"pdsk\( \w+ -> (Failed|Diskless)")
    if source is not volumes.left:
        volumes.left.drbdadm("secondary r0")
        source.drbdadm("primary r0")
    target.drbdadm("detach r0/1")
    removed(volumes, target)
    target.drbdadm("disconnect r0")
    source.await_connection("WFConnection")
    for minor in (0, 1):
        source.write(4 * MIB, pattern(minor, MIB), device=f"/dev/drbd{minor}")
    target.drbdadm("connect r0")
    for machine in volumes.machines:
        machine.await_status("in sync", lambda s: (s.cs, s.disk, s.peer_disk, s.oos) == ("Connected", "UpToDate", "UpToDate", 0), 30, 0)
    assert (source.status(1).cs, source.status(1).oos) == ("WFReportParams", 1024)
    target.drbdadm("adjust r0")
    synced(volumes)
    for minor, disk in enumerate((target.disk, target.second)):
        assert disk.read(4 * MIB, MIB) == pattern(minor, MIB)
    compare(volumes)


@pytest.mark.feature("Resync: one after the other (resync-after)")
def test_resync_after(pair):
    pair.fresh(two_resources(pair, "1M"))
    primary, secondary = pair.machines
    for name in ("r0", "r1"):
        for machine in pair.machines:
            machine.drbdadm(f"create-md {name}")
        pair_up(pair, name)
    for minor, name in enumerate(("r0", "r1")):
        for machine in pair.machines:
            machine.await_status("Connected", lambda s: s.cs == "Connected", 30, minor)
        primary.drbdadm(f"-- --clear-bitmap new-current-uuid {name}")
        primary.drbdadm(f"primary {name}")
    synced(pair)
    for minor, name in enumerate(("r0", "r1")):
        secondary.drbdadm(f"disconnect {name}")
        primary.await_status("alone", lambda s: s.cs == "WFConnection", 10, minor)
        primary.write(0, pattern(name, 8 * MIB), device=f"/dev/drbd{minor}")
    secondary.drbdadm("connect r0")
    secondary.await_status("the first resyncs", lambda s: s.cs == "SyncTarget", 30, 0)
    secondary.drbdadm("connect r1")
    secondary.await_status("the second waits", lambda s: s.cs == "PausedSyncT", 30, 1)
    assert secondary.status(0).cs == "SyncTarget"
    for name in ("r0", "r1"):
        for machine in pair.machines:
            machine.drbdadm(f"disk-options --resync-rate=100M {name}")
    secondary.await_status("the first is done", lambda s: s.cs == "Connected" and s.disk == "UpToDate", 30, 0)
    secondary.await_status("the second goes on", lambda s: s.cs in ("SyncTarget", "Connected"), 10, 1)
    synced(pair)
    compare(pair)


def pair_up(pair, name):
    for machine in pair.machines:
        machine.drbdadm(f"up {name}")
