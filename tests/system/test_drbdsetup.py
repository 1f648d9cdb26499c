"""drbdsetup against real processes: what it prints, its exit statuses, and when it returns."""

import os
import re
import time

import pytest

from lab import conf
from lab.process import await_until

REAL_DRBDADM = "/usr/lib/drbd/drbdadm-84"


def gives(machine, arguments, status, output):
    outcome = machine.drbdsetup(arguments, check=False)
    assert (outcome.status, outcome.output) == (status, output), arguments


def running(machine):
    """Its duplexd processes, without those that have ended and that nobody has asked about."""
    return [int(pid) for pid in machine.run("pgrep -x -r D,R,S,T duplexd", check=False).output.split()]


def both_ends(machine, other):
    return f"{machine.address} ipv4:{other.address}:7788"


@pytest.fixture
def blank(pair):
    """Meta data on both disks, nothing up."""
    pair.fresh()
    pair.create_md()
    return pair


@pytest.fixture
def connected(blank):
    for machine in blank.machines:
        machine.drbdsetup("new-resource r0")
        machine.drbdsetup("new-minor r0 0 0")
        machine.drbdsetup("attach 0 /dev/sdb1 /dev/sdb1 internal")
        machine.drbdsetup(f"connect r0 {both_ends(machine, blank.other(machine))}")
    for machine in blank.machines:
        machine.drbdsetup("wait-connect 0 --wfc-timeout=20 --degr-wfc-timeout=20 --outdated-wfc-timeout=20")
    return blank


def test_nothing_there(blank):
    node = blank.left
    not_allocated = "0: Failure: (127) Device minor not allocated\nadditional info from kernel:\nunknown minor\n"
    for command in ("role 0", "cstate 0", "dstate 0", "get-gi 0", "show 0", "check-resize 0", "primary 0", "del-minor 0"):
        gives(node, command, 10, not_allocated)
    unknown = "(158) Unknown resource\nadditional info from kernel:\nunknown resource\n"
    gives(node, "del-resource r0", 10, f"r0: Failure: {unknown}")
    gives(node, "new-minor r0 0 0", 10, f"??: Failure: {unknown}")
    gives(node, "new-resource a/b", 10,
          "a/b: Failure: (162) Invalid configuration request\nadditional info from kernel:\ninvalid resource name\n")
    gives(node, "new-resource ''", 1, "Resource name is empty.\n")
    gives(node, "show r0", 20, "received netlink error reply: No such device\n")
    gives(node, "status r0", 10, "r0: No such resource\n")
    gives(node, "sh-status r0", 19, "")
    gives(node, "wait-connect 0", 20, "error determining which timeout to use: minor not available\n")
    gives(node, "disconnect 10.0.0.1 10.0.0.2", 10,
            "??: Failure: (162) Invalid configuration request\nadditional info from kernel:\nunknown connection\n")
    for command in ("down r0", "show", "status", "status all", "sh-status"):
        gives(node, command, 0, "")
    gives(node, "events2 --now", 0, "exists -\n")
    assert node.drbdsetup("sh-status 0").output.startswith(
        "_minor=0\n_res_name=\n_volume=-1\n_known=NA # not available or not yet created\n\n_cstate=Unconfigured\n_role=\n")


