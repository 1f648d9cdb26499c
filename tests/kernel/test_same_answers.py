"""The same words to the kernel's DRBD and to Duplex: the same output and exit status, step by step."""

import re

import pytest

from lab.pair import Pair

pytestmark = pytest.mark.feature("Tools: output and exit status of drbdsetup", arrangement="duplex-kernel")

# Typed one after the other on both machines. {me} and {peer} are their addresses; what is typed in one
# part is typed while both are in the same state.
USAGE = """
frob
primary
primary all
primary x
primary 0 1
primary --foo 0
primary 0 --force=maybe
primary -o 0
primary 0 extra
0 primary extra
attach 0
attach 0 /dev/sdb1
attach 0 /dev/sdb1 /dev/sdb1
attach 0 /nonexistent /dev/sdb1 internal
attach 0 /etc/passwd /dev/sdb1 internal
attach 0 /dev/null /dev/sdb1 internal
attach 0 /dev/sdb1 /dev/sdb1 internal --on-io-error=explode
attach 0 /dev/sdb1 /dev/sdb1 internal --resync-rate=1x
attach 0 /dev/sdb1 /dev/sdb1 internal --disk-flushes=perhaps
attach 0 /dev/sdb1 /dev/sdb1 internal --size
connect
connect r0
connect r0 {me}
connect r0 {me} {peer}
connect r0 {me} badhost.invalid
connect r0 {me} {peer} --protocol=D
connect r0 {me} {peer} --timeout=
net-options {me}
disconnect {me} {peer}
new-minor r0
new-minor r0 0
new-minor r0 0 0 0
new-minor r0 1048577 0
new-resource
del-resource r9
resource-options r0
down
down r9
status r9
status --color=blue
status all
status
show
show r9
show 0
show all
show /dev/drbd0
show-gi 0
get-gi 0
role 0
state 0
cstate 0
dstate 0
sh-status
sh-status 0
sh-status r9
events2 --now
events2 r9 --now
events2 --now --foo
check-resize 0
wait-connect 0
wait-sync 0
wait-connect 0 --wfc-timeout=300001
wait-connect 0 --wfc-timeout=x
wait-connect 0 --wait-after-sb=maybe
wait-connect r0
verify 0
verify 0 --start=x
resize 0
new-current-uuid 0
outdate 0
suspend-io 0
resume-io 0
pause-sync 0
invalidate 0
invalidate-remote 0
detach 0
detach 0 --force
disk-options 0
disk-options 0 --size=1G
secondary 0
del-minor 0
help
help primary
help connect
help disconnect
help verify
help nosuch
xml-help attach
xml-help connect
xml-help events2
xml-help status
xml-help show
xml-help wait-connect
xml-help new-minor
xml-help resize
xml-help verify
xml-help disk-options
xml-help wait-sync
xml-help new-resource
xml-help
xml-help nosuch
primary --help
status --help
events2 --help
"""

WITHOUT_VOLUME = """
new-resource a/b
new-resource ""
new-resource r0
new-resource r0
show
show r0
status
status r0
status r0 --color=always
status --verbose r0
status r0 --verbose --statistics
sh-status r0
events2 --now
events2 r0 --now --statistics
resource-options r0 --cpu-mask=3
show
resource-options r0 --cpu-mask=zz
resource-options r0 --on-no-data-accessible=suspend-io
show r0
resource-options r0 --set-defaults
show --show-defaults
del-resource r0
status
new-resource r0
"""

WITHOUT_DISK = """
new-minor r0 0 0
new-minor r0 0 0
new-minor r0 0 1
new-minor r0 1 0
new-resource r1
new-minor r1 0 0
new-minor r1 0 1
del-resource r1
new-minor r9 0 0
new-minor r0 x 0
new-minor r0 1 x
new-minor r0 1 70000
show
show 0
status r0
status r0 --color=always
status r0 --verbose
status r0 --verbose --color=always
status r0 --verbose --statistics
sh-status 0
sh-status r0
sh-status
events2 --now
events2 r0 --now --statistics
role 0
cstate 0
dstate 0
show-gi 0
get-gi 0
check-resize 0
wait-connect 0
primary 0
primary 0 --force
secondary 0
detach 0
invalidate 0
invalidate-remote 0
outdate 0
new-current-uuid 0
disk-options 0 --al-extents=300
del-resource r0
"""

