"""A peer that stands still: it is given up in the time that the options say."""

import time

import pytest

from lab import conf
from lab.machine import pattern
from lab.pair import PEER_LOST
from lab.workload import Workload

MIB = 1 << 20
SPAN = 4096


@pytest.fixture
def frozen(pair):
    """frozen(machine): stops it until the test ends or thaw()."""
    stopped = []

    def freeze(machine):
        machine.freeze()
        stopped.append(machine)

    def thaw():
        while stopped:
            stopped.pop().thaw()

    freeze.thaw = thaw
    yield freeze
    thaw()


def with_times(pair, net):
    """Primary and Secondary, connected, with these net options."""
    text = conf.fast(pair.left, pair.right)
    return pair.clean(text.replace("timeout 20; connect-int 3; ping-int 3; ping-timeout 10;", f"socket-check-timeout 5; {net}"))


def lost_after(machine, limit_s):
    begun = time.monotonic()
    machine.await_status("the peer given up", lambda s: s.cs in ("WFConnection", "NetworkFailure", "Timeout", "Unconnected"), limit_s)
    return time.monotonic() - begun


@pytest.mark.feature("Time-outs: ping-int, ping-timeout")
def test_idle_peer_that_does_not_answer_pings(pair, frozen):
    primary, secondary = with_times(pair, "timeout 60; connect-int 10; ping-int 2; ping-timeout 5; ko-count 0;")
    pair.allow(*PEER_LOST)
    mark = primary.log_mark()
    frozen(secondary)
    # The last ping may just have been answered; then ping-int + ping-timeout.
    assert 0.4 < lost_after(primary, 20) < 10
    primary.await_log("PingAck did not arrive in time", mark)
    primary.write(MIB, pattern("alone", MIB))
    frozen.thaw()
    pair.synced()
    assert secondary.disk.read(MIB, MIB) == pattern("alone", MIB)
    pair.compare()


@pytest.mark.feature("Time-outs: timeout, ko-count")
def test_peer_that_does_not_finish_writes(pair, frozen):
    """ping-int is long: the writes' own time counts, timeout * ko-count."""
    primary, secondary = with_times(pair, "timeout 15; connect-int 10; ping-int 60; ping-timeout 300; ko-count 2;")
    pair.allow(*PEER_LOST, r"Remote failed to finish a request|ko\b|Timeout|timed out")
    load = Workload(primary, run=80, span_blocks=SPAN)
    load.await_writes(100)
    mark = primary.log_mark()
    frozen(secondary)
    assert 2 < lost_after(primary, 20) < 10
    primary.await_log(r"conn\( Connected -> Timeout \)", mark)
    load.await_writes(100)
    frozen.thaw()
    pair.connected()
    load.stop()
    pair.synced()
    load.check(secondary.disk.read(0, SPAN * 4096))
    pair.compare()


@pytest.mark.feature("Time-outs: ko-count 0 waits for ever")
def test_without_ko_count_writes_wait(pair, frozen):
    primary, secondary = with_times(pair, "timeout 10; connect-int 10; ping-int 60; ping-timeout 300; ko-count 0;")
    load = Workload(primary, run=85, span_blocks=SPAN)
    load.await_writes(100)
    frozen(secondary)
    time.sleep(4)
    assert primary.status().cs == "Connected"
    frozen.thaw()
    load.await_writes(100)
    load.stop()
    load.check(secondary.disk.read(0, SPAN * 4096))
    pair.synced()
    pair.compare()


@pytest.mark.feature("Time-outs: a Primary that stands still")
def test_frozen_primary(pair, frozen):
    """The Secondary gives it up; what it wrote is on both when it is back."""
    primary, secondary = with_times(pair, "timeout 20; connect-int 3; ping-int 2; ping-timeout 5;")
    pair.allow(*PEER_LOST)
    load = Workload(primary, run=90, span_blocks=SPAN)
    load.await_writes(100)
    frozen(primary)
    assert 0.4 < lost_after(secondary, 20) < 10
    frozen.thaw()
    load.await_writes(100)
    pair.connected()
    load.stop()
    pair.synced()
    load.check(secondary.disk.read(0, SPAN * 4096))
    pair.compare()
