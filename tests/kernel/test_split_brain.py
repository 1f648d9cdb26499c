"""Both nodes were Primary without each other: who notices, who is told, and whose data stay."""

import pytest

from lab import conf, handlers
from lab.compare import data_area_bytes, same
from lab.machine import pattern

MIB = 1 << 20
BLOCK = 4096
NAMES = ("initial-split-brain", "split-brain", "pri-lost", "pri-lost-after-sb")
# Both write this block; left goes on below it and right above it.
COMMON = 16 * MIB
# A split brain is what these scenarios are about, and a connection that is refused ends.
EXPECTED = (r"[Ss]plit-[Bb]rain|helper command|conn\(|network|peer\(", r"sock was shut down|short read|sock_recvmsg|sendmsg|meta connection shut down",
            r"error receiving|State change failed|state = |wanted = |lost|I shall become|uuid|ASSERT.*UUID|Writing the whole bitmap")


def policies(pair, zero="disconnect", one="disconnect", two="disconnect", extra=""):
    return conf.fast(pair.left, pair.right, extra=handlers.recording(NAMES),
                     net=f"after-sb-0pri {zero}; after-sb-1pri {one}; after-sb-2pri {two}; {extra}")


def area(side, blocks):
    """Where `side` writes its blocks, the common one among them."""
    return (COMMON - (blocks - 1) * BLOCK if side == "left" else COMMON), pattern(side, blocks * BLOCK)


def split(pair, left_blocks=3, right_blocks=2):
    """Left goes on as Primary alone and writes; later right is promoted alone and writes. Both are StandAlone and Primary."""
    pair.alike(policies(pair))
    pair.allow(*EXPECTED)
    handlers.install(pair)
    pair.left.run("drbdadm primary r0 && drbdadm disconnect r0")
    pair.right.run("drbdadm disconnect r0; drbdadm primary r0")
    for side, blocks in (("left", left_blocks), ("right", right_blocks)):
        assert (pair.machine(side).status().cs, pair.machine(side).status().role) == ("StandAlone", "Primary")
        if blocks:
            pair.machine(side).write(*area(side, blocks))


def meet(pair, configuration, primaries=()):
    """The nodes named stay Primary; both connect with the configuration given."""
    pair.configure(configuration)
    for side in ("left", "right"):
        demote = "" if side in primaries else "drbdadm secondary r0 && "
        pair.machine(side).run(f"{demote}drbdadm connect r0")


def won(pair, side, blocks):
    """The data of `side` is on both disks, and nothing else."""
    pair.synced()
    holds(pair.left, side, blocks)
    pair.compare()


def holds(machine, side, blocks):
    """The disk has what `side` wrote, in the surroundings where either wrote."""
    expected = bytearray(32 * BLOCK)
    if blocks:
        offset, data = area(side, blocks)
        start = offset - COMMON + 16 * BLOCK
        expected[start:start + len(data)] = data
    found = machine.disk.read(COMMON - 16 * BLOCK, 32 * BLOCK)
    same(found, bytes(expected), f"{machine.name} ({machine.kind}) has what {side} wrote")


def unsolved(pair, left_blocks=3, right_blocks=2):
    """Both have given up and each has its own data."""
    for machine in pair.machines:
        machine.await_connection("StandAlone")
    both_untouched(pair, left_blocks, right_blocks)


def both_untouched(pair, left_blocks=3, right_blocks=2):
    holds(pair.left, "left", left_blocks)
    holds(pair.right, "right", right_blocks)


def told(pair, *names, sides=("left", "right")):
    """These handlers were called, no others, with the environment that DRBD gives them."""
    for side in sides:
        machine = pair.machine(side)
        for name in names:
            environment = handlers.await_call(machine, name)
            assert environment == handlers.environment_of_device_handler(machine, pair.other(machine)), name
        assert handlers.names(machine) == list(names), f"{machine.name} ({machine.kind})"