ATTACHED = """
attach 0 /dev/sdb1 /dev/sdb1 flexible
attach 0 /dev/sdb1 /dev/sdb1 nonsense
attach 0 /dev/sdb1 /dev/sdb1 flex-external
attach 0 /dev/sdb1 /dev/sdb1 internal --size=100G
attach 0 /dev/sdb1 /dev/sdb1 internal --resync-after=7
attach /dev/drbd0 /dev/sdb1 /dev/sdb1 internal --al-extents=257 --resync-rate=4M
attach 0 /dev/sdb1 /dev/sdb1 internal
show
show --show-defaults
show 0
status r0
status r0 --color=always
status r0 --verbose
status r0 --verbose --color=always
status r0 --verbose --statistics
sh-status 0
events2 r0 --now --statistics
events2 r0 --now
role 0
cstate 0
dstate 0
check-resize 0
disk-options 0 --on-io-error=pass_on
disk-options 0 --size=1M
disk-options 0 --resync-after=9
disk-options 0 --resync-after=0
show 0
disk-options 0 --set-defaults
show 0
primary 0
del-minor 0
del-resource r0
pause-sync 0
pause-sync 0
status r0
status r0 --color=always
sh-status 0
resume-sync 0
resume-sync 0
suspend-io 0
status r0
status r0 --color=always
sh-status 0
events2 r0 --now
resume-io 0
outdate 0
invalidate 0
invalidate-remote 0
disconnect {me} {peer}
net-options {me} {peer} --ping-int=5
wait-connect 0
wait-sync 0
"""

CONNECTING = """
connect r0 {me} {peer} --cram-hmac-alg=nosuch
connect r0 {me} {peer} --verify-alg=nosuch
connect r0 {me} {peer} --csums-alg=nosuch
connect r0 {me} {peer} --data-integrity-alg=nosuch
connect r0 {me} {peer} --protocol=A --allow-two-primaries
connect r0 {me} {peer} --on-congestion=pull-ahead
connect r9 {me} {peer}
connect r0 {me} {peer} --alternate-address={me} --alternate-peer-address={peer}
disconnect {me} {peer}
connect r0 {me} ipv4:10.0.7.99:7788 --ping-int=7 --cram-hmac-alg=sha1 --shared-secret=a\\"b
connect r0 {me} ipv4:10.0.7.98:7788
connect r0 ipv4:10.0.7.96:7788 ipv4:10.0.7.99:7788
connect r0 ipv4:10.0.7.96:7788 ipv4:10.0.7.98:7788
new-resource r1
connect r1 {me} ipv4:10.0.7.98:7788
connect r1 {me} ipv4:10.0.7.99:7788
connect r1 ipv4:10.0.7.96:7788 ipv4:10.0.7.99:7788
connect r1 ipv4:10.0.7.96:7788 ipv4:10.0.7.98:7788
show r0
status
disconnect ipv4:10.0.7.96:7788 ipv4:10.0.7.98:7788
down r1
show
show --show-defaults r0
disconnect {me} ipv4:10.0.7.97:7788
net-options {me} ipv4:10.0.7.99:7788 --ping-int=8
net-options {me} ipv4:10.0.7.99:7788 --verify-alg=nosuch
net-options {me} ipv4:10.0.7.99:7788 --protocol=A
show r0
net-options {me} ipv4:10.0.7.99:7788 --set-defaults
show r0
disconnect {me} ipv4:10.0.7.99:7788
disconnect {me} ipv4:10.0.7.99:7788
"""

CONNECTED = """
status
status r0 --verbose
status r0 --verbose --color=always
status r0 --verbose --statistics
sh-status 0
events2 r0 --now --statistics
events2 r0 --now
show r0
cstate 0
dstate 0
role 0
primary 0
secondary 0
outdate 0
invalidate 0
detach 0 --force=no
new-current-uuid 0
resize 0
resize 0 --size=10M
resize 0 --assume-clean
verify 0
verify 0 --start=8 --stop=16
del-minor 0
del-resource r0
attach 0 /dev/sdb1 /dev/sdb1 internal
"""

