"""The process is killed at random moments, the machine stays."""

import json
import random

import pytest

from lab.process import await_until
from lab.workload import Workload

pytestmark = pytest.mark.feature("Crash of the process")

SPAN = 8192
ROUNDS = 5
FIO = ("fio --name=v --filename=/dev/drbd0 --ioengine=libaio --direct=1 --rw=randwrite --bs=4k --iodepth=16 --size=40m --loops=3 "
       "--verify=crc32c --verify_state_save=0 --verify_backlog=512 --verify_fatal=1 --randseed=7 --output-format=json")


def kill_process(machine):
    pid, = machine.processes("duplexd")
    machine.run(f"kill -9 {pid}")
    await_until(lambda: pid not in machine.processes("duplexd"), f"duplexd {pid} on {machine.name} is gone")


def start_again(machine):
    machine.drbdadm("up r0")


@pytest.mark.parametrize("seed", [1, 2])
def test_secondary_killed_under_fio_verify(pair, seed):
    """fio on the Primary sees no error while the peer's process dies and returns, again and again."""
    primary, secondary = pair.mirrored()
    draw = random.Random(seed)
    fio = primary.start(FIO + f" --randseed={seed}")
    for _ in range(ROUNDS):
        progress = primary.status().dw + draw.randrange(2000, 12000)
        primary.await_status(f"{progress} KiB written", lambda s: s.dw >= progress or fio.poll() is not None, limit_s=60)
        kill_process(secondary)
        primary.await_connection("WFConnection")
        start_again(secondary)
        primary.await_status("the peer is back", lambda s: s.cs == "Connected" and s.peer_disk == "UpToDate", limit_s=60)
    output, _ = fio.communicate(timeout=300)
    assert fio.returncode == 0, output.decode()[-3000:]
    job, = json.loads(output[output.index(b"{"):])["jobs"]
    assert job["error"] == 0 and job["write"]["total_ios"] > 1000
    pair.synced()
    pair.compare()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_primary_killed_under_load(pair, seed):
    """Each time the Primary's process dies, what it had acknowledged is there when it is back, on both sides."""
    primary, secondary = pair.mirrored()
    draw = random.Random(seed)
    for round_number in range(ROUNDS):
        load = Workload(primary, run=1000 * seed + round_number, span_blocks=SPAN, threads=8)
        load.await_writes(draw.randrange(20, 600))
        kill_process(primary)
        await_until(lambda: load.error or not load.reading(), "the writer notices")
        load.lost_power()
        start_again(primary)
        for machine in pair.machines:
            machine.await_synced()
        primary.drbdadm("primary r0")
        content = primary.read(0, SPAN * 4096)
        load.check(content)
        assert secondary.disk.read(0, SPAN * 4096) == content
    pair.compare()


def test_both_processes_killed(pair):
    primary, secondary = pair.mirrored()
    load = Workload(primary, run=77, span_blocks=SPAN, threads=8)
    load.await_writes(300)
    kill_process(secondary)
    kill_process(primary)
    await_until(lambda: load.error or not load.reading(), "the writer notices")
    load.lost_power()
    for machine in pair.machines:
        start_again(machine)
    pair.synced()
    primary.drbdadm("primary r0")
    load.check(primary.read(0, SPAN * 4096))
    pair.compare()