def test_life_of_a_resource(blank):
    node = blank.left
    node.drbdsetup("new-resource r0 --on-no-data-accessible=suspend-io")
    assert len(running(node)) == 1
    node.drbdsetup("new-resource r0")
    assert len(running(node)) == 1
    node.drbdsetup("new-minor r0 0 0")
    node.run("test -b /dev/drbd0")
    node.drbdsetup("new-minor r0 0 0")
    gives(node, "new-minor r0 0 1", 10, "??: Failure: (162) Invalid configuration request\n"
            "additional info from kernel:\nminor exists as different volume\n")
    gives(node, "role 0", 0, "Unconfigured\n")
    gives(node, "get-gi 0", 1, "Device is unconfigured\n")
    gives(node, "check-resize 0", 1, "Has no disk config, try with drbdmeta.\n")
    node.drbdsetup("attach /dev/drbd0 /dev/sdb1 /dev/sdb1 internal --al-extents=257")
    gives(node, "attach 0 /dev/sdb1 /dev/sdb1 internal", 10,
            "0: Failure: (124) Device is attached to a disk (use detach first)\n")
    gives(node, "dstate 0", 0, "Inconsistent/DUnknown\n")
    gives(node, "show", 0, """resource r0 {
    options {
        on-no-data-accessible	suspend-io;
    }
    _this_host {
        volume 0 {
            device			minor 0;
            disk			"/dev/sdb1";
            meta-disk			internal;
            disk {
                al-extents      	257;
            }
        }
    }
}
""")
    node.drbdsetup("check-resize 0")
    assert node.run("cat /var/lib/drbd/drbd-minor-0.lkbd").output == f"{node.disk.size_bytes}\t/dev/sdb1\n"
    gives(node, "del-minor 0", 10, "0: Failure: (160) Minor still configured (down it first)\n")
    gives(node, "del-resource r0", 10, "r0: Failure: (159) Resource still in use (delete all minors first)\n")
    node.drbdsetup("detach 0")
    node.drbdsetup("del-minor 0")
    node.run("test ! -e /dev/drbd0")
    node.drbdsetup("del-resource r0")
    assert running(node) == []
    gives(node, "show", 0, "")


def test_failed_start_says_why(blank):
    node = blank.left
    node.write_file("/etc/duplex.conf", "nonsense yes\n")
    try:
        outcome = node.drbdsetup("new-resource r0", check=False)
        assert outcome.status == 20
        assert "/etc/duplex.conf" in outcome.output and "nonsense" in outcome.output
        assert running(node) == []
    finally:
        node.run("rm /etc/duplex.conf")


def test_two_nodes(connected):
    left, right = connected.machines
    gives(left, "primary 0", 17, "0: State change failed: (-2) Need access to UpToDate data\n")
    left.drbdsetup("primary 0 --force")
    for machine in connected.machines:
        machine.drbdsetup("wait-sync 0 --wfc-timeout=30 --degr-wfc-timeout=30 --outdated-wfc-timeout=30")
    # wait-sync ends at once on a node that is Connected still; the sync begins a moment later.
    connected.synced()
    gives(left, "status r0", 0, "r0 role:Primary\n  disk:UpToDate\n  peer role:Secondary\n"
            "    replication:Established peer-disk:UpToDate\n\n")
    gives(right, "role 0", 0, "Secondary/Primary\n")
    left.drbdsetup("pause-sync 0")
    gives(left, "pause-sync 0", 10, "0: Failure: (134) Sync-pause flag is already set\n")
    left.drbdsetup("resume-sync 0")
    left.drbdsetup(f"net-options {both_ends(left, right)} --ping-int=5")
    assert "ping-int        \t5; # seconds\n" in left.drbdsetup("show r0").output
    left.drbdsetup(f"net-options {both_ends(left, right)} --set-defaults")
    assert "ping-int" not in left.drbdsetup("show r0").output
    gives(left, "verify 0", 11, "0: State change failed: (-14) Need a verify algorithm to start online verify\n")
    left.drbdsetup("resize 0")
    right.drbdsetup(f"disconnect {both_ends(right, left)}")
    gives(right, "cstate 0", 0, "StandAlone\n")
    left.drbdsetup("secondary 0")
    for machine in connected.machines:
        machine.drbdsetup("down r0")
        assert running(machine) == []
        machine.drbdsetup("down r0")


