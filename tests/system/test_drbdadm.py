"""drbdadm on running resources: what it changes, what it leaves alone, and what it says when something is in the way."""

import json
import re

import pytest

from lab import conf
from lab.machine import pattern
from lab.process import await_until, kill_group
from lab.workload import Workload


def running(machine):
    return [int(pid) for pid in machine.run("pgrep -x -r D,R,S,T duplexd", check=False).output.split()]


@pytest.fixture
def blank(pair):
    pair.fresh()
    pair.create_md()
    return pair


def test_adjust_changes_what_differs_while_writes_go_on(pair):
    primary, secondary = pair.mirrored()
    load = Workload(primary, run=3, span_blocks=2048)
    load.await_writes(100)
    pids = {machine: running(machine) for machine in pair.machines}
    for machine in pair.machines:
        assert machine.drbdadm("-d adjust r0").output == ""
    pair.configure(conf.fast(*pair.machines, net="max-buffers 4000; verify-alg md5;", disk="al-extents 257;", rate="123M"))
    for machine in pair.machines:
        calls = machine.drbdadm("-d adjust all").output
        assert [line.split()[1] for line in calls.splitlines()] == ["disk-options", "net-options"], calls
        machine.drbdadm("adjust all")
        assert machine.drbdadm("-d adjust all").output == ""
        shown = machine.drbdsetup("show r0").output
        for option in ("max-buffers", "verify-alg", "al-extents", "resync-rate"):
            assert option in shown
    load.await_writes(100)
    pair.configure(conf.fast(*pair.machines))
    for machine in pair.machines:
        machine.drbdadm("adjust r0")
        assert "max-buffers" not in machine.drbdsetup("show r0").output
    load.await_writes(100)
    load.stop()
    assert pids == {machine: running(machine) for machine in pair.machines}
    for machine in pair.machines:
        assert machine.status().cs == "Connected"
    load.check(secondary.disk.read(0, 4096 * 2048))


def test_adjust_makes_what_is_missing(blank):
    node = blank.left
    node.drbdadm("adjust r0")
    assert node.status().disk == "Inconsistent"
    node.drbdadm("down r0")
    node.drbdsetup("new-resource r0")
    calls = node.drbdadm("-v adjust r0").output.splitlines()
    assert [call.split()[1 if "drbdsetup" in call else 5] for call in calls] == ["new-minor", "apply-al", "attach", "connect"]
    assert node.drbdadm("adjust r0").output == ""


def test_a_hanging_process_keeps_nothing_waiting_for_ever(blank):
    node = blank.left
    node.drbdadm("up r0")
    blank.configure("global { cmd-timeout-short 1; cmd-timeout-medium 1; }" + conf.fast(*blank.machines).replace("global { usage-count no; }", ""))
    pid = running(node)[0]
    before = node.drbdsetup("show r0").output
    node.run(f"kill -STOP {pid}")
    try:
        outcome = node.drbdadm("adjust r0", check=False)
        assert outcome.status == 20 and "adjust r0: cannot find out its state, so nothing is changed" in outcome.output
        outcome = node.drbdadm("primary r0", check=False)
        assert outcome.status == 20
        assert outcome.output.endswith("Command 'drbdsetup primary 0' did not terminate within 1 seconds\n")
        outcome = node.drbdadm("up r0", check=False)
        assert outcome.status == 20 and "did not terminate within 1 seconds" in outcome.output
    finally:
        node.run(f"kill -CONT {pid}")
    await_until(lambda: node.drbdsetup("show r0", check=False).output == before, "it goes on as before")
    assert running(node) == [pid]


def test_two_at_once(blank):
    """Two administrators start the same resource: one process, one volume; whoever comes too late is told so."""
    node = blank.left
    both = [node.start("drbdadm up r0 2>&1") for _ in range(2)]
    texts = [process.communicate(timeout=60)[0].decode() for process in both]
    assert 0 in [process.returncode for process in both], texts
    assert all(process.returncode in (0, 1) for process in both), texts
    assert len(running(node)) == 1
    assert node.status().disk == "Inconsistent"
    both = [node.start("drbdadm down r0 2>&1") for _ in range(2)]
    texts = [process.communicate(timeout=60)[0].decode() for process in both]
    assert 0 in [process.returncode for process in both], texts
    await_until(lambda: not running(node), "it is gone")
    assert node.drbdsetup("status").output == ""