PRIMARY = """
status r0
status r0 --color=always
status r0 --verbose
status r0 --verbose --color=always
role 0
sh-status 0
events2 r0 --now
primary 0
outdate 0
verify 0
verify 0 --start=0 --stop=8
resize 0
resize 0 --assume-clean
resize 0 --assume-peer-has-space
resize 0 --size=1G
resize 0 --size=1G --assume-peer-has-space
resize 0 --al-stripe-size-kB=3
suspend-io 0
status r0
status r0 --color=always
events2 r0 --now
sh-status 0
resume-io 0
pause-sync 0
status r0
status r0 --color=always
status r0 --verbose
events2 r0 --now
sh-status 0
resume-sync 0
new-current-uuid 0
new-current-uuid 0 --clear-bitmap
attach 0 /dev/sdb1 /dev/sdb1 internal
connect r0 {me} {peer} --discard-my-data
disk-options 0 --resync-rate=2M
disk-options 0 --fencing=resource-and-stonith
net-options {me} {peer} --protocol=A
disk-options 0 --fencing=dont-care
show r0
net-options {me} {peer} --allow-two-primaries
net-options {me} {peer} --allow-two-primaries=no
net-options {me} {peer} --verify-alg=nosuch
net-options {me} {peer} --cram-hmac-alg=md5
net-options {me} {peer} --on-congestion=pull-ahead
show r0
del-minor 0
del-resource r0
down r0 --foo
detach 0
status r0
status r0 --color=always
status r0 --verbose
dstate 0
sh-status 0
get-gi 0
show-gi 0
show r0
attach /dev/drbd0 /dev/sdb1 /dev/sdb1 internal
disconnect {me} {peer}
status r0
status r0 --color=always
status r0 --verbose
sh-status 0
events2 r0 --now
resize 0 --size=1G
verify 0 --start=8
detach 0
outdate 0
invalidate 0
invalidate-remote 0
show r0
wait-connect 0
cstate 0
dstate 0
role 0
resize 0
verify 0 --start=8
"""

DOWN = """
down r0
down r0
status
show
del-resource r0
"""


def answer(pair, machine, line):
    """Exit status, stdout and stderr, which a program may write in any order."""
    words = line.format(me=f"ipv4:{machine.address}:7788", peer=f"ipv4:{pair.other(machine).address}:7788")
    outcome = machine.run(f"drbdsetup {words} 2>/run/errors; status=$?; printf '\\035'; cat /run/errors; exit $status", check=False)
    output, errors = normal(pair, machine, outcome.output).split("\035")
    return outcome.status, output, errors


def same_words(pair, lines, differences):
    """Types each line on both machines and collects where the answers differ."""
    for line in lines.strip().splitlines():
        collect(pair, lines, line, [answer(pair, machine, line) for machine in pair.machines], differences)


def as_primary(pair, lines, differences):
    """Each machine in turn is the Primary and is typed the lines; the answers are compared line by line."""
    pair.up()
    pair.connected()
    pair.left.drbdadm("-- --overwrite-data-of-peer primary r0")
    pair.synced()
    pair.left.drbdadm("secondary r0")
    answers = []
    for machine in pair.machines:
        machine.drbdadm("primary r0")
        answers.append([answer(pair, machine, line) for line in lines.strip().splitlines()])
        machine.drbdadm("adjust r0")
        pair.synced()
        machine.drbdadm("secondary r0")
    for line, *both_answers in zip(lines.strip().splitlines(), *answers):
        collect(pair, lines, line, both_answers, differences)


def collect(pair, lines, line, answers, differences):
    reason = DELIBERATE.get((lines, line))
    if reason is not None and answers[0] == answers[1]:
        differences.append(f"== {line}\n--- is answered the same, although: {reason}\n")
    if reason is None and answers[0] != answers[1]:
        differences.append(f"== {line}\n" + "".join(
            f"--- {machine.kind}: {each[0]}\n{each[1]}[stderr]\n{each[2]}" for machine, each in zip(pair.machines, answers)))


