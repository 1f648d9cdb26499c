"""A Primary without a disk, and one that has nothing left to read or write: errors, or frozen until data are back."""

import pytest

from lab import conf
from lab.compare import same
from lab.machine import pattern
from lab.process import await_until
from lab.workload import Workload

MIB = 1 << 20
SPAN = 2048
LOSS = (r"conn\(|network", r"PingAck did not arrive", r"sock was shut down|sock_recvmsg|short read|sendmsg|meta connection shut down",
        r"disk\(|pdsk\(|IO ERROR|IO error|I/O error|no longer|susp", r"lost async page write|page cache|[Ee]rror receiving|drbd_al_complete_io|Logic BUG")


def diskless_primary(pair, policy):
    pair.alike(conf.fast(pair.left, pair.right, extra=f"options {{ on-no-data-accessible {policy}; }}"))
    pair.allow(*LOSS)
    primary, secondary = pair.machines
    primary.run("drbdadm primary r0 && drbdadm detach r0")
    return primary, secondary


@pytest.mark.feature("Disks: diskless Primary")
def test_diskless_primary_reads_and_writes_at_the_peer(pair):
    primary, secondary = diskless_primary(pair, "io-error")
    load = Workload(primary, run=41, span_blocks=SPAN)
    load.await_writes(200)
    load.stop()
    data = pattern("remote", 4 * MIB)
    primary.write(16 * MIB, data)
    same(primary.read(16 * MIB, 4 * MIB), data)
    same(secondary.disk.read(16 * MIB, 4 * MIB), data)
    load.check(primary.read(0, SPAN * 4096))
    assert primary.status().disk == "Diskless" and secondary.status().peer_role == "Primary"
    primary.drbdadm("attach r0")
    pair.synced()
    load.check(primary.disk.read(0, SPAN * 4096))
    pair.compare()


@pytest.mark.feature("No data: on-no-data-accessible io-error")
def test_only_disk_unreachable_is_an_error(pair):
    """on-no-data-accessible io-error: what is under way fails, and what comes later, until the peer is back."""
    primary, secondary = diskless_primary(pair, "io-error")
    primary.write(16 * MIB, pattern("before", MIB))
    load = Workload(primary, run=42, span_blocks=SPAN)
    load.await_writes(50)
    secondary.unplug()
    await_until(lambda: load.error, lambda: f"a write fails; {load.writes} were good", 20)
    assert "Input/output error" in load.error
    primary.await_connection("WFConnection")
    for direction in ("if=/dev/drbd0 of=/dev/null iflag=direct", "if=/dev/zero of=/dev/drbd0 oflag=direct conv=notrunc"):
        refused = primary.run(f"dd {direction} bs=4k count=1", check=False)
        assert refused.status != 0 and "Input/output error" in refused.output
    secondary.plug_in()
    primary.await_status("connected", lambda s: (s.cs, s.peer_disk) == ("Connected", "UpToDate"))
    same(primary.read(16 * MIB, MIB), pattern("before", MIB))
    primary.write(16 * MIB, pattern("after", MIB))
    load.check(primary.read(0, SPAN * 4096))
    primary.drbdadm("attach r0")
    pair.synced()
    pair.compare()


@pytest.mark.feature("No data: on-no-data-accessible suspend-io")
def test_only_disk_unreachable_freezes(pair):
    """on-no-data-accessible suspend-io: nothing fails, and all of it is done when the peer is back."""
    primary, secondary = diskless_primary(pair, "suspend-io")
    load = Workload(primary, run=43, span_blocks=SPAN)
    load.await_writes(50)
    secondary.unplug()
    primary.await_status("frozen", lambda s: s.cs == "WFConnection" and s.flags.startswith("s"))
    secondary.await_connection("WFConnection")
    frozen_at = load.await_standstill()
    reader = primary.start("dd if=/dev/drbd0 bs=4k count=1 iflag=direct status=none | wc -c")
    assert load.writes == frozen_at and not load.error
    secondary.plug_in()
    load.await_writes(100)
    assert reader.stdout.readline().strip() == b"4096"
    close(reader)
    load.stop()
    load.check(primary.read(0, SPAN * 4096))
    assert primary.status().flags.startswith("r")
    primary.drbdadm("attach r0")
    pair.synced()
    pair.compare()


@pytest.mark.feature("No data: on-no-data-accessible suspend-io")
def test_own_disk_ends_the_freeze(pair):
    """Alone, and the disk is forced off: frozen, until that disk is attached again."""
    pair.alike(conf.fast(pair.left, pair.right, extra="options { on-no-data-accessible suspend-io; }"))
    pair.allow(*LOSS)
    primary, secondary = pair.machines
    primary.drbdadm("primary r0")
    load = Workload(primary, run=45, span_blocks=SPAN)
    load.await_writes(50)
    secondary.unplug()
    primary.await_connection("WFConnection")
    load.await_writes(50)
    primary.drbdadm("detach --force r0")
    primary.await_status("frozen", lambda s: s.disk == "Diskless" and s.flags.startswith("s"))
    load.await_standstill()
    primary.drbdadm("attach r0")
    primary.await_status("thawed", lambda s: s.disk == "UpToDate" and s.flags.startswith("r"))
    load.await_writes(50)
    secondary.plug_in()
    load.await_writes(50)
    load.stop()
    pair.synced()
    load.check(secondary.disk.read(0, SPAN * 4096))
    pair.compare()


@pytest.mark.feature("No data: resume-io")
def test_resume_io_gives_up_what_is_frozen(pair):
    """resume-io with no data in reach: what waited fails, as with io-error."""
    primary, secondary = diskless_primary(pair, "suspend-io")
    secondary.unplug()
    primary.await_status("frozen", lambda s: s.cs == "WFConnection" and s.flags.startswith("s"))
    reader = primary.start("dd if=/dev/drbd0 of=/dev/null bs=4k count=1 iflag=direct status=none 2>&1; echo ended")
    primary.drbdadm("resume-io r0")
    assert b"Input/output error" in reader.stdout.readline()
    close(reader)
    assert primary.status().flags.startswith("r")
    secondary.plug_in()


@pytest.mark.feature("Suspended by hand: suspend-io, resume-io")
def test_suspend_and_resume_by_hand(pair):
    """What is under way waits and what is issued meanwhile does, until resume-io. (The kernel never completes what was under
    way, so there the load begins while suspended.)"""
    pair.alike()
    primary, secondary = pair.machines
    primary.drbdadm("primary r0")
    load = Workload(primary, run=44, span_blocks=SPAN) if primary.kind == "duplex" else None
    if load:
        load.await_writes(50)
    primary.drbdadm("suspend-io r0")
    assert primary.status().flags.startswith("s")
    load = load or Workload(primary, run=44, span_blocks=SPAN)
    reader = primary.start("dd if=/dev/drbd0 bs=4k count=1 iflag=direct status=none | wc -c")
    suspended_at = load.await_standstill()
    assert suspended_at == 0 or primary.kind == "duplex"
    for machine in pair.machines:
        assert machine.status().cs == "Connected"
    assert load.writes == suspended_at
    primary.drbdadm("resume-io r0")
    assert reader.stdout.readline().strip() == b"4096"
    close(reader)
    load.await_writes(50)
    load.stop()
    pair.synced()
    load.check(secondary.disk.read(0, SPAN * 4096))
    pair.compare()


def close(process):
    process.stdout.close()
    process.wait() if hasattr(process, "wait") else process.close()