def test_both_nodes_promote_at_once(pair):
    """Never two Primaries where only one is allowed; whoever loses is told so, and may try again."""
    # Whoever is refused tries again after ping-timeout, in case the other Primary is dead. Without a connection each would be right
    # to promote: a busy machine is not to look like a cable that was cut.
    patient = conf.fast(*pair.machines).replace("timeout 20; connect-int 3; ping-int 3; ping-timeout 10;", "ping-timeout 30;")
    pair.mirrored(configuration=patient)
    pair.left.drbdadm("secondary r0")
    for _ in range(3):
        both = [machine.start("drbdadm primary r0 2>&1") for machine in pair.machines]
        texts = [process.communicate(timeout=60)[0].decode() for process in both]
        roles = [machine.drbdadm("role r0").output.split("/")[0] for machine in pair.machines]
        assert roles.count("Primary") <= 1
        for process, role, text in zip(both, roles, texts):
            assert (process.returncode == 0) == (role == "Primary"), texts
            assert process.returncode in (0, 11), texts
            assert process.returncode == 0 or re.search(r"0: State change failed: \(-\d+\) \w", text), texts
        for machine, role in zip(pair.machines, roles):
            if role == "Primary":
                machine.drbdadm("secondary r0")


def test_meta_data_are_made_while_a_resource_comes_up(blank):
    """create-md and up at the same moment: whichever is first, the other one is refused or finds good meta data."""
    node = blank.left
    for _ in range(3):
        up = node.start("drbdadm up r0 2>&1")
        made = node.start("drbdadm create-md --force r0 2>&1")
        texts = [process.communicate(timeout=60)[0].decode() for process in (up, made)]
        assert up.returncode in (0, 1) and made.returncode in (0, 20), texts
        assert made.returncode == 0 or re.search("is configured!|currently held by|Exclusive open failed|Device or resource busy", texts[1]), texts
        node.drbdadm("down r0")
        node.drbdadm("up r0")
        assert node.status().disk == "Inconsistent"
        node.drbdadm("down r0")


def test_a_lock_that_is_held_is_named(blank):
    node = blank.left
    node.drbdadm("up r0")
    holder = node.start("exec /usr/bin/python3 -c \"import fcntl,time; f=open('/var/lock/drbd-147-0','w'); fcntl.lockf(f, fcntl.LOCK_EX); "
                        "print('held', flush=True); time.sleep(600)\"")
    try:
        assert holder.stdout.readline() == b"held\n"
        outcome = node.drbdsetup("detach 0", check=False)
        assert outcome.status == 20 and re.search(r"lock on /var/lock/drbd-147-0 currently held by pid:\d+", outcome.output)
        assert node.drbdsetup("dstate 0").output == "Inconsistent/DUnknown\n"
    finally:
        kill_group(holder)
        holder.wait()
    node.run("test -e /var/lock/drbd-147-0")  # nobody holds what is left of it
    node.drbdsetup("detach 0")


def test_status_is_coloured_on_a_terminal(blank, terminal):
    node = blank.left
    node.drbdadm("up r0")
    screen = terminal(node, "drbdadm status r0")
    screen.until("ended with 0")
    assert b"disk:\x1b[1;31mInconsistent\x1b[0m" in screen.output
    assert "\x1b" not in node.drbdadm("status r0").output
    assert "\x1b[1;31m" in node.drbdadm("status --color=always r0").output
    screen = terminal(node, "drbdadm status r0 --color=never")
    screen.until("ended with 0")
    assert b"\x1b" not in screen.output


def test_status_for_programs(pair):
    primary, secondary = pair.mirrored()
    primary.write(0, pattern("status", 65536))
    for words in ("drbdadm status --json", "drbdadm status --json r0", "drbdsetup status --json", "drbdsetup status r0 --json"):
        resources = json.loads(primary.run(words).output)
        assert [resource["name"] for resource in resources] == ["r0"]
    resource = resources[0]
    assert (resource["role"], resource["devices"][0]["disk-state"]) == ("Primary", "UpToDate")
    assert resource["devices"][0]["written"] >= 64
    connection = resource["connections"][0]
    assert (connection["connection-state"], connection["peer-role"]) == ("Connected", "Secondary")
    assert connection["peer_devices"][0]["peer-disk-state"] == "UpToDate"
    assert json.loads(secondary.drbdadm("status --json").output)[0]["role"] == "Secondary"
    for machine in pair.machines:
        machine.drbdadm("down r0", check=False)
        machine.drbdadm("secondary r0", check=False)
        machine.drbdadm("down r0")
        assert json.loads(machine.drbdsetup("status --json").output) == []


def test_version_is_what_agents_evaluate(pair):
    """Five shell assignments; agents of clusters look for a kernel part of 8.4 (cli 10.1)."""
    pair.fresh()
    script = 'eval "$(drbdadm --version)"; echo "$DRBD_KERNEL_VERSION_CODE $DRBDADM_API_VERSION $DRBDADM_VERSION_CODE $DRBDADM_VERSION"; echo "$DRBDADM_BUILDTAG"'
    lines = pair.left.run(script).output.splitlines()
    assert lines[0] == "0x08040b 1 0x091600 9.22.0"
    assert lines[1].startswith("Duplex ")
