"""Disks that fail or hang, are let go and taken back, while the volume is in use."""

import pytest

from lab import conf, handlers
from lab.compare import same
from lab.machine import pattern
from lab.workload import Workload

MIB = 1 << 20
BAD = 20 * MIB
LENGTH = 65536
# What a failing disk has a machine say, and a peer that hears of it.
FAILS = (r"IO failed|(write|read): error=|returned error|I/O error|IO error|IO ERROR|error, dev nbd0|lost async page write",
         r"disk\(|pdsk\(|Diskless|Failed|Detaching|detach|helper command|[Nn]eg",
         r"drbd_al_complete_io|drbd_req_destroy: Logic BUG", r"drbd_md_sync_page_io|meta data|page cache")


def configuration(pair, policy, net="", disk=""):
    return conf.fast(pair.left, pair.right, net=net, disk=f"on-io-error {policy}; {disk}", extra=handlers.recording(("local-io-error",)))


def ready(pair, policy, role="Primary", **options):
    """(the machine whose disk will fail, its peer); `role` is that of the first. Both disks have the same data in the bad range."""
    pair.alike(configuration(pair, policy, **options))
    pair.allow(*FAILS)
    handlers.install(pair)
    primary = pair.left if role == "Primary" else pair.right
    primary.drbdadm("primary r0")
    primary.write(BAD, pattern("before", LENGTH))
    return pair.left, pair.right, primary


def reattach(pair, machine):
    """The repaired disk comes back and gets what it missed."""
    machine.disk.repair()
    machine.run("drbdadm attach r0")
    pair.synced()
    pair.compare()


@pytest.mark.feature("Disk errors: detach, call-local-io-error")
@pytest.mark.parametrize("policy", ["detach", "call-local-io-error"])
@pytest.mark.parametrize("role", ["Primary", "Secondary"])
def test_failed_write_detaches(faulty_pair, policy, role):
    """The application does not notice; the disk is let go, and is taken back in use."""
    pair = faulty_pair
    failing, healthy, primary = ready(pair, policy, role)
    failing.disk.fail(("write", BAD, LENGTH))
    primary.write(BAD, pattern("during", LENGTH))
    failing.await_status("diskless", lambda s: (s.cs, s.disk, s.peer_disk) == ("Connected", "Diskless", "UpToDate"))
    healthy.await_status("the peer diskless", lambda s: (s.disk, s.peer_disk) == ("UpToDate", "Diskless"))
    same(primary.read(BAD, LENGTH), pattern("during", LENGTH))
    primary.write(BAD + MIB, pattern("diskless", MIB))
    same(primary.read(BAD + MIB, MIB), pattern("diskless", MIB))
    if policy == "call-local-io-error":
        assert handlers.await_call(failing, "local-io-error") == handlers.environment_of_device_handler(failing, healthy)
    assert len(handlers.names(failing)) == (policy == "call-local-io-error") and not handlers.names(healthy)
    reattach(pair, failing)
    same(failing.disk.read(BAD, LENGTH), pattern("during", LENGTH))
    same(failing.disk.read(BAD + MIB, MIB), pattern("diskless", MIB))


@pytest.mark.feature("Disk errors: reads answered by the peer")
@pytest.mark.parametrize("policy", ["detach", "pass_on"])
def test_failed_read_is_answered_by_the_peer(faulty_pair, policy):
    pair = faulty_pair
    failing, healthy, primary = ready(pair, policy)
    failing.disk.fail(("read", BAD, LENGTH))
    same(primary.read(BAD, LENGTH), pattern("before", LENGTH))
    expected = "Diskless" if policy == "detach" else "Inconsistent"
    failing.await_status("the disk's new state", lambda s: (s.cs, s.disk, s.peer_disk) == ("Connected", expected, "UpToDate"))
    healthy.await_status("the peer's new state", lambda s: s.peer_disk == expected)
    same(primary.read(BAD, LENGTH), pattern("before", LENGTH))
    primary.write(BAD, pattern("after", LENGTH))
    failing.disk.repair()
    same(primary.read(BAD, LENGTH), pattern("after", LENGTH))
    if policy == "pass_on":
        failing.drbdadm("detach r0")
    reattach(pair, failing)
    same(failing.disk.read(BAD, LENGTH), pattern("after", LENGTH))


@pytest.mark.feature("Disk errors: pass_on")
@pytest.mark.parametrize("role", ["Primary", "Secondary"])
def test_failed_write_is_passed_on(faulty_pair, role):
    """The disk stays attached, no longer good as a whole; what failed is out of sync and is read from the peer."""
    pair = faulty_pair
    failing, healthy, primary = ready(pair, "pass_on", role)
    failing.disk.fail(("write", BAD, LENGTH))
    primary.write(BAD, pattern("during", LENGTH))
    failing.await_status("inconsistent", lambda s: (s.cs, s.disk, s.peer_disk) == ("Connected", "Inconsistent", "UpToDate"))
    healthy.await_status("the peer inconsistent", lambda s: (s.disk, s.peer_disk) == ("UpToDate", "Inconsistent"))
    assert primary.status().oos == LENGTH // 1024
    same(primary.read(BAD, LENGTH), pattern("during", LENGTH))
    primary.write(BAD + MIB, pattern("elsewhere", MIB))
    if role == "Primary":
        same(failing.disk.read(BAD + MIB, MIB), pattern("elsewhere", MIB))
    else:  # a peer whose disk is not good gets no more writes
        assert primary.status().oos == (LENGTH + MIB) // 1024
    assert not handlers.names(failing)
    failing.disk.repair()
    failing.drbdadm("detach r0")
    reattach(pair, failing)
    same(failing.disk.read(BAD, LENGTH), pattern("during", LENGTH))