def test_waiting(blank):
    node, other = blank.machines
    node.drbdsetup("new-resource r0")
    node.drbdsetup("new-minor r0 0 0")
    node.drbdsetup("attach 0 /dev/sdb1 /dev/sdb1 internal")
    gives(node, "wait-connect 0", 0, "")  # StandAlone: there is nothing to wait for
    begin = time.monotonic()
    gives(node, "wait-connect 0 --wait-after-sb --wfc-timeout=1 --degr-wfc-timeout=1 --outdated-wfc-timeout=1", 5,
            "\ndrbd0 (r0[0]) is StandAlone, but I'm configured to wait anways (--wait-after-sb)\n")
    assert 1 <= time.monotonic() - begin < 10
    node.drbdsetup(f"connect r0 {both_ends(node, other)}")
    gives(node, "wait-connect /dev/drbd0 --wfc-timeout=1 --degr-wfc-timeout=1 --outdated-wfc-timeout=1", 5, "")
    gives(node, "wait-sync 0 --wfc-timeout=1", 5,
            "degr-wfc-timeout has to be shorter than wfc-timeout\ndegr-wfc-timeout implicitly set to wfc-timeout (1s)\n"
            "outdated-wfc-timeout has to be shorter than degr-wfc-timeout\n"
            "outdated-wfc-timeout implicitly set to degr-wfc-timeout (1s)\n")
    waiting = node.start("drbdsetup wait-connect 0")
    other.drbdsetup("new-resource r0")
    other.drbdsetup("new-minor r0 0 0")
    other.drbdsetup("attach 0 /dev/sdb1 /dev/sdb1 internal")
    assert waiting.poll() is None
    other.drbdsetup(f"connect r0 {both_ends(other, node)}")
    assert waiting.communicate(timeout=30)[0] == b"" and waiting.returncode == 0


def test_degraded_node_waits_its_own_time(pair):
    """A Primary that lost its peer and then its power: degr-wfc-timeout, not wfc-timeout."""
    pair.mirrored()
    pair.right.power_off()
    pair.left.await_status("peer gone", lambda s: s.peer_role == "Unknown")
    pair.left.write(0, b"\0" * 4096)
    pair.left.power_off()
    pair.left.boot()
    pair.left.drbdadm("up r0")
    begin = time.monotonic()
    gives(pair.left, "wait-connect 0 --wfc-timeout=60 --degr-wfc-timeout=1 --outdated-wfc-timeout=1", 5, "")
    assert time.monotonic() - begin < 30


def test_a_peer_known_as_outdated_is_waited_for_its_own_time(pair):
    """It left in good order, so nothing is lost by going on without it: outdated-wfc-timeout."""
    primary, secondary = pair.mirrored(configuration=conf.fast(pair.left, pair.right, disk="fencing resource-only;"))
    secondary.drbdadm("disconnect r0")
    primary.await_status("the peer is known as Outdated", lambda s: s.peer_disk == "Outdated")
    begin = time.monotonic()
    gives(primary, "wait-connect 0 --wfc-timeout=60 --degr-wfc-timeout=60 --outdated-wfc-timeout=1", 5, "")
    assert time.monotonic() - begin < 30


def lines_of(process):
    return iter(lambda: process.stdout.readline().decode(), "")


def until(lines, pattern):
    seen = []
    for line in lines:
        seen.append(line)
        if re.search(pattern, line):
            return seen
    raise AssertionError(f"no /{pattern}/ in\n{''.join(seen)}")


