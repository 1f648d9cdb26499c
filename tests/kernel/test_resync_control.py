"""Resyncs that are asked for, paused, sped up, slowed down and cut: how much they do, when, and how fast."""

import contextlib
import os
import re
import time

import pytest

from lab import conf
from lab.machine import pattern
from lab.pair import PEER_LOST

MIB = 1 << 20


def resyncing(pair, mib, rate="400M", disk="", net=""):
    """The left Primary is `mib` MiB ahead and has just connected. Times of log marks and of the connection."""
    primary, secondary = pair.behind(mib, conf.fast(pair.left, pair.right, rate=rate, disk=disk, net=net))
    marks = {machine: machine.log_mark() for machine in pair.machines}
    pair.reconnect()
    return primary, secondary, marks


def took(pair, limit_s=60):
    """Seconds until both are in sync."""
    begun = time.monotonic()
    pair.synced(limit_s)
    return time.monotonic() - begun


@contextlib.contextmanager
def writing_elsewhere(machine):
    """Writes without a pause, of zeroes, behind the first 40 MiB."""
    machine.run("touch /run/load")
    load = machine.start("while [ -e /run/load ]; do dd if=/dev/zero of=/dev/drbd0 bs=64k seek=640 count=64 oflag=direct conv=notrunc status=none || break; done")
    try:
        yield
    finally:
        machine.run("rm /run/load")
        assert load.stdout.read().strip(b"\n\x1e0") == b""


def has_content(machine, mib):
    for index in range(mib):
        assert machine.disk.read(index * MIB, MIB) == pattern(index, MIB), f"MiB {index} of {machine.name}"


@pytest.mark.feature("Resync: fixed rate")
def test_fixed_rate(pair):
    """The target asks for no more than resync-rate."""
    _, secondary, marks = resyncing(pair, 16, rate="4M")
    secondary.await_connection("SyncTarget")
    assert took(pair) > 3.4
    seconds, rate = secondary.await_log(r"Resync done \(total (\d+) sec; paused 0 sec; (\d+) K/sec\)", marks[secondary]).groups()
    assert int(rate) <= 16 * 1024 / 3, (seconds, rate)
    has_content(secondary, 16)
    pair.compare()


def controlled(pair, rate, options):
    """A resync of 16 MiB by the controller has begun; its target."""
    configuration = conf.fast(pair.left, pair.right, rate=rate).replace("c-plan-ahead 0", f"c-plan-ahead 5; {options}")
    _, secondary = pair.behind(16, configuration)
    pair.reconnect()
    secondary.await_connection("SyncTarget")
    return secondary


@pytest.mark.feature("Resync: controller (c-plan-ahead, c-fill-target)")
def test_controller_speeds_up(pair):
    """From a rate that would take a minute it finds a better one."""
    secondary = controlled(pair, "250k", "c-fill-target 512k")
    assert took(pair) < 25
    has_content(secondary, 16)
    pair.compare()


@pytest.mark.feature("Resync: controller (c-max-rate)")
def test_controller_keeps_to_its_limit(pair):
    controlled(pair, "4M", "c-fill-target 4M; c-max-rate 4M")
    assert took(pair) > 3.4
    pair.compare()


@pytest.mark.feature("Resync: controller (c-delay-target)")
def test_controller_by_delay(pair):
    configuration = conf.fast(pair.left, pair.right, rate="250k").replace("c-plan-ahead 0", "c-plan-ahead 5; c-fill-target 0; c-delay-target 10")
    _, secondary = pair.behind(8, configuration)
    pair.reconnect()
    secondary.await_connection("SyncTarget")
    pair.synced()
    has_content(secondary, 8)
    pair.compare()


@pytest.mark.feature("Resync: gives way to application I/O (c-min-rate)")
def test_application_io_comes_first(pair):
    """Under writes elsewhere the resync falls to c-min-rate; without them it has its rate again."""
    configuration = conf.fast(pair.left, pair.right, rate="12M").replace("c-min-rate 0", "c-min-rate 1M")
    primary, secondary = pair.behind(24, configuration)
    with writing_elsewhere(primary):
        pair.reconnect()
        secondary.await_connection("SyncTarget")
        begun = time.monotonic()
        secondary.await_status("half of it", lambda s: s.oos < 12 * 1024, limit_s=60)
        assert time.monotonic() - begun > 3, "12 MiB at 1 MiB/s"
    assert took(pair) < 20
    has_content(secondary, 24)
    pair.compare()


