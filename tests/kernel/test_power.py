"""Machines that die without warning."""

import pytest

from lab.machine import pattern
from lab.pair import PEER_LOST
from lab.workload import Workload

SPAN = 8192


def die_and_return(pair, victim_side, victim_role, run):
    """Kills one machine under load, checks what it leaves behind, brings it back and checks both."""
    victim = pair.machine(victim_side)
    survivor = pair.other(victim)
    primary, secondary = pair.mirrored(source=victim if victim_role == "Primary" else survivor)
    pair.allow(*PEER_LOST)
    load = Workload(primary, run=run, span_blocks=SPAN)
    load.await_writes(300)
    assert victim.status().role == victim_role
    victim.power_off()
    if victim is primary:
        load.lost_power()
        survivor.await_connection("WFConnection")
        survivor.drbdadm("primary r0")
        load.check(survivor.disk.read(0, SPAN * 4096))
        second = Workload(survivor, run=run + 1, span_blocks=SPAN, count=300)
        second.join()
    else:
        survivor.await_connection("WFConnection")
        load.await_writes(300)
    mark = survivor.log_mark()
    victim.boot()
    victim.drbdadm("up r0")
    survivor.await_log(r"Began resync as SyncSource \(will sync (\d+) KB", mark, limit_s=30)
    if victim is not primary:
        load.await_writes(100)
        load.stop()
    pair.synced()
    final = second if victim is primary else load
    for machine in pair.machines:
        final.check(machine.disk.read(0, SPAN * 4096))
    assert survivor.status().role == "Primary" and victim.status().role == "Secondary"
    pair.compare()
    return survivor, victim


@pytest.mark.feature("Power failure: of the Primary, of the Secondary")
@pytest.mark.parametrize("role", ["Primary", "Secondary"])
@pytest.mark.parametrize("victim", ["left", "right"])
def test_killed_under_load(pair, victim, role):
    die_and_return(pair, victim, role, run=100)


@pytest.mark.feature("Power failure: unflushed writes are lost")
@pytest.mark.parametrize("victim, role", [("left", "Primary"), ("left", "Secondary")])
def test_unflushed_writes_lost(volatile_pair, victim, role):
    """The same, and the dead machine's disk has lost every write that no flush had followed."""
    survivor, victim = die_and_return(volatile_pair, victim, role, run=200)
    # And the other way round: what it received since, and flushed, is enough to be Primary alone.
    survivor.drbdadm("secondary r0")
    volatile_pair.allow(*PEER_LOST)
    victim.drbdadm("primary r0")
    load = Workload(victim, run=210, span_blocks=SPAN, count=200)
    load.join()
    volatile_pair.synced()
    survivor.power_off()
    victim.await_connection("WFConnection")
    for index in range(8):
        victim.write(index * (1 << 20), pattern(f"alone {index}", 65536))
    survivor.boot()
    survivor.drbdadm("up r0")
    volatile_pair.synced()
    volatile_pair.compare()


@pytest.mark.feature("Power failure: of both nodes at once")
def test_both_lose_power(volatile_pair):
    """Both machines die at once under load, with volatile disks; the former Primary's data wins and nothing acknowledged is lost."""
    pair = volatile_pair
    primary, secondary = pair.mirrored()
    pair.allow(*PEER_LOST)
    load = Workload(primary, run=300, span_blocks=SPAN)
    load.await_writes(300)
    load.stop()
    primary.run("dd if=/dev/zero of=/dev/drbd0 bs=4096 seek=16000 count=1 oflag=direct conv=notrunc,fsync status=none")
    load_after = Workload(primary, run=301, span_blocks=SPAN)
    load_after.await_writes(50)
    primary.power_off()
    secondary.power_off()
    load_after.lost_power()
    for machine in pair.machines:
        machine.boot()
    pair.up()
    pair.synced()
    # What had been flushed before the last writes began is there on both; single blocks may hold a later write of the second run.
    for machine in pair.machines:
        content = machine.disk.read(0, SPAN * 4096)
        flushed_or_later(load, load_after, content)
    pair.compare()


def flushed_or_later(flushed, unflushed, content):
    from lab import writer

    for block, sequence in flushed.acknowledged.items():
        found = writer.decode(content[block * 4096:(block + 1) * 4096])
        assert found is not None and found[1] == block, f"block {block} is damaged"
        assert found[0] == unflushed.run or (found[0] == flushed.run and found[2] >= sequence), (
            f"block {block}: flushed write {sequence} is gone, found {found}")
