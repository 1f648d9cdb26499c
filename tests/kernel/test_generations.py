"""Whose data are newer: what two disks with a history conclude when they meet, and the shortcuts past a first full sync."""

import shutil

import pytest

from lab import conf
from lab.compare import data_area_bytes, same
from lab.machine import pattern
from lab.process import await_until

MIB = 1 << 20
LOSS = (r"conn\(|network|peer\(", r"sock was shut down|sock_recvmsg|short read|sendmsg|meta connection shut down|error receiving", r"helper command",
        r"[Uu]nrelated data|[Ss]plit-[Bb]rain|uuid|[Ss]tate change failed|state = |wanted = |PingAck|lost|Lost last|Writing the whole bitmap|I shall become")


def generations(machine):
    """Current, bitmap and two history UUIDs of the disk in use, without the bit for the role."""
    line = machine.drbdsetup("get-gi 0").output.strip().splitlines()[-1]
    return [int(uuid, 16) & ~1 for uuid in line.split(":")[:4]]


@pytest.mark.feature("Generations: initial resync skipped")
@pytest.mark.parametrize("asked", ["left", "right"])
def test_first_sync_skipped(pair, asked):
    """new-current-uuid --clear-bitmap: both become UpToDate, nothing is sent, and from then on changes count."""
    pair.fresh()
    for machine in pair.machines:
        with open(machine.backing_file, "r+b") as disk:
            disk.seek(5 * MIB)
            disk.write(pattern("the same on both", MIB))
    pair.both("drbdadm create-md --force r0 && drbdadm up r0")
    pair.connected()
    pair.machine(asked).drbdadm("-- --clear-bitmap new-current-uuid r0")
    pair.synced()
    for machine in pair.machines:
        status = machine.status()
        assert (status.ns, status.nr, status.dw) == (0, 0, 0), status
        same(machine.disk.read(5 * MIB, MIB), pattern("the same on both", MIB))
    assert generations(pair.left) == generations(pair.right)
    primary, secondary = pair.right, pair.left
    primary.drbdadm("primary r0")
    secondary.drbdadm("disconnect r0")
    primary.write(6 * MIB, pattern("alone", MIB))
    mark = primary.log_mark()
    pair.allow(*LOSS)
    primary.run("drbdadm connect r0", check=False)
    secondary.drbdadm("connect r0")
    pair.synced()
    assert resync_kib(primary, mark) == 1024
    pair.compare()


@pytest.mark.feature("Generations: a copy of the disk is shipped")
@pytest.mark.parametrize("maker", ["left", "right"])
def test_disk_shipped_by_truck(pair, maker):
    """The manual page's way: --clear-bitmap, copy the disk, another generation; the copy needs only what was written since."""
    maker = pair.machine(maker)
    other = pair.other(maker)
    pair.fresh()
    pair.allow(*LOSS)
    maker.run("drbdadm create-md r0 && drbdadm up r0 && drbdadm primary --force r0")
    maker.write(3 * MIB, pattern("in the truck", 4 * MIB))
    maker.run("drbdadm secondary r0 && drbdadm disconnect r0 && drbdadm -- --clear-bitmap new-current-uuid r0 && drbdadm down r0")
    with open(maker.backing_file, "rb") as old, open(other.backing_file, "r+b") as new:
        shutil.copyfileobj(old, new, MIB)
    other.run("blockdev --flushbufs /dev/sdb1")
    maker.run("drbdadm up r0 && drbdadm disconnect r0 && drbdadm new-current-uuid r0 && drbdadm primary r0")
    maker.write(9 * MIB, pattern("meanwhile", MIB))
    mark = maker.log_mark()
    maker.drbdadm("connect r0")
    other.drbdadm("up r0")
    pair.synced()
    assert resync_kib(maker, mark) == 1024
    pair.compare()


def resync_kib(source, mark):
    return int(source.await_log(r"Began resync as SyncSource \(will sync (\d+) KB", mark)[1])


