"""A wrong shared secret is refused by both sides, and nothing is touched."""

import pytest

from lab import conf

pytestmark = pytest.mark.feature("Connection: shared secret")


@pytest.mark.parametrize("wrong", ["left", "right"])
def test_wrong_secret_is_refused(pair, wrong):
    primary, secondary = pair.mirrored()
    primary.drbdadm("secondary r0")
    pair.down()
    before = [machine.disk.read(0, machine.disk.size_bytes) for machine in pair.machines]
    pair.configure(conf.fast(pair.left, pair.right, secret="not-my-secret"), [pair.machine(wrong)])
    pair.allow(r"Authentication of peer failed", r"conn\(", r"sock was shut down by peer|short read|sock_recvmsg", r"authentication")
    marks = {machine: machine.log_mark() for machine in pair.machines}
    pair.up()
    for machine in pair.machines:
        machine.await_status("refusal", lambda s: s.cs == "StandAlone" and s.disk == "UpToDate" and s.peer_disk == "DUnknown")
        machine.await_log("Authentication of peer failed", marks[machine])
        assert "Peer authenticated" not in machine.log_since(marks[machine])
    pair.down()
    for machine, content in zip(pair.machines, before):
        now = machine.disk.read(0, machine.disk.size_bytes)
        assert data_of(machine, now) == data_of(machine, content)
    pair.configure(conf.fast(pair.left, pair.right))
    pair.up()
    pair.synced()
    pair.compare()


def data_of(machine, content):
    from lab.compare import data_area_bytes

    return content[:data_area_bytes(machine.backing_file)]