ZERO = [
    # policy, blocks written on the left (Primary first) and on the right, whose data stay
    ("disconnect", 3, 2, None),
    ("discard-younger-primary", 2, 5, "left"),
    ("discard-older-primary", 5, 2, "right"),
    ("discard-zero-changes", 0, 2, "right"),
    ("discard-zero-changes", 2, 0, "left"),
    ("discard-zero-changes", 2, 2, None),
    ("discard-least-changes", 3, 2, "left"),
    ("discard-least-changes", 2, 3, "right"),
    ("discard-node-proxmox-105", 3, 2, "right"),
    ("discard-node-proxmox-106", 2, 3, "left"),
]


@pytest.mark.feature("Split brain: after-sb-0pri")
@pytest.mark.parametrize("policy, left_blocks, right_blocks, winner", ZERO)
def test_without_primary(pair, policy, left_blocks, right_blocks, winner):
    split(pair, left_blocks, right_blocks)
    meet(pair, policies(pair, zero=policy))
    if winner is None:
        unsolved(pair, left_blocks, right_blocks)
        told(pair, "initial-split-brain", "split-brain")
    else:
        won(pair, winner, left_blocks if winner == "left" else right_blocks)
        told(pair, "initial-split-brain")


ONE = [
    # after-sb-1pri, after-sb-0pri, the Primary (left was it first), whose data stay
    ("disconnect", "discard-younger-primary", "left", None),
    ("consensus", "discard-younger-primary", "left", "left"),
    ("consensus", "discard-older-primary", "left", None),
    ("consensus", "discard-older-primary", "right", "right"),
    ("discard-secondary", "disconnect", "left", "left"),
    ("discard-secondary", "disconnect", "right", "right"),
    ("violently-as0p", "discard-least-changes", "left", "left"),
    ("violently-as0p", "discard-younger-primary", "right", "left"),
    ("call-pri-lost-after-sb", "discard-younger-primary", "left", "left"),
]


@pytest.mark.feature("Split brain: after-sb-1pri")
@pytest.mark.parametrize("policy, zero, primary, winner", ONE)
def test_with_one_primary(pair, policy, zero, primary, winner):
    split(pair)
    meet(pair, policies(pair, zero=zero, one=policy, extra="rr-conflict violently;"), primaries=(primary,))
    if winner is None:
        unsolved(pair)
        told(pair, "initial-split-brain", "split-brain")
    else:
        won(pair, winner, {"left": 3, "right": 2}[winner])
        told(pair, "initial-split-brain")
    assert pair.machine(primary).status().role == "Primary"


@pytest.mark.feature("Split brain: handler pri-lost-after-sb")
def test_primary_that_loses_and_cannot_step_down(pair):
    """call-pri-lost-after-sb: the handler is to take the machine out; the connection is given up."""
    split(pair)
    meet(pair, policies(pair, zero="discard-older-primary", one="call-pri-lost-after-sb"), primaries=("left",))
    pair.left.await_connection("StandAlone")
    both_untouched(pair)
    told(pair, "initial-split-brain", "pri-lost-after-sb", "split-brain", sides=("left",))
    told(pair, "initial-split-brain", sides=("right",))


@pytest.mark.feature("Split brain: rr-conflict, handler pri-lost")
@pytest.mark.parametrize("conflict, primary", [("disconnect", "left"), ("call-pri-lost", "right")])
def test_primary_would_be_overwritten(pair, conflict, primary):
    """after-sb policies say that the Primary loses, and rr-conflict says that it may not."""
    zero = {"left": "discard-older-primary", "right": "discard-younger-primary"}[primary]
    split(pair)
    meet(pair, policies(pair, zero=zero, one="violently-as0p", extra=f"rr-conflict {conflict};"), primaries=(primary,))
    pair.machine(primary).await_connection("StandAlone")
    both_untouched(pair)
    told(pair, *["initial-split-brain"] + ["pri-lost"] * (conflict == "call-pri-lost"), sides=(primary,))
    told(pair, "initial-split-brain", sides=({"left": "right", "right": "left"}[primary],))


