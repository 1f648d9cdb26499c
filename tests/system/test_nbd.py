"""The NBD export of a volume, with other people's clients."""

import json
import os

import pytest

from lab.machine import pattern

pytestmark = pytest.mark.feature("Block device: clients", export="NBD")

nbd = pytest.importorskip("nbd")
SOCKET = "/run/duplex/nbd/r0-0.sock"
URI = f"nbd+unix:///?socket={SOCKET}"
SIZE = 65496 * 1024


def handle(machine):
    """libnbd, here, on the machine's socket."""
    client = nbd.NBD()
    client.connect_unix(f"/proc/{machine.holder}/root{SOCKET}")
    return client


def test_what_is_offered(pair):
    primary, _ = pair.mirrored()
    info = json.loads(primary.run(f"nbdinfo --json '{URI}'").output)
    export, = info["exports"]
    assert info["protocol"] == "newstyle-fixed" and info["structured"]
    assert export["export-size"] == SIZE
    assert not export["is_read_only"]
    for ability in ("can_flush", "can_fua", "can_trim", "can_zero", "can_multi_conn"):
        assert export[ability], ability
    assert export["block_size_minimum"] == 512


def test_libnbd_sees_what_the_device_wrote(pair):
    primary, secondary = pair.mirrored()
    client = handle(primary)
    client.pwrite(pattern("nbd", 65536), 1 << 20, nbd.CMD_FLAG_FUA)
    assert secondary.disk.read(1 << 20, 65536) == pattern("nbd", 65536)
    assert primary.read(1 << 20, 65536) == pattern("nbd", 65536)
    primary.write(2 << 20, pattern("device", 4096))
    assert bytes(client.pread(4096, 2 << 20)) == pattern("device", 4096)
    client.zero(65536, 1 << 20)
    client.trim(1 << 20, 4 << 20)
    client.flush()
    assert bytes(client.pread(65536, 1 << 20)) == bytes(65536)
    with pytest.raises(nbd.Error):
        client.pread(4096, SIZE)
    with pytest.raises(nbd.Error):
        client.set_strict_mode(0)
        client.pwrite(bytes(4096), SIZE - 512)
    client.shutdown()
    pair.synced()
    pair.compare()


def test_qemu(pair):
    primary, secondary = pair.mirrored()
    primary.run(f"qemu-io -f raw -c 'write -P 0x5a 0 1M' -c 'write -z 256k 64k' -c 'discard 512k 64k' -c flush "
                f"-c 'read -P 0x5a 0 256k' -c 'read -P 0 256k 64k' '{URI}'")
    assert secondary.disk.read(0, 4096) == b"\x5a" * 4096
    assert secondary.disk.read(256 * 1024, 65536) == bytes(65536)
    assert primary.run(f"qemu-img info --output=json '{URI}'").output.count(str(SIZE)) == 1
    pair.synced()
    pair.compare()


def test_fio_verify(pair):
    primary, _ = pair.mirrored()
    primary.run("fio --name=n --ioengine=nbd --uri='" + URI + "' --rw=randwrite --bs=4k --iodepth=16 --size=16m --verify=crc32c --verify_state_save=0 "
                "--do_verify=1 --verify_fatal=1", limit_s=120)
    pair.synced()
    pair.compare()


def test_secondary_refuses(pair):
    primary, secondary = pair.mirrored()
    assert secondary.run(f"nbdinfo '{URI}'", check=False).status != 0 or not works(secondary)
    primary.drbdadm("secondary r0")
    assert not works(primary)
    secondary.drbdadm("primary r0")
    assert works(secondary)


def works(machine):
    try:
        client = handle(machine)
        client.pread(4096, 0)
        client.shutdown()
        return True
    except nbd.Error:
        return False


def test_clients_do_not_outlive_the_resource(pair):
    primary, _ = pair.mirrored()
    client = handle(primary)
    refused = primary.drbdadm("secondary r0", check=False)
    assert refused.status == 11, refused
    client.shutdown()
    primary.drbdadm("secondary r0")
    primary.drbdadm("down r0")
    assert not os.path.exists(f"/proc/{primary.holder}/root{SOCKET}")
