"""/dev/drbd0: there from the minor's creation until `down`; of use on a Primary only."""

import re

import pytest

from lab.machine import pattern

pytestmark = pytest.mark.feature("Device node")


def exists(machine):
    return machine.run("test -b /dev/drbd0", check=False).status == 0


def test_exists_from_new_minor_to_down(pair):
    pair.fresh()
    machine = pair.left
    assert not exists(machine)
    machine.drbdadm("create-md r0")
    machine.drbdsetup("new-resource r0")
    assert not exists(machine)
    machine.drbdsetup("new-minor r0 0 0")
    assert exists(machine), "right after new-minor, before any disk"
    machine.drbdadm("attach r0")
    assert exists(machine)
    assert machine.status().role == "Secondary"
    machine.drbdadm("down r0")
    assert not exists(machine)


def test_secondary_reads_and_writes_fail(pair):
    primary, secondary = pair.mirrored()
    size = int(primary.run("blockdev --getsize64 /dev/drbd0").output)
    assert size == 65496 * 1024
    assert exists(secondary)
    for command in ("dd if=/dev/drbd0 of=/dev/null bs=4096 count=1 iflag=direct status=none",
                    "dd if=/dev/zero of=/dev/drbd0 bs=4096 count=1 oflag=direct conv=notrunc status=none",
                    "mkdir -p /mnt/x && mount /dev/drbd0 /mnt/x"):
        assert secondary.run(command, check=False).status != 0, command
    primary.write(0, pattern(1, 4096))
    # Roles change: what could not be used can, and the other way round.
    primary.drbdadm("secondary r0")
    assert primary.run("dd if=/dev/zero of=/dev/drbd0 bs=4096 count=1 oflag=direct conv=notrunc status=none", check=False).status != 0
    secondary.drbdadm("primary r0")
    assert secondary.read(0, 4096) == pattern(1, 4096)
    secondary.write(4096, pattern(2, 4096))
    pair.compare()


def test_demotion_is_refused_while_in_use(pair):
    primary, _ = pair.mirrored()
    primary.run("mkfs.ext4 -q /dev/drbd0 && mkdir -p /mnt/x && mount /dev/drbd0 /mnt/x")
    refused = primary.drbdadm("secondary r0", check=False)
    assert refused.status == 11, refused
    assert "(-12) Device is held open by someone" in refused.output
    assert primary.status().role == "Primary"
    assert primary.drbdadm("down r0", check=False).status != 0
    primary.run("echo still writable >/mnt/x/file && sync -f /mnt/x && umount /mnt/x")
    primary.drbdadm("secondary r0")
    pair.compare()


def test_status_file_is_live(pair):
    """Every read of the file gives the state of that moment, also through one open file."""
    primary, secondary = pair.mirrored()
    path = f"/proc/{primary.holder}/root/run/duplex/proc/drbd"
    with open(path, encoding="utf-8") as file:
        before = file.read()
        assert "ro:Primary/Secondary" in before
        primary.drbdadm("secondary r0")
        file.seek(0)
        assert "ro:Secondary/Secondary" in file.read()
    secondary.drbdadm("disconnect r0")
    secondary.await_connection("StandAlone")
    assert re.search(r"^ 0: cs:StandAlone ", secondary.run("cat /run/duplex/proc/drbd").output, re.M)
    assert secondary.run("grep -c cs: /run/duplex/proc/drbd").output == "1\n"