@pytest.mark.feature("Resync: pause-sync, resume-sync on both sides")
def test_paused_until_nobody_pauses(pair):
    primary, secondary, _ = resyncing(pair, 8, rate="1M")
    primary.await_status("under way", lambda s: s.cs == "SyncSource" and 0 < s.oos < 8 * 1024)

    def paused(flags_of_primary, flags_of_secondary):
        primary.await_status("paused", lambda s: (s.cs, s.flags[1:4]) == ("PausedSyncS", flags_of_primary))
        secondary.await_status("paused", lambda s: (s.cs, s.flags[1:4]) == ("PausedSyncT", flags_of_secondary))

    primary.drbdadm("pause-sync r0")
    paused("--u", "-p-")
    secondary.drbdadm("pause-sync r0")
    paused("-pu", "-pu")
    for machine in pair.machines:
        assert "(134)" in machine.drbdadm("pause-sync r0", check=False).output
    primary.drbdadm("resume-sync r0")
    paused("-p-", "--u")
    assert "(157)" in primary.drbdadm("resume-sync r0", check=False).output
    # What is written meanwhile is on both sides, and one block less is to do.
    before = secondary.status().oos
    primary.write(7 * MIB, pattern("while paused", 4096))
    secondary.await_status("one block less", lambda s: s.oos == before - 4)
    for machine in pair.machines:
        machine.drbdadm("disk-options --resync-rate=100M r0")
    secondary.drbdadm("resume-sync r0")
    pair.synced()
    assert secondary.disk.read(7 * MIB, MIB) == pattern("while paused", 4096) + pattern(7, MIB)[4096:]
    has_content(secondary, 7)
    pair.compare()


@pytest.mark.feature("Resync: pause-sync, resume-sync on both sides")
def test_paused_before_it_begins(pair):
    primary, secondary = pair.behind(2)
    secondary.drbdadm("pause-sync r0")
    pair.reconnect()
    primary.await_connection("PausedSyncS")
    secondary.await_connection("PausedSyncT")
    assert secondary.status().oos == 2 * 1024
    # The pause outlives the connection.
    primary.drbdadm("disconnect r0")
    secondary.await_connection("WFConnection")
    pair.reconnect()
    secondary.await_connection("PausedSyncT")
    secondary.drbdadm("resume-sync r0")
    pair.synced()
    has_content(secondary, 2)
    pair.compare()


@pytest.mark.feature("invalidate, invalidate-remote")
@pytest.mark.parametrize("command, by, target", [("invalidate", "secondary", "secondary"), ("invalidate", "primary", "primary"),
                                                 ("invalidate-remote", "primary", "secondary"), ("invalidate-remote", "secondary", "primary")])
def test_full_resync_on_demand(pair, command, by, target):
    """Everything is sent again, in the direction asked for, while the Primary is in use."""
    primary, secondary = pair.clean()
    primary.write(3 * MIB, pattern("content", MIB))
    size_kib = int(primary.run("blockdev --getsize64 /dev/drbd0").output) // 1024
    nodes = {"primary": primary, "secondary": secondary}
    marks = {machine: machine.log_mark() for machine in pair.machines}
    with open(nodes[target].backing_file, "r+b") as disk:
        disk.seek(3 * MIB)
        disk.write(pattern("overwritten", MIB))
    nodes[by].drbdadm(f"{command} r0")
    assert primary.read(3 * MIB, MIB) == pattern("content", MIB)
    primary.write(5 * MIB, pattern("meanwhile", MIB))
    pair.synced()
    nodes[target].await_log(rf"Began resync as SyncTarget \(will sync {size_kib} KB", marks[nodes[target]])
    pair.other(nodes[target]).await_log(rf"Began resync as SyncSource \(will sync {size_kib} KB", marks[pair.other(nodes[target])])
    assert nodes[target].disk.read(3 * MIB, MIB) == pattern("content", MIB)
    assert nodes[target].disk.read(5 * MIB, MIB) == pattern("meanwhile", MIB)
    pair.compare()


@pytest.mark.feature("invalidate, invalidate-remote")
def test_invalidated_while_disconnected(pair):
    """Refused while it waits for the peer; alone it marks everything, and the next connection resyncs it."""
    _, secondary = pair.clean()
    size_kib = int(pair.left.run("blockdev --getsize64 /dev/drbd0").output) // 1024
    pair.left.drbdadm("disconnect r0")
    secondary.await_connection("WFConnection")
    pair.allow(r"Need a connection to start verify or resync")
    assert "(-15)" in secondary.drbdadm("invalidate r0", check=False).output
    secondary.drbdadm("disconnect r0")
    secondary.await_connection("StandAlone")
    secondary.drbdadm("invalidate r0")
    status = secondary.status()
    assert (status.disk, status.oos) == ("Inconsistent", size_kib)
    pair.left.write(MIB, pattern("alone", MIB))
    pair.reconnect()
    pair.synced()
    assert secondary.disk.read(MIB, MIB) == pattern("alone", MIB)
    pair.compare()


