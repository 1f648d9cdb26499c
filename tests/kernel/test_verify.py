"""Online verify: what it finds, where it looks, and how a reconnect repairs it."""

import pytest

from lab import conf
from lab.machine import pattern
from lab.workload import Workload

pytestmark = pytest.mark.feature("Online verify")

MIB = 1 << 20
DAMAGED = [0, 9, 10, 700, 4095, 4096, 9999, 16373]
EXPECTED_LINES = (r"Out of sync: start=", r"Online verify found \d+ 4k block", r"helper command: .* out-of-sync", r"No resync, but")


def verifying(pair, algorithm="md5", **options):
    return conf.fast(pair.left, pair.right, net=f"verify-alg {algorithm};", **options)


def damage(machine, blocks):
    """The disk loses what was written, behind DRBD's back."""
    with open(machine.backing_file, "r+b") as disk:
        for block in blocks:
            disk.seek(block * 4096)
            disk.write(pattern(f"damage {block}", 4096))


def ended(pair, limit_s=60):
    for machine in pair.machines:
        machine.await_connection("Connected", limit_s=limit_s)


def found(machine, mark):
    return int(machine.await_log(r"Online verify found (\d+) 4k block out of sync", mark)[1])


@pytest.mark.parametrize("verifier", ["left", "right"])
@pytest.mark.parametrize("writer", ["left", "right"])
def test_verify_marks_and_reconnect_repairs(pair, verifier, writer):
    primary, secondary = pair.mirrored(source=pair.machine(writer), configuration=verifying(pair))
    pair.allow(*EXPECTED_LINES)
    primary.write(0, pattern("content", MIB))
    damage(secondary, DAMAGED)
    marks = {machine: machine.log_mark() for machine in pair.machines}
    verifier = pair.machine(verifier)
    verifier.drbdadm("verify r0")
    ended(pair)
    for machine in pair.machines:
        status = machine.status()
        assert (status.disk, status.peer_disk, status.oos) == ("UpToDate", "UpToDate", 4 * len(DAMAGED)), status
        assert found(machine, marks[machine]) == len(DAMAGED)
        machine.await_log(r"Online verify done \(total", marks[machine])
        machine.await_log(r"helper command: .* out-of-sync", marks[machine])
        assert ("Starting Online Verify from sector 0" in machine.log_since(marks[machine])) == (machine is verifier)
    secondary.drbdadm("disconnect r0")
    secondary.await_connection("StandAlone")
    secondary.drbdadm("connect r0")
    pair.synced()
    pair.compare()
    assert secondary.disk.read(0, MIB) == pattern("content", MIB)


@pytest.mark.feature("Online verify: range and stop")
@pytest.mark.parametrize("verifier", ["left", "right"])
def test_verify_range_and_stop(pair, verifier):
    """Only the range is looked at; the next run goes on behind it; a second command and a disconnect end one."""
    primary, secondary = pair.mirrored(configuration=verifying(pair))
    pair.allow(*EXPECTED_LINES)
    damage(secondary, DAMAGED)
    verifier, other = pair.machine(verifier), pair.other(pair.machine(verifier))
    marks = {machine: machine.log_mark() for machine in pair.machines}
    verifier.drbdadm(f"-- --start={5 * 8 + 3} --stop={4096 * 8} verify r0")
    ended(pair)
    assert "Starting Online Verify from sector 40" in verifier.log_since(marks[verifier])
    assert f"Online Verify reached sector {4096 * 8}" in verifier.log_since(marks[verifier])
    other.await_log(r"Online Verify start sector: 40", marks[other])
    for machine in pair.machines:
        assert machine.status().oos == 4 * 4, machine.status()
    verifier.drbdadm("verify r0")
    ended(pair)
    assert f"Starting Online Verify from sector {4096 * 8}" in verifier.log_since(marks[verifier])
    for machine in pair.machines:
        assert machine.status().oos == 4 * (len(DAMAGED) - 1), machine.status()
    # Slowly enough to be seen at work.
    for machine in pair.machines:
        machine.drbdadm("disk-options --resync-rate=1M r0")
    verifier.drbdadm("verify r0")
    status = verifier.await_status("progress", lambda s: s.cs == "VerifyS" and s.percent is not None and s.percent > 2)
    assert "verified:" in status.text and " want: 1,024 K/sec" in status.text
    assert other.await_connection("VerifyT").text.count("verified:") == 1
    verifier.drbdadm("-- --stop=0 verify r0")
    ended(pair, limit_s=10)
    verifier.drbdadm("verify r0")
    verifier.await_status("progress", lambda s: s.cs == "VerifyS" and s.percent is not None)
    other.drbdadm("disconnect r0")
    verifier.await_connection("WFConnection", "StandAlone")
    other.await_connection("StandAlone")
    for machine in pair.machines:
        if machine.status().cs == "StandAlone":
            machine.drbdadm("connect r0")
    pair.synced()
    pair.compare()


@pytest.mark.parametrize("verifier", ["left", "right"])
def test_verify_under_load(pair, verifier):
    """Writes while it runs; what it finds is exactly what was damaged."""
    primary, secondary = pair.mirrored(configuration=verifying(pair, "crc32c", rate="16M"))
    pair.allow(*EXPECTED_LINES)
    damage(secondary, [9999, 12000])
    marks = {machine: machine.log_mark() for machine in pair.machines}
    load = Workload(primary, run=5, span_blocks=8192)
    load.await_writes(100)
    pair.machine(verifier).drbdadm("verify r0")
    ended(pair)
    load.stop()
    for machine in pair.machines:
        assert found(machine, marks[machine]) == 2
        assert machine.status().oos == 8, machine.status()
    secondary.drbdadm("disconnect r0")
    secondary.await_connection("StandAlone")
    secondary.drbdadm("connect r0")
    pair.synced()
    load.check(secondary.disk.read(0, 8192 * 4096))
    pair.compare()


@pytest.mark.feature("Online verify: every digest")
def test_verify_with_every_digest(pair):
    pair.mirrored(configuration=verifying(pair))
    pair.allow(*EXPECTED_LINES)
    for machine in pair.machines:
        if machine.kind == "kernel":
            machine.run("for m in sha256_generic sha512_generic crc32_generic; do insmod /usr/lib/uml/modules/$(uname -r)/kernel/crypto/$m.ko "
                        "2>/dev/null; done; true")
    pair.left.write(0, pattern("content", MIB))
    expected = 0
    for algorithm in ("md5", "sha1", "sha256", "sha384", "sha512", "crc32c", "crc32"):
        pair.configure(verifying(pair, algorithm))
        for machine in pair.machines:
            machine.drbdadm("adjust r0")
        damage(pair.right, [20 + expected])
        expected += 1
        pair.left.drbdadm("-- --start=0 --stop=8000 verify r0")
        ended(pair)
        for machine in pair.machines:
            assert machine.status().oos == 4 * expected, (algorithm, machine.status())
        pair.right.drbdadm("-- --start=0 --stop=8000 verify r0")
        ended(pair)
        for machine in pair.machines:
            assert machine.status().oos == 4 * expected, (algorithm, machine.status())
    pair.right.drbdadm("disconnect r0")
    pair.right.await_connection("StandAlone")
    pair.right.drbdadm("connect r0")
    pair.synced()
    pair.compare()