@pytest.mark.feature("Disk errors: meta data")
@pytest.mark.parametrize("role", ["Primary", "Secondary"])
def test_failing_meta_data_always_detach(faulty_pair, role):
    """Even with pass_on: a disk whose meta data cannot be written is of no use."""
    pair = faulty_pair
    failing, healthy, primary = ready(pair, "pass_on", role)
    data = int(primary.run("blockdev --getsize64 /dev/drbd0").output)
    failing.disk.fail(("write", data, failing.disk.size_bytes - data))
    # A write to an extent that the activity log does not have: on the Primary it needs a transaction.
    primary.write(40 * MIB, pattern("elsewhere", LENGTH))
    if role == "Secondary":
        failing.run("drbdadm disconnect r0; drbdadm connect r0")  # which writes the superblock
    failing.await_status("diskless", lambda s: (s.cs, s.disk) == ("Connected", "Diskless"))
    primary.write(BAD, pattern("during", LENGTH))
    same(primary.read(40 * MIB, LENGTH), pattern("elsewhere", LENGTH))
    reattach(pair, failing)
    same(failing.disk.read(40 * MIB, LENGTH), pattern("elsewhere", LENGTH))


@pytest.mark.feature("Disk errors: on both nodes")
def test_both_disks_fail(faulty_pair):
    """Nothing is left to read: the application gets an error, and so does the next one."""
    pair = faulty_pair
    failing, healthy, primary = ready(pair, "detach")
    for machine in pair.machines:
        machine.disk.fail(("read", BAD, LENGTH))
    refused = primary.run(f"dd if=/dev/drbd0 of=/dev/null bs=64k skip={BAD // LENGTH} count=1 iflag=direct", check=False)
    assert refused.status != 0 and "Input/output error" in refused.output
    failing.await_status("diskless", lambda s: s.disk == "Diskless")


@pytest.mark.feature("Disks: detach and attach under load")
@pytest.mark.parametrize("which", ["Primary", "Secondary"])
def test_detach_and_attach_under_load(faulty_pair, which):
    pair = faulty_pair
    detached, other, primary = ready(pair, "detach", which)
    # What the source calls out of sync may arrive before the attached node has left Connected; it is marked all the same.
    pair.allow("ASSERT FAILED cstate = Connected, expected: WFSyncUUID")
    load = Workload(primary, run=31, span_blocks=2048)
    load.await_writes(100)
    detached.drbdadm("detach r0")
    assert detached.status().disk == "Diskless"
    load.await_writes(100)
    detached.drbdadm("attach r0")
    await_connected_and_up_to_date(pair)
    load.await_writes(100)
    load.stop()
    pair.synced()
    load.check(detached.disk.read(0, 2048 * 4096))
    pair.compare()


def await_connected_and_up_to_date(pair):
    for machine in pair.machines:
        machine.await_status("both UpToDate", lambda s: (s.cs, s.disk, s.peer_disk) == ("Connected", "UpToDate", "UpToDate"))


@pytest.mark.feature("Disks: read-balancing")
@pytest.mark.parametrize("policy, remote_share", [
    ("prefer-local", 0), ("prefer-remote", 1), ("round-robin", 0.5), ("least-pending", None), ("when-congested-remote", 0),
    ("32K-striping", 0.5), ("64K-striping", 0.5), ("1M-striping", 0.5)])
def test_read_balancing(pair, policy, remote_share):
    """Which disk the reads of a Primary come from, by the counters of both."""
    pair.alike(conf.fast(pair.left, pair.right, disk=f"read-balancing {policy};"))
    primary, secondary = pair.machines
    primary.drbdadm("primary r0")
    data = pattern(policy, 2 * MIB)
    primary.write(0, data)
    before = primary.status().dr, secondary.status().dr
    outcome = primary.run("dd if=/dev/drbd0 bs=32k count=64 iflag=direct status=none")
    same(outcome.raw, data)
    local, remote = primary.status().dr - before[0], secondary.status().dr - before[1]
    assert local + remote == 2048, (local, remote)
    if remote_share is not None:
        assert remote == 2048 * remote_share, (local, remote)
    pair.compare()


@pytest.mark.feature("Disks: detach --force of one that hangs")
def test_forced_detach_of_a_hanging_disk(faulty_pair):
    """The disk answers no more; detach --force gives it up, and what waited for it completes through the peer."""
    pair = faulty_pair
    failing, healthy, primary = ready(pair, "detach")
    load = Workload(primary, run=32, span_blocks=2048)
    load.await_writes(100)
    failing.disk.fail(("hang-write", 0, failing.disk.size_bytes))
    stuck_at = load.await_standstill()
    failing.drbdadm("detach --force r0", limit_s=10)
    load.await_writes(100)
    assert failing.status().disk in ("Failed", "Diskless") and load.writes > stuck_at
    load.stop()
    assert failing.kind == "duplex" or failing.status().disk == "Failed"
    healthy_content = healthy.disk.read(0, 2048 * 4096)
    load.check(healthy_content)
    same(primary.read(0, MIB), healthy_content[:MIB])
