"""/etc/init.d/drbd as somebody at the console uses it."""

import re
import select
import termios

import pytest

from lab import conf
from lab.process import REPOSITORY, await_until, kill_group

pytestmark = pytest.mark.feature("Init script, at a console")

SCRIPT = f"bash {REPOSITORY}/packaging/drbd.init"
HOOKS = "hook_start() { echo started >>/run/hooks; }\nhook_stop() { echo stopped >>/run/hooks; }\nhook_reload() { echo reloaded >>/run/hooks; }\n" \
        "hook_start_before-wait() { echo waiting >>/run/hooks; }\n"


@pytest.fixture
def blank(pair):
    """Meta data on both disks, nothing up; the script finds the programs that are tested."""
    pair.fresh(with_timeouts(pair, "wfc-timeout 0; degr-wfc-timeout 120;"))
    pair.create_md()
    for machine in pair.machines:
        machine.write_file("/etc/default/drbd", f"DRBDADM={machine.binaries}/drbdadm\nDRBDSETUP={machine.binaries}/drbdsetup\n{HOOKS}")
        machine.run("rm -f /run/hooks")
    return pair


def with_timeouts(pair, startup):
    return conf.fast(*pair.machines).replace("resource r0 {", "resource r0 { startup { " + startup + " }")


def script(machine, word, status=0):
    outcome = machine.run(f"{SCRIPT} {word}", check=False)
    assert outcome.status == status, outcome
    return outcome.output


def plain(text):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[78]", "", text.decode()).replace("\r", "")


@pytest.mark.parametrize("keys", [b"yes\n", b"\x03\x03\x03", b"\x04\x04\x04"], ids=["yes", "ctrl-c", "ctrl-d"])
def test_waiting_at_the_console_can_be_ended(blank, terminal, keys):
    node = blank.left
    screen = terminal(node, f"{SCRIPT} start")
    screen.until(r"To abort waiting enter 'yes' \[ +\d+\]:|To abort waiting enter 'yes' \[ -- \]:.*\[ +\d+\]:", 40)
    text = plain(screen.output)
    assert "DRBD's startup script waits for the peer node(s) to appear.\n" in text
    assert "timeout is 120 seconds. [degr-wfc-timeout]" in text and "is 0 seconds. [wfc-timeout]" in text
    assert "(These values are for resource 'r0'; 0 sec -> wait forever)" in text
    screen.type(b"no\n")  # anything else goes on waiting: the seconds are counted further
    screen.until(r"\[ +\d+\]:.*\[ +\d+\]:")
    screen.type(keys)
    screen.until("ended with 0")
    assert node.status().cs == "WFConnection"
    assert node.run("cat /run/hooks").output == "waiting\nstarted\n"
    # The terminal is as it was.
    assert termios.tcgetattr(screen.slave)[:4] == screen.before[:4]
    script(node, "stop")
    assert node.processes("duplexd") == []


def test_waiting_ends_when_the_peer_is_there(blank, terminal):
    node, other = blank.machines
    screen = terminal(node, f"{SCRIPT} start")
    screen.until("To abort waiting", 40)
    other.drbdadm("up r0")
    screen.until("ended with 0", 30)
    assert node.status().cs == "Connected"


def test_waiting_ends_with_its_time(blank):
    """Without a terminal nor a console: the time that the configuration gives, then the boot goes on."""
    node = blank.left
    blank.configure(with_timeouts(blank, "wfc-timeout 1; degr-wfc-timeout 1; outdated-wfc-timeout 1;"))
    script(node, "start")
    assert node.status().cs == "WFConnection"
    table = script(node, "status")
    assert table.splitlines()[0] == "drbd driver loaded OK; device status:"
    assert re.search(r"^0:r0 +WFConnection +Secondary/Unknown +Inconsistent/DUnknown +C$", table, re.M), table
    script(node, "stop")
    assert script(node, "status", 3) == "drbd not loaded\n"


def test_without_a_console_it_says_whom_to_kill(blank):
    node = blank.left
    waiting = node.start(f"{SCRIPT} start")
    try:
        seen = b""
        while b"kill this process: kill " not in seen:
            assert select.select([waiting.stdout], [], [], 30)[0], seen
            chunk = waiting.stdout.read1()
            assert chunk, seen
            seen += chunk
        pid = re.search(rb"kill this process: kill (\d+)", seen)[1].decode()
        node.run(f"kill {pid}")
        waiting.communicate(timeout=30)
        assert node.status().cs == "WFConnection"
    finally:
        kill_group(waiting)


def test_status_names_a_dead_process(blank):
    node = blank.left
    node.drbdadm("up r0")
    node.run("kill -9 $(pgrep -x duplexd)")
    await_until(lambda: node.processes("duplexd") == [], "it is gone")
    assert "the process of resource r0 has died: " in script(node, "status", 1)
    script(node, "stop")
    assert script(node, "status", 3) == "drbd not loaded\n"


def test_words(blank):
    node = blank.left
    blank.configure(with_timeouts(blank, "wfc-timeout 1; degr-wfc-timeout 1; outdated-wfc-timeout 1;"))
    assert script(node, "nonsense", 1) == "Usage: /etc/init.d/drbd {start|stop|status|reload|restart|force-reload}\n"
    script(node, "condrestart")
    assert node.processes("duplexd") == []  # nothing ran, so nothing is started
    script(node, "start")
    first = node.processes("duplexd")
    blank.configure(with_timeouts(blank, "wfc-timeout 1;").replace("ping-int 3", "ping-int 4"))
    script(node, "reload")
    assert node.processes("duplexd") == first and "ping-int        \t4" in node.drbdsetup("show r0").output
    blank.configure(with_timeouts(blank, "wfc-timeout 1; degr-wfc-timeout 1; outdated-wfc-timeout 1;"))
    script(node, "force-reload")
    assert node.processes("duplexd") not in ([], first)
    script(node, "stop")
    assert node.run("cat /run/hooks").output.split() == ["waiting", "started", "reloaded", "stopped", "waiting", "started", "stopped"]


def test_a_wrong_configuration_starts_nothing(blank):
    node = blank.left
    node.write_file("/etc/drbd.conf", "resource r0 { net { tmieout 60; } }\n")
    assert "/etc/drbd.conf:1: Parse error: 'an option keyword' expected,\n" in script(node, "start", 6)
    assert node.processes("duplexd") == []


def test_become_primary_on(blank):
    node, other = blank.machines
    for machine in blank.machines:
        machine.drbdadm("up r0")
    blank.connected()
    node.drbdadm("-- --clear-bitmap new-current-uuid r0/0")
    blank.synced()
    for machine in blank.machines:
        machine.drbdadm("down r0")
    startup = "wfc-timeout 20; degr-wfc-timeout 20; outdated-wfc-timeout 20; become-primary-on %s;"
    blank.configure(with_timeouts(blank, startup % node.name))
    both = [machine.start(f"{SCRIPT} start") for machine in blank.machines]
    outputs = [process.communicate(timeout=60)[0].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    other.await_status("only the one that is named", lambda s: (s.role, s.peer_role) == ("Secondary", "Primary"))
    assert node.drbdadm("role r0").output == "Primary/Secondary\n"