@pytest.mark.feature("Resync: csums-after-crash-only")
def test_checksums_only_after_a_crash(pair):
    primary, secondary, marks = resyncing(pair, 2, net="csums-alg crc32c; csums-after-crash-only yes;")
    pair.synced()
    assert "equal checksums" not in secondary.log_since(marks[secondary])
    # A Primary that crashed does not know which of its last writes the other one has.
    pair.allow(*PEER_LOST)
    primary.power_off()
    secondary.await_connection("WFConnection")
    secondary.drbdadm("primary r0")
    secondary.write(MIB, pattern("after the crash", 4096))
    primary.boot()
    mark = primary.log_mark()
    primary.drbdadm("up r0")
    pair.synced()
    equal, transferred = primary.await_log(r"% had equal checksums, eliminated: (\d+)K; transferred (\d+)K", mark).groups()
    assert int(equal) >= 2 * 1024 and 4 <= int(transferred) <= 1024
    pair.compare()


@pytest.mark.feature("Resync: discarded ranges stay discarded (rs-discard-granularity)")
def test_thin_resync(pair):
    """What was discarded on the source is discarded on the target, too: its file has holes there."""
    primary, secondary, _ = resyncing(pair, 16, disk="rs-discard-granularity 65536;")
    pair.synced()
    full = allocated(secondary)
    assert full >= 16 * MIB
    secondary.drbdadm("disconnect r0")
    primary.await_connection("WFConnection")
    primary.run(f"blkdiscard -o {2 * MIB} -l {12 * MIB} /dev/drbd0")
    assert primary.status().oos == 12 * 1024
    pair.reconnect()
    pair.synced()
    assert allocated(secondary) <= full - 11 * MIB
    assert secondary.disk.read(2 * MIB, 12 * MIB) == bytes(12 * MIB)
    assert secondary.disk.read(MIB, MIB) == pattern(1, MIB) and secondary.disk.read(14 * MIB, MIB) == pattern(14, MIB)
    pair.compare()


def allocated(machine):
    machine.disk.flush()
    return os.stat(machine.backing_file).st_blocks * 512


@pytest.mark.feature("Resync: interrupted, and continued")
def test_interrupted_on_either_side_again_and_again(pair):
    """Disconnected by the target, by the source, power failure of the target, of the source: each time it goes on with what is left."""
    primary, secondary, _ = resyncing(pair, 16, rate="3M")
    pair.allow(*PEER_LOST)

    def progress(below_kib):
        secondary.await_status(f"less than {below_kib} KiB to do", lambda s: s.cs == "SyncTarget" and s.oos < below_kib)

    def power_fails(machine):
        other = pair.other(machine)
        machine.power_off()
        other.await_connection("WFConnection")
        machine.boot()
        machine.drbdadm("up r0")

    progress(14 << 10)
    secondary.drbdadm("disconnect r0")
    primary.await_connection("WFConnection")
    assert secondary.status().disk == "Inconsistent"
    pair.reconnect()
    progress(11 << 10)
    primary.drbdadm("disconnect r0")
    secondary.await_connection("WFConnection")
    pair.reconnect()
    progress(8 << 10)
    power_fails(secondary)
    progress(6 << 10)
    power_fails(primary)
    secondary.await_status("goes on", lambda s: s.cs == "SyncTarget" and s.oos < 16 << 10)
    for machine in pair.machines:
        machine.drbdadm("disk-options --resync-rate=100M r0")
    pair.synced()
    has_content(secondary, 16)
    pair.compare()


@pytest.mark.feature("Resync: handlers before and after")
def test_handlers_of_the_target(pair):
    """before-resync-target may refuse, after-resync-target comes at the end; the target's handler sees old data."""
    primary, secondary = pair.behind(2)
    text = conf.fast(pair.left, pair.right)
    text = text.replace("resource r0 {", 'resource r0 {\n  handlers { before-resync-target "exit $(cat /etc/before-exit)"; after-resync-target "echo $DRBD_RESOURCE $DRBD_MINOR >/etc/after"; }', 1)
    pair.configure(text)
    pair.allow(*PEER_LOST, r"before-resync-target")
    for machine in pair.machines:
        machine.write_file("/etc/before-exit", "5\n")
    pair.reconnect()
    secondary.await_connection("StandAlone")
    assert secondary.disk.read(0, MIB) != pattern(0, MIB)
    secondary.write_file("/etc/before-exit", "0\n")
    pair.reconnect()
    pair.synced()
    assert re.fullmatch(r"r0 0\n", secondary.run("for i in $(seq 100); do [ -s /etc/after ] && break; sleep 0.1; done; cat /etc/after").output)
    has_content(secondary, 2)
    pair.compare()
