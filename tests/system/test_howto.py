"""The how-to, command by command, with its own configuration file."""

import re

import pytest

from lab import conf


@pytest.mark.feature("How-to of 8.3")
def test_howto(pair):
    pair.fresh(conf.howto(pair.left, pair.right))
    first, second = pair.machines
    marks = [machine.log_mark() for machine in pair.machines]
    for machine in pair.machines:
        assert "New drbd meta data block successfully created." in machine.drbdadm("create-md r0").output
    for machine in pair.machines:
        assert machine.drbdadm("up r0").output == ""
    pair.connected()
    for machine in pair.machines:
        lines = machine.drbdadm("proc").output.splitlines()
        assert lines[0].startswith("version: 8.4.11 (api:1/proto:")
        assert lines[2] == " 0: cs:Connected ro:Secondary/Secondary ds:Inconsistent/Inconsistent C r-----"
        assert re.fullmatch(r"    ns:0 nr:0 dw:0 dr:0 al:\d+ bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:65496", lines[3])
        assert machine.run("cat /run/duplex/proc/drbd").output == "\n".join(lines) + "\n"
    refused = first.drbdadm("primary r0", check=False)
    assert refused.status == 17 and "(-2) Need access to UpToDate data" in refused.output
    first.drbdadm("-- --overwrite-data-of-peer primary r0")
    pair.synced()
    for machine, mark in zip(pair.machines, marks):
        assert machine.log_since(mark).count("Writing the whole bitmap, full sync required after drbd_sync_handshake.") == 1
    assert first.drbdadm("role r0").output == "Primary/Secondary\n"
    assert second.drbdadm("role r0").output == "Secondary/Primary\n"
    assert first.drbdadm("cstate r0").output == "Connected\n"
    assert first.drbdadm("dstate r0").output == "UpToDate/UpToDate\n"
    assert first.drbdadm("status r0").output == (
        "r0 role:Primary\n  disk:UpToDate\n  peer role:Secondary\n    replication:Established peer-disk:UpToDate\n\n")
    first.run("mkfs.ext4 -q /dev/drbd0 && mkdir -p /mnt/x && mount /dev/drbd0 /mnt/x && echo hello >/mnt/x/file && umount /mnt/x")
    first.drbdadm("secondary r0")
    second.drbdadm("primary r0")
    assert second.run("mkdir -p /mnt/x && mount /dev/drbd0 /mnt/x && cat /mnt/x/file && umount /mnt/x").output == "hello\n"
    second.drbdadm("secondary r0")
    # Stop and start on both, then Primary on both.
    for machine in pair.machines:
        assert machine.drbdadm("down r0").output == ""
        assert machine.status() is None
        assert machine.processes("duplexd") == []
    pair.up()
    pair.synced()
    for machine in pair.machines:
        machine.drbdadm("primary r0")
    for machine in pair.machines:
        machine.await_status("Primary/Primary", lambda s: (s.role, s.peer_role) == ("Primary", "Primary"))
    for machine in pair.machines:
        machine.drbdadm("secondary r0")
    pair.compare()


def test_down_twice_and_adjust(pair):
    """`down` of what is down and `adjust` of what is up change nothing; `adjust` brings up what is down."""
    pair.mirrored()
    for machine in pair.machines:
        before = machine.processes("duplexd")
        machine.drbdadm("adjust r0")
        assert machine.processes("duplexd") == before and len(before) == 1
    pair.left.drbdadm("secondary r0")
    for machine in pair.machines:
        machine.drbdadm("down r0")
        machine.drbdadm("down r0")
        machine.drbdadm("adjust r0")
    pair.synced()
    pair.compare()


def test_detach_and_attach(pair):
    primary, secondary = pair.mirrored()
    secondary.drbdadm("detach r0")
    secondary.await_status("Diskless", lambda s: s.disk == "Diskless")
    primary.await_status("peer Diskless", lambda s: s.peer_disk == "Diskless")
    primary.write(1 << 20, b"detached" * 512)
    secondary.drbdadm("attach r0")
    pair.synced()
    assert secondary.disk.read(1 << 20, 4096) == b"detached" * 512
    pair.compare()