JSON = "status has --json"
OPTIONS_SHOWN = "the options of a resource without volumes are shown, too"
WHY = "says which, or why"
COLUMNS = "colours take no columns, so that lines break as they do without"
NO_DISK = "where there is no disk to verify, this is said"

# Answers that are better than the kernel's, or that Duplex cannot have, and why.
DELIBERATE = {
    (USAGE, "attach 0 /etc/passwd /dev/sdb1 internal"): "a file will do as a disk, so what is wrong comes later",
    (USAGE, "wait-connect 0 --wait-after-sb=maybe"): "a word that is neither yes nor no is refused",
    (USAGE, "xml-help status"): JSON,
    (USAGE, "status --help"): JSON,
    (USAGE, "xml-help verify"): "verify without --stop ends at the end of the device, not at 0",
    (WITHOUT_VOLUME, "resource-options r0 --cpu-mask=zz"): "only a kernel for several processors looks at the mask; it refuses this, too",
    (WITHOUT_VOLUME, "show"): OPTIONS_SHOWN,
    (WITHOUT_VOLUME, "show r0"): OPTIONS_SHOWN,
    (WITHOUT_VOLUME, "show --show-defaults"): OPTIONS_SHOWN,
    (WITHOUT_DISK, "check-resize 0"): "where nothing can be remembered, this is said",
    (WITHOUT_DISK, "new-minor r0 1 0"): WHY,
    (WITHOUT_DISK, "new-minor r1 0 0"): WHY,
    (WITHOUT_DISK, "new-minor r1 0 1"): WHY,
    (ATTACHED, "attach 0 /dev/sdb1 /dev/sdb1 internal --size=100G"): WHY,
    (PRIMARY, "attach /dev/drbd0 /dev/sdb1 /dev/sdb1 internal"): WHY,
    (CONNECTED, "status r0 --verbose --color=always"): COLUMNS,
    (PRIMARY, "status r0 --verbose --color=always"): COLUMNS,
    (CONNECTED, "verify 0"): NO_DISK,
    (CONNECTED, "verify 0 --start=8 --stop=16"): NO_DISK,
    (PRIMARY, "verify 0 --start=8"): NO_DISK,
    (PRIMARY, "resize 0 --al-stripe-size-kB=3"): "what is out of range is refused, and the range said",
    (CONNECTED, "invalidate 0"): "where no node has good data, there is nothing to be had from the peer",
}


def normal(pair, machine, text):
    """Addresses by their part in the pair; what a run cannot have twice the same is taken out."""
    text = text.replace(machine.address, "ME").replace(pair.other(machine).address, "PEER")
    return re.sub(r"\b[0-9A-F]{16}\b", "UUID", text)


@pytest.fixture(scope="module")
def machines():
    """One of each; which of them is left does not matter here."""
    pair = Pair("duplex", "kernel")
    yield pair
    pair.close()


@pytest.fixture
def ready(pair):
    pair.fresh()
    pair.create_md()
    pair.allow(".*")  # it is full of mistakes on purpose
    return pair


def both(pair, words):
    for machine in pair.machines:
        machine.drbdsetup(words.format(me=f"ipv4:{machine.address}:7788", peer=f"ipv4:{pair.other(machine).address}:7788"))


def test_same_answers(ready):
    pair = ready
    differences = []
    try:
        for part in (USAGE, WITHOUT_VOLUME, WITHOUT_DISK, ATTACHED, CONNECTING):
            same_words(pair, part, differences)
        both(pair, "connect r0 {me} {peer} --verify-alg=crc32c")
        pair.connected()
        same_words(pair, CONNECTED, differences)
        both(pair, "down r0")
        same_words(pair, DOWN, differences)
    finally:
        print("\n".join(differences))
        # An attach whose meta data cannot be opened leaves the kernel's disk busy for good.
        for machine in pair.machines:
            machine.power_off()
    assert not differences, f"{len(differences)} differ"


def test_same_answers_of_a_primary(ready):
    differences = []
    try:
        as_primary(ready, PRIMARY, differences)
    finally:
        print("\n".join(differences))
    assert not differences, f"{len(differences)} differ"