def test_events(blank):
    node, other = blank.machines
    everything = node.start("drbdsetup events2")
    lines = lines_of(everything)
    try:
        assert next(lines) == "exists -\n"
        node.drbdsetup("new-resource r0")
        assert "create resource name:r0 role:Secondary suspended:no\n" in until(lines, "create connection")
        node.drbdsetup("new-minor r0 0 0")
        assert "create device name:r0 volume:0 minor:0 disk:Diskless\n" in until(lines, "create peer-device")
        old = node.start("drbdsetup events 0")
        old_lines = lines_of(old)
        assert re.fullmatch(r"\d+ ST 0,r0\[0\] \{ cs:StandAlone ro:Secondary/Unknown ds:Diskless/DUnknown r--- \}\n", next(old_lines))
        node.drbdsetup("attach 0 /dev/sdb1 /dev/sdb1 internal")
        until(lines, "^change device name:r0 volume:0 minor:0 disk:Inconsistent$")
        until(old_lines, r"ST-new .* ds:Inconsistent/DUnknown")
        node.drbdsetup(f"connect r0 {both_ends(node, other)}")
        until(lines, "^change connection name:r0 peer-node-id:0 conn-name:peer connection:Connecting$")
        now = node.drbdsetup("events2 r0 --now --timestamps").output.splitlines()
        assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d exists ", line) for line in now)
        assert [line.split()[2] for line in now] == ["resource", "connection", "device", "peer-device", "-"]
        gives(node, "events2 other --now", 0, "exists -\n")
        node.drbdsetup("down r0")
        assert "destroy device name:r0 volume:0 minor:0\n" in until(lines, "^destroy resource name:r0$")
        node.drbdsetup("new-resource r0")
        until(lines, "^create resource name:r0 ")
    finally:
        # Both end when nobody reads any more.
        everything.stdout.close()
        old.stdout.close()
    for process in (everything, old):
        assert process.wait(timeout=10) == 0


PAUSES = """
import json, socket, sys
process = socket.socket(socket.AF_UNIX)
process.connect("/run/duplex/r0.sock")
lines = process.makefile("r")
for number in range(2 * int(sys.argv[1])):
    command = "resume-sync" if number % 2 else "pause-sync"
    process.sendall(json.dumps({"command": command, "minor": 0}).encode() + b"\\n")
    assert json.loads(lines.readline())["reply"]["code"] < 102
"""


def test_no_event_is_lost_on_a_slow_reader(connected):
    """Every change of a flag is an event of its own, however many come and however late they are read."""
    node = connected.left
    follower = node.start("exec drbdsetup events2 r0")
    lines = lines_of(follower)
    try:
        until(lines, "^exists -$")
        changes = 2000
        node.run(f"/usr/bin/python3 -c '{PAUSES}' {changes}", limit_s=300)
        node.drbdsetup(f"disconnect {both_ends(node, connected.other(node))}")
        seen = until(lines, "connection:StandAlone")
    finally:
        follower.stdout.close()
    assert not [line for line in seen if "skipped" in line]
    words = [word for line in seen for word in line.split() if word.startswith("resync-suspended:")]
    assert words[:2 * changes] == ["resync-suspended:user", "resync-suspended:no"] * changes
    assert follower.wait(timeout=10) == 0


def test_dead_process(connected):
    """What remains of a killed process is told apart from a resource that was never there, and does not stand in the way."""
    node = connected.left
    node.run(f"kill -9 {running(node)[0]}")
    await_until(lambda: not running(node), "it is gone")
    outcome = node.drbdsetup("status r0", check=False)
    assert outcome.status == 10 and "the process of resource r0 has died" in outcome.output
    assert node.drbdsetup("sh-status r0", check=False).status == 19
    gives(node, "cstate 0", 10, "0: Failure: (127) Device minor not allocated\nadditional info from kernel:\nunknown minor\n")
    node.drbdsetup("new-resource r0")
    node.drbdsetup("new-minor r0 0 0")
    node.run("drbdmeta 0 v08 /dev/sdb1 internal apply-al")
    node.drbdsetup("attach 0 /dev/sdb1 /dev/sdb1 internal")
    node.drbdsetup("down r0")
    gives(node, "status", 0, "")


def test_down_clears_away_a_dead_process(connected):
    node = connected.left
    node.run(f"kill -9 {running(node)[0]}")
    await_until(lambda: not running(node), "it is gone")
    assert "has died" in node.drbdsetup("status").output
    gives(node, "down r0", 0, "")
    gives(node, "status", 0, "")