@pytest.mark.feature("Generations: forced Primary")
def test_forced_primary_alone(pair):
    """A fresh node without its peer: refused, then forced; the peer that comes later, with anything on its disk, gets everything."""
    pair.fresh()
    pair.allow(*LOSS)
    first, second = pair.machines
    with open(second.backing_file, "r+b") as disk:
        disk.write(pattern("old", 8 * MIB))
    pair.both("drbdadm create-md --force r0")
    first.drbdadm("up r0")
    refused = first.drbdadm("primary r0", check=False)
    assert refused.status == 17 and "Need access to UpToDate data" in refused.output
    first.drbdadm("primary --force r0")
    assert (first.status().disk, first.status().role) == ("UpToDate", "Primary")
    first.write(MIB, pattern("forced", MIB))
    mark = first.log_mark()
    second.drbdadm("up r0")
    pair.synced()
    assert resync_kib(first, mark) == data_area_bytes(first.backing_file) // 1024
    pair.compare()


@pytest.mark.feature("Generations: forced Primary")
def test_forced_primary_on_outdated_data(pair):
    """Outdated data are refused, and taken when forced. That is another generation, so it does not go unnoticed."""
    pair.alike(conf.fast(pair.left, pair.right, disk="fencing resource-only;",
                         extra='handlers { fence-peer "exit 1"; unfence-peer "exit 0"; }'))
    pair.allow(*LOSS, r"fence-peer|fencing")
    stale, current = pair.machines
    current.drbdadm("primary r0")
    stale.drbdadm("disconnect r0")
    stale.await_status("outdated", lambda s: s.disk == "Outdated")
    current.write(MIB, pattern("newer", MIB))
    assert stale.drbdadm("primary r0", check=False).status == 17
    stale.drbdadm("primary --force r0")
    assert (stale.status().disk, stale.status().role) == ("UpToDate", "Primary")
    stale.write(MIB, pattern("forced", MIB))
    stale.run("drbdadm secondary r0 && drbdadm connect r0")
    for machine in pair.machines:
        machine.await_log(r"Split-Brain detected", 0)
        machine.await_connection("StandAlone")
    same(current.disk.read(MIB, MIB), pattern("newer", MIB))
    same(stale.disk.read(MIB, MIB), pattern("forced", MIB))


A, B, C, D, E, F, G = (0x1111_2222_3333_4400 + (letter << 4) for letter in range(7))
OFFSET = 1 << 48

MEETINGS = [
    # name, left: current, bitmap, two of history; the same of right; what happens
    ("same_generation", (A, 0, B, C), (A, 0, B, C), "nothing"),
    ("left_went_on", (D, A, B, C), (A, 0, B, C), "left bitmap"),
    ("right_went_on", (A, 0, B, C), (D, A, B, C), "right bitmap"),
    ("left_is_newer_by_two", (D, 0, C, A), (A, 0, B, E), "left full"),
    ("left_is_an_old_backup", (A, 0, B, E), (D, 0, C, A), "right full"),
    ("left_missed_the_end", (D, A + OFFSET, A, B), (D, 0, A + OFFSET, A), "left bitmap"),
    ("right_never_began", (D, A + OFFSET, A, B), (A, 0, B, C), "left bitmap"),
    ("interrupted_resync", (D, A + OFFSET, A, B), (A + OFFSET, 0, 0, 0), "left bitmap"),
    ("both_went_on", (D, A, B, C), (E, A, B, C), "split brain"),
    ("common_history", (D, E, B, C), (F, G, B, C), "split brain"),
    ("unrelated", (A, 0, B, C), (D, 0, E, F), "unrelated"),
    ("just_created", (4, 0, 0, 0), (D, 0, E, F), "right full"),
]


