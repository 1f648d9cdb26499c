"""duplex top on a pseudo terminal."""

import signal
import termios

import pytest

from lab.workload import Workload


def given_back(screen):
    assert screen.output.count(b"\x1b[?1049h") == screen.output.count(b"\x1b[?1049l") == 1
    assert screen.output.count(b"\x1b[?25l") == screen.output.count(b"\x1b[?25h") == 1
    assert termios.tcgetattr(screen.slave) == screen.before


def test_shows_the_node_live(pair, terminal):
    primary, secondary = pair.mirrored()
    screen = terminal(primary, "duplex top")
    screen.until(r"duplex top  proxmox-105 .*1 resources")
    screen.until(r"r0/0  minor 0  Primary/Secondary  Connected  UpToDate/UpToDate")
    screen.until(r" 0 reads/s 0 writes/s 0\.00 ms")
    load = Workload(primary, run=1, span_blocks=4096)
    shown = screen.until(r"[1-9]\d* writes/s (\d+\.\d\d) ms  disk r\d+\.\d w(\d+\.\d)  net s(\d+\.\d)")
    assert float(shown[2]) > 0 and float(shown[3]) > 0
    secondary.unplug()
    screen.until(r"Primary/Unknown  (NetworkFailure|WFConnection|Unconnected)  UpToDate/DUnknown")
    screen.until(r"out of sync: [1-9]\d* [KM]iB")
    load.stop()
    secondary.plug_in()
    screen.until(r"Primary/Secondary  Connected  UpToDate/UpToDate", 60)
    screen.type(b"q")
    screen.until(r"ended with 0")
    given_back(screen)


def test_fits_the_terminal(pair, terminal):
    pair.mirrored()
    screen = terminal(pair.left, "duplex top", columns=40, rows=3)
    screen.until(r"r0/0  minor 0  Primary/Secondary  Connecduplex top")
    screen.resize(100, 24)
    screen.until(r"Connected  UpToDate/UpToDate")
    screen.type(b"q")
    screen.until(r"ended with 0")
    given_back(screen)


@pytest.mark.parametrize("key", [b"\x03", b"\x1c", b"\x04", b"q"])
def test_keys_that_end_it(pair, terminal, key):
    pair.fresh()
    screen = terminal(pair.left, "trap : INT QUIT; duplex top")
    screen.until("no resources")
    screen.type(key)
    screen.until("ended with 0")
    given_back(screen)


def test_without_a_terminal(pair):
    pair.fresh()
    outcome = pair.left.run("duplex top", check=False)
    assert (outcome.status, outcome.output) == (20, "duplex top needs a terminal; for programs there is drbdsetup status --json\n")


def test_shows_a_dead_process(pair, terminal):
    pair.mirrored()
    pid = pair.left.processes("duplexd")[0]
    screen = terminal(pair.left, "duplex top")
    screen.until("Primary/Secondary")
    pair.left.run(f"kill -{signal.SIGKILL} {pid}")
    screen.until("r0  the process of resource r0 has died")
    screen.type(b"q")
    screen.until("ended with 0")