def test_hanging_process_is_named(connected):
    node = connected.left
    pid = running(node)[0]
    node.run(f"kill -STOP {pid}")
    try:
        outcome = node.drbdsetup("cstate 0", check=False)
        assert (outcome.status, outcome.output) == (20, "the process of resource r0 does not answer\n")
        gives(node, "wait-connect 0", 20, "the process of resource r0 does not answer\n")
        gives(node, "events2 --now", 0, "the process of resource r0 does not answer\nexists -\n")
    finally:
        node.run(f"kill -CONT {pid}")
    assert node.drbdsetup("cstate 0").status == 0


@pytest.fixture
def driven(pair):
    """DRBD's drbdadm calls our drbdsetup and drbdmeta; it takes drbdsetup-84 from its own directory."""
    if not os.path.exists(REAL_DRBDADM):
        pytest.skip("drbd-utils is not installed")
    pair.fresh(conf.fast(pair.left, pair.right))
    for machine in pair.machines:
        machine.run("mount --bind $(command -v drbdsetup) /usr/lib/drbd/drbdsetup-84")
    yield pair
    for machine in pair.machines:
        machine.run("umount /usr/lib/drbd/drbdsetup-84")


def real(machine, arguments, check=True):
    return machine.run(f"{REAL_DRBDADM} {arguments}", check)


def test_drbds_own_drbdadm(driven):
    pair = driven
    for machine in pair.machines:
        real(machine, "create-md r0")
        real(machine, "up r0")
    pair.connected()
    real(pair.left, "-- --overwrite-data-of-peer primary r0")
    pair.synced()
    assert real(pair.left, "role r0").output == "Primary/Secondary\n"
    assert real(pair.right, "dstate r0").output == "UpToDate/UpToDate\n"
    assert real(pair.right, "cstate all").output == "Connected\n"
    assert real(pair.right, "-d adjust r0").output == ""
    real(pair.left, "wait-connect r0")
    assert real(pair.right, "status").output == pair.right.drbdsetup("status").output
    assert "_role=Primary\n" in real(pair.left, "sh-status").output
    outcome = real(pair.right, "primary r0", check=False)
    assert outcome.status == 11 and "Multiple primaries not allowed by config" in outcome.output
    real(pair.left, "secondary r0")
    for machine in pair.machines:
        real(machine, "down r0")
        real(machine, "down r0")
        assert running(machine) == []
        assert real(machine, "dstate r0").output == machine.run("drbdmeta 0 v08 /dev/sdb1 internal dstate").output != ""


def test_drbds_own_drbdadm_adjusts(driven):
    """Options, addresses and volumes change in the file; one adjust makes the running resource so, the next finds nothing to do."""
    pair = driven
    ours = "drbdadm"
    configurations = [
        conf.fast(*pair.machines),
        conf.fast(*pair.machines, net="max-buffers 4000; after-sb-0pri discard-zero-changes;", disk="on-io-error pass_on;", rate="99M"),
        conf.fast(*pair.machines, protocol="A", net='csums-alg md5; data-integrity-alg crc32c;', disk="al-extents 300; c-max-rate 50M;"),
        conf.fast(*pair.machines).replace(":7788", ":7799"),
        conf.fast(*pair.machines).replace("resource r0 {", "resource r0 { options { on-no-data-accessible suspend-io; }"),
        conf.fast(*pair.machines),
    ]
    for machine in pair.machines:
        real(machine, "create-md r0")
    for configuration in configurations:
        pair.configure(configuration)
        for machine in pair.machines:
            plans = [machine.run(f"{tool} -d adjust r0").output.replace("/usr/lib/drbd/", "").replace("drbdsetup-84", "drbdsetup") for tool in (REAL_DRBDADM, ours)]
            assert plans[0] == plans[1] != "", configuration
            real(machine, "adjust r0")
            for tool in (REAL_DRBDADM, ours):
                assert machine.run(f"{tool} -d adjust r0").output == "", configuration
        pair.connected()
    for machine in pair.machines:
        real(machine, "down all")
        assert running(machine) == []