@pytest.mark.feature("Generations: the comparison of two histories")
@pytest.mark.parametrize("left, right, outcome", [row[1:] for row in MEETINGS], ids=[row[0] for row in MEETINGS])
def test_meeting(pair, left, right, outcome):
    """Disks with these generations meet, both Secondary: the comparison table."""
    pair.alike()
    pair.allow(*LOSS)
    pair.down()
    for machine, (current, *older) in zip(pair.machines, (left, right)):
        good = 0 if current == 4 else 1
        identifiers = ":".join(f"{uuid:016X}" for uuid in (current, *older))
        machine.run(f"drbdmeta --force 0 v08 /dev/sdb1 internal set-gi {identifiers}:{good}:{good}:0:0:0:0:0")
    marks = {machine: machine.log_mark() for machine in pair.machines}
    pair.both("drbdadm up r0")
    expect(pair, outcome, marks)


def expect(pair, outcome, marks):
    if outcome in ("split brain", "unrelated"):
        said = {"split brain": "Split-Brain detected but unresolved", "unrelated": "Unrelated data, aborting!"}[outcome]
        # The first that finds out ends the connection, perhaps before the other one has compared.
        await_until(lambda: any(said in machine.log_since(marks[machine]) and machine.status().cs == "StandAlone" for machine in pair.machines),
                    f"one of the nodes says {said!r} and gives up")
        for machine in pair.machines:
            machine.await_connection("StandAlone", "WFConnection")
        return
    pair.synced()
    began = {machine: [line for line in machine.log_since(marks[machine]).splitlines() if "Began resync as" in line]
             for machine in pair.machines}
    if outcome == "nothing":
        assert not any(began.values()), began
    else:
        side, how = outcome.split()
        source = pair.machine(side)
        everything = f"will sync {data_area_bytes(source.backing_file) // 1024} KB"
        for machine in pair.machines:
            assert f"Began resync as Sync{'Source' if machine is source else 'Target'}" in began[machine][0], began
            assert (everything in began[machine][0]) == (how == "full"), began
    assert generations(pair.left) == generations(pair.right)
    pair.compare()


@pytest.mark.feature("Generations: both Primaries crash")
@pytest.mark.parametrize("primaries", [("left",), ("right",), ("left", "right")], ids="+".join)
def test_both_crash(pair, primaries):
    """Both machines die: who was Primary is the source of what may differ; of two, one. Nobody is asked for a split brain."""
    pair.alike(conf.fast(pair.left, pair.right, net="allow-two-primaries;"))
    pair.allow(*LOSS)
    for index, side in enumerate(primaries):
        machine = pair.machine(side)
        machine.drbdadm("primary r0")
        machine.write((8 + 8 * index) * MIB, pattern(side, 2 * MIB))
    for machine in pair.machines:
        machine.power_off()
    for machine in pair.machines:
        machine.boot()
    marks = {machine: machine.log_mark() for machine in pair.machines}
    pair.both("drbdadm up r0")
    pair.synced()
    for machine in pair.machines:
        machine.await_log("Began resync as", marks[machine])
        for index, side in enumerate(primaries):
            same(machine.disk.read((8 + 8 * index) * MIB, 2 * MIB), pattern(side, 2 * MIB))
    if len(primaries) == 1:
        pair.machine(primaries[0]).await_log("Began resync as SyncSource", marks[pair.machine(primaries[0])])
    pair.compare()


@pytest.mark.feature("Generations: one of two Primaries crashes")
def test_survivor_of_two_primaries(pair):
    """One of two Primaries dies: the other one's data win, and the dead one's last writes are sent back to what they were."""
    pair.alike(conf.fast(pair.left, pair.right, net="allow-two-primaries;"))
    pair.allow(*LOSS)
    pair.both("drbdadm primary r0")
    pair.left.write(8 * MIB, pattern("left", MIB))
    pair.right.write(16 * MIB, pattern("right", MIB))
    pair.left.power_off()
    pair.right.await_connection("WFConnection")
    pair.right.write(24 * MIB, pattern("alone", MIB))
    pair.left.boot()
    mark = pair.right.log_mark()
    pair.left.drbdadm("up r0")
    pair.synced()
    pair.right.await_log("Began resync as SyncSource", mark)
    for offset, seed in ((8, "left"), (16, "right"), (24, "alone")):
        same(pair.left.disk.read(offset * MIB, MIB), pattern(seed, MIB))
    pair.compare()
