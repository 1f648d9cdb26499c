"""Meta data of several resources in the slots of one device."""

import pytest

pytestmark = pytest.mark.feature("Meta data: slots of one external device")

MIB = 1 << 20


def configuration(pair):
    def host(machine, number, disk):
        return (f"  on {machine.name} {{ device /dev/drbd{number}; disk {disk}; meta-disk /dev/sdd1[{number}];\n"
                f"    address {machine.address}:{7788 + number}; }}\n")

    text = "global { usage-count no; }\ncommon { disk { resync-rate 400M; c-plan-ahead 0; } net { connect-int 3; } }\n"
    for number, disk in enumerate(("/dev/sdb1", "/dev/sde1")):
        hosts = "".join(host(machine, number, disk) for machine in pair.machines)
        text += f"resource r{number} {{\n{hosts}}}\n"
    return text


@pytest.fixture
def slots(pair, add_disk):
    """Blank disks, and a configuration with the meta data of both resources on /dev/sdd1."""
    pair.fresh()
    pair.configure(configuration(pair))
    for machine in pair.machines:
        add_disk(machine, "sdd1", 256 * MIB)
        add_disk(machine, "sde1", 32 * MIB)
    return pair


def both_synced(pair):
    for machine in pair.machines:
        for minor in (0, 1):
            machine.await_status(f"minor {minor} UpToDate on both", lambda s: (s.cs, s.disk, s.peer_disk) == (
                "Connected", "UpToDate", "UpToDate"), minor=minor)


def test_two_resources_with_slots_of_one_device(slots):
    for machine in slots.machines:
        machine.drbdadm("create-md r0")
        machine.drbdadm("up r0")
        # While the other slot is in use; its meta data are data that somebody has to answer for (meta data 15.6).
        assert "successfully created" in machine.drbdadm("-- --force create-md r1").output
        machine.drbdadm("up r1")
        assert len(machine.processes("duplexd")) == 2
    slots.left.drbdadm("-- --overwrite-data-of-peer primary all")
    both_synced(slots)
    for minor in (0, 1):
        slots.left.write(1 * MIB, bytes([minor + 1]) * 4096, device=f"/dev/drbd{minor}")
    # Each has its own meta data: both come back alone and know what they knew.
    slots.left.drbdadm("secondary all")
    identifiers = [slots.left.drbdadm(f"get-gi r{minor}").output for minor in (0, 1)]
    for machine in slots.machines:
        machine.drbdadm("down all")
    assert identifiers[0].split(":")[0] != identifiers[1].split(":")[0]
    for minor in (0, 1):
        stored = slots.left.drbdadm(f"get-gi r{minor}").output
        assert stored.split(":")[0] == identifiers[minor].split(":")[0]
    for machine in slots.machines:
        machine.drbdadm("up all")
    both_synced(slots)
    slots.right.drbdadm("primary all")
    for minor in (0, 1):
        assert slots.right.read(1 * MIB, 4096, device=f"/dev/drbd{minor}") == bytes([minor + 1]) * 4096


def test_a_slot_has_one_owner_and_a_slot_is_not_the_device(slots):
    node = slots.left
    node.drbdadm("create-md r0")
    node.drbdadm("up r0")
    node.drbdsetup("new-resource r1")
    node.drbdsetup("new-minor r1 1 0")
    taken = node.drbdsetup("attach 1 /dev/sde1 /dev/sdd1 0", check=False)
    assert taken.status == 10 and "cannot lock slot 0 of /dev/sdd1: in use by another process" in taken.output, taken.output
    whole = node.drbdsetup("attach 1 /dev/sde1 /dev/sdd1 flexible", check=False)
    assert whole.status == 10 and "cannot lock /dev/sdd1: in use by another process" in whole.output, whole.output
    create = node.run("drbdmeta 1 v08 /dev/sdd1 internal create-md", check=False)
    assert create.status == 20 and "Exclusive open failed. Do it anyways?" in create.output, create.output
    # Nor is a device that belongs to somebody a meta disk.
    node.drbdadm("down all")
    node.run("mkfs.ext4 -q /dev/sdd1 && mkdir -p /mnt/meta && mount /dev/sdd1 /mnt/meta")
    try:
        node.drbdsetup("new-resource r1")
        node.drbdsetup("new-minor r1 1 0")
        mounted = node.drbdsetup("attach 1 /dev/sde1 /dev/sdd1 1", check=False)
        assert mounted.status == 10 and "cannot open /dev/sdd1: in use (mounted" in mounted.output, mounted.output
    finally:
        node.run("umount /mnt/meta")