TWO = [
    # after-sb-2pri, after-sb-0pri, rr-conflict, whose data stay, what the right one is told after initial-split-brain
    ("disconnect", "discard-younger-primary", "violently", None, ["split-brain"]),
    ("violently-as0p", "discard-younger-primary", "violently", "left", []),
    ("violently-as0p", "discard-younger-primary", "call-pri-lost", None, ["pri-lost"]),
    ("call-pri-lost-after-sb", "discard-younger-primary", "violently", None, ["pri-lost-after-sb", "split-brain"]),
]


@pytest.mark.feature("Split brain: after-sb-2pri")
@pytest.mark.parametrize("policy, zero, conflict, winner, more", TWO)
def test_with_two_primaries(pair, policy, zero, conflict, winner, more):
    split(pair)
    meet(pair, policies(pair, zero=zero, two=policy, extra=f"allow-two-primaries; rr-conflict {conflict};"), primaries=("left", "right"))
    if winner:
        won(pair, winner, 3)
    else:
        pair.right.await_connection("StandAlone")
        both_untouched(pair)
    told(pair, "initial-split-brain", *more, sides=("right",))
    told(pair, "initial-split-brain", *["split-brain"] * (policy == "disconnect"), sides=("left",))
    assert all(machine.status().role == "Primary" for machine in pair.machines)


@pytest.mark.feature("Split brain: always-asbp")
@pytest.mark.parametrize("always", ["always-asbp;", ""])
def test_generations_in_between(pair, always):
    """Left has gone through one more generation alone: only always-asbp applies the policies, and then everything is sent."""
    split(pair)
    pair.left.run("drbdadm secondary r0 && drbdadm new-current-uuid r0")
    mark = pair.left.log_mark()
    meet(pair, policies(pair, zero="discard-younger-primary", extra=always))
    if always:
        won(pair, "left", 3)
        told(pair, "initial-split-brain")
        size_kib = data_area_bytes(pair.left.backing_file) // 1024
        assert int(pair.left.await_log(r"Began resync as SyncSource \(will sync (\d+) KB", mark)[1]) == size_kib
    else:
        unsolved(pair)
        told(pair, "initial-split-brain", "split-brain")


@pytest.mark.feature("Split brain: discard-my-data")
@pytest.mark.parametrize("victim, spelling", [("left", "-- --discard-my-data connect r0"), ("right", "connect --discard-my-data r0")])
def test_discard_my_data(pair, victim, spelling):
    """The documented way out: the node whose changes go says so, the other one stays Primary."""
    survivor = {"left": "right", "right": "left"}[victim]
    split(pair)
    meet(pair, policies(pair), primaries=(survivor,))
    unsolved(pair)
    told(pair, "initial-split-brain", "split-brain")
    pair.machine(victim).drbdadm(spelling)
    pair.machine(survivor).drbdadm("connect r0")
    won(pair, survivor, {"left": 3, "right": 2}[survivor])
    assert pair.machine(survivor).status().role == "Primary"


@pytest.mark.feature("Split brain: discard-my-data")
def test_both_would_discard(pair):
    """Nobody's data would stay: neither gives in."""
    split(pair)
    pair.left.run("drbdadm secondary r0 && drbdadm connect --discard-my-data r0")
    pair.right.run("drbdadm secondary r0 && drbdadm connect --discard-my-data r0")
    unsolved(pair)


@pytest.mark.feature("Split brain: discard-my-data")
def test_primary_may_not_discard(pair):
    split(pair)
    for machine in pair.machines:
        refused = machine.drbdadm("connect --discard-my-data r0", check=False)
        assert refused.status == 10 and "discard-my-data not allowed when primary" in refused.output, refused.output
    both_untouched(pair)
