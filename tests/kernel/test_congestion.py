"""A link that cannot keep up, under protocol A: Ahead and Behind, or the connection is given up."""

import pytest

from lab import conf
from lab.machine import pattern
from lab.pair import PEER_LOST

MIB = 1 << 20


def congested(pair, what):
    return conf.fast(pair.left, pair.right, protocol="A",
                     net=f"on-congestion {what}; congestion-fill 128k; congestion-extents 100; sndbuf-size 256k; timeout 60; ping-timeout 50;")


def slow_down(machine):
    if machine.kind == "kernel":
        machine.run("insmod /usr/lib/uml/modules/$(uname -r)/kernel/net/sched/sch_netem.ko 2>/dev/null; "
                    "tc qdisc add dev vec0 root netem delay 60ms rate 2mbit")
    else:
        machine.run("tc qdisc add dev eth1 root tbf rate 2mbit burst 16k latency 2s")


def speed_up(machine):
    machine.run(f"tc qdisc del dev {'vec0' if machine.kind == 'kernel' else 'eth1'} root")


def burst(machine, count=6):
    """Half a MiB each, all at once."""
    machine.write_file("/etc/burst", pattern("burst", 512 << 10).hex())
    machine.run("xxd -r -p /etc/burst > /run/burst; for i in $(seq 1 %d); do "
                "dd if=/run/burst of=/dev/drbd0 oflag=direct conv=notrunc bs=64k seek=$((i*10)) status=none & done; wait" % count)


@pytest.mark.feature("Congestion: pull-ahead, and Behind catches up")
@pytest.mark.parametrize("primary", ["left", "right"])
def test_pull_ahead_and_catch_up(pair, primary):
    primary, secondary = pair.mirrored(source=pair.machine(primary), configuration=congested(pair, "pull-ahead"))
    marks = {machine: machine.log_mark() for machine in pair.machines}
    slow_down(primary)
    try:
        burst(primary)
        primary.await_log(r"Congestion-fill threshold reached", marks[primary])
        primary.await_log(r"conn\( Connected -> Ahead \) pdsk\( UpToDate -> Consistent \)", marks[primary])
        secondary.await_log(r"conn\( Connected -> Behind \) disk\( UpToDate -> Outdated \)", marks[secondary], limit_s=60)
        primary.await_log(r"conn\( Ahead -> SyncSource \)", marks[primary], limit_s=90)
        secondary.await_log(r"conn\( Behind -> SyncTarget \)", marks[secondary], limit_s=60)
    finally:
        speed_up(primary)
    pair.synced()
    for index in range(1, 7):
        assert secondary.disk.read(index * 10 * 65536, 65536) == pattern("burst", 512 << 10)[:65536]
    pair.compare()


@pytest.mark.feature("Congestion: pull-ahead, and Behind catches up")
@pytest.mark.parametrize("primary", ["left", "right"])
def test_connection_lost_while_ahead(pair, primary):
    primary, secondary = pair.mirrored(source=pair.machine(primary), configuration=congested(pair, "pull-ahead"))
    pair.allow(*PEER_LOST, r"was Sync\w+ \((peer )?failed to write sync_uuid\)")  # so it names the rule that finds the lost P_SYNC_UUID
    slow_down(primary)
    try:
        burst(primary)
        secondary.await_connection("Behind", limit_s=60)
        secondary.unplug()
        for machine in pair.machines:
            machine.await_connection("WFConnection", limit_s=60)
        assert secondary.status().disk == "Outdated"
    finally:
        speed_up(primary)
    secondary.plug_in()
    pair.synced()
    pair.compare()


@pytest.mark.feature("Congestion: disconnect")
def test_disconnect_on_congestion(pair):
    """The kernel's own way to do this is broken; here Duplex is the Primary."""
    primary = next(machine for machine in pair.machines if machine.kind == "duplex")
    primary, secondary = pair.mirrored(source=primary, configuration=congested(pair, "disconnect"))
    pair.allow(*PEER_LOST, r"congested", r"error receiving Data")
    slow_down(primary)
    try:
        burst(primary)
        primary.await_connection("StandAlone", limit_s=60)
    finally:
        speed_up(primary)
    secondary.await_connection("WFConnection", "StandAlone", limit_s=60)
    primary.drbdadm("connect r0")
    pair.synced()
    pair.compare()
