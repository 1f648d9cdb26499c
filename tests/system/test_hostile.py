"""Peers that send nonsense: the connection is dropped, a line is logged, nothing on the disk changes, the process lives."""

import hashlib
import os
import random
import struct

import pytest

from lab import hostile
from lab.compare import data_area_bytes, read_direct
from lab.disk import Disk
from lab.hostile import Peer, header80, packet
from lab.node import Node
from lab.process import LabError, await_until

pytestmark = pytest.mark.feature("Connection: hostile peers", arrangement="alone")

SIZE = 130992  # sectors of the 64 MiB disk's data area


@pytest.fixture(scope="module")
def scene(machines):
    """left runs Duplex, alone; the peer's machine is there, but what speaks from it is made by hand."""
    machines.mirrored()
    machines.left.write(1 << 20, random.Random(1).randbytes(1 << 20))
    machines.left.drbdadm("secondary r0")
    machines.synced()
    machines.right.drbdadm("down r0")
    yield machines
    machines.right.drbdadm("up r0")
    for machine in machines.machines:
        if machine.status().cs == "StandAlone":
            machine.drbdadm("connect r0")
    machines.synced()
    machines.compare()


@pytest.fixture
def target(scene, request):
    """The node under test, waiting for its peer; afterwards nothing may have happened to it."""
    left = scene.left
    if not left.processes("duplexd"):
        left.drbdadm("up r0")  # an earlier case killed it, and has failed for that
        left.await_connection("WFConnection")
    left.drbdadm("disconnect r0", check=False)
    left.await_connection("StandAlone")
    left.drbdadm("connect r0")
    left.await_connection("WFConnection")
    pids = left.processes("duplexd")
    before = digest(left)
    generations = left.drbdadm("get-gi r0").output.split(":")[:4]
    yield left
    assert left.processes("duplexd") == pids, "the process died"
    left.await_connection("WFConnection", "StandAlone", "Unconnected", limit_s=20)
    assert digest(left) == before, "the data area changed"
    assert left.drbdadm("get-gi r0").output.split(":")[:4] == generations
    status = left.status()
    assert (status.role, status.disk, status.oos) == ("Secondary", "UpToDate", 0), status


def digest(machine):
    return hashlib.sha256(read_direct(machine.backing_file, 0, data_area_bytes(machine.backing_file))).hexdigest()


@pytest.fixture
def peer(scene, target):
    peer = Peer(scene.right, target)
    yield peer
    peer.close()


# Before authentication. Each case: what is sent on a fresh socket.
FIRST_BYTES = {
    "random bytes": random.Random(2).randbytes(4096),
    "half a header": header80(0xFFF2, 0)[:5],
    "a wrong magic": struct.pack(">IHH", 0x12345678, 0xFFF2, 0),
    "another packet": header80(0x0B, 0),
    "an initial packet with a length": header80(0xFFF2, 4) + b"abcd",
    "a large length": header80(0xFFF2, 0xFFFF),
    "a header of the later kind": packet(0xFFF2),
    "a browser": b"GET / HTTP/1.1\r\nHost: proxmox-105\r\n\r\n",
}


@pytest.mark.parametrize("name", FIRST_BYTES)
def test_first_packet(target, peer, name):
    before = whole_disk(target)
    peer.data = peer.connect()
    peer.data.sendall(FIRST_BYTES[name])
    peer.await_closed()
    assert whole_disk(target) == before, "meta data or data changed"


def whole_disk(machine):
    return hashlib.sha256(read_direct(machine.backing_file, 0, machine.disk.size_bytes)).hexdigest()


FEATURES = {
    "another packet": packet(0x10, os.urandom(64)),
    "a wrong length": header80(0xFFFE, 71) + bytes(71),
    "a long length": header80(0xFFFE, 0xFFFF) + bytes(1000),
    "versions too new": hostile.features(110, 120),
    "versions too old": hostile.features(80, 90),
    "minimum above maximum": hostile.features(101, 86),
    "random bytes": random.Random(3).randbytes(2000),
}


@pytest.mark.parametrize("name", FEATURES)
def test_features(target, peer, name):
    mark = target.log_mark()
    before = whole_disk(target)
    peer.open_pair()
    with_limit(peer, lambda: peer.exchange_features(FEATURES[name]))
    peer.await_closed()
    target.await_log(r"drbd", mark)
    assert whole_disk(target) == before


def with_limit(peer, action):
    """The node may answer or close in the middle of it: both are right, waiting for ever is not."""
    try:
        return action()
    except (LabError, ConnectionError):
        return None


AUTHENTICATION = {
    "a short challenge": lambda peer: peer.data.sendall(packet(hostile.P_AUTH_CHALLENGE, os.urandom(63))),
    "a long challenge": lambda peer: peer.data.sendall(packet(hostile.P_AUTH_CHALLENGE, os.urandom(129))),
    "a huge challenge": lambda peer: peer.data.sendall(packet(hostile.P_AUTH_CHALLENGE, b"", length=0xFFFFFFFF)),
    "no challenge but the protocol": lambda peer: peer.data.sendall(packet(hostile.P_PROTOCOL, bytes(25))),
    "no challenge but data": lambda peer: peer.data.sendall(packet(hostile.P_DATA, bytes(24 + 4096))),
    "its own challenge": lambda peer: peer.data.sendall(packet(hostile.P_AUTH_CHALLENGE, peer.receive_packet()[2])),
    "a wrong pad": lambda peer: peer.data.sendall(packet(hostile.P_AUTH_CHALLENGE, os.urandom(64), pad=1)),
    "an unknown packet": lambda peer: peer.data.sendall(packet(0x101, b"")),
}


@pytest.mark.parametrize("name", AUTHENTICATION)
def test_authentication(target, peer, name):
    mark = target.log_mark()
    before = whole_disk(target)
    peer.open_pair()
    peer.exchange_features()
    with_limit(peer, lambda: AUTHENTICATION[name](peer))
    peer.await_closed()
    target.await_log(r"drbd", mark)
    assert whole_disk(target) == before


def test_wrong_secret(target, peer):
    mark = target.log_mark()
    before = whole_disk(target)
    peer.secret = b"guess"
    peer.open_pair()
    peer.exchange_features()
    with_limit(peer, peer.authenticate)
    peer.await_closed()
    target.await_log("Authentication of peer failed", mark)
    target.await_connection("StandAlone")
    assert whole_disk(target) == before


def test_silence_keeps_nobody_out(target, scene):
    """A handful of sockets that say nothing: the real peer still gets in."""
    silent = [Peer(scene.right, target) for _ in range(8)]
    for peer in silent:
        with_limit(peer, peer.connect)
    peer = Peer(scene.right, target)
    try:
        deadline_tries(peer)
    finally:
        for one in silent + [peer]:
            one.close()


def deadline_tries(peer):
    """A peer tries again when its sockets are refused, as every node does; half-open ones have their time-out."""

    def logged_in():
        try:
            peer.log_in()
            return True
        except (LabError, OSError):
            peer.close()
            return False

    await_until(logged_in, "the real peer gets in", limit_s=30, interval_s=0.2)


def uuids_of(machine):
    return [int(text, 16) for text in machine.drbdadm("get-gi r0").output.split(":")[:4]]


AFTER_AUTHENTICATION = {
    "an unknown packet": packet(0x37),
    "an unknown packet of the old optional range": packet(0x101),
    "a wrong magic": struct.pack(">IHHII", 0x83740267, 0, 0, 0, 0),
    "a wrong pad": packet(hostile.P_STATE, bytes(4), pad=7),
    "a wrong length": packet(hostile.P_STATE, bytes(5)),
    "the protocol of another kind": packet(hostile.P_PROTOCOL, struct.pack(">IIIIII", 1, 0, 0, 0, 0, 0) + b"\0"),
    "a protocol that does not exist": packet(hostile.P_PROTOCOL, struct.pack(">IIIIII", 77, 0, 0, 0, 0, 0) + b"\0"),
    "a protocol with a long name": packet(hostile.P_PROTOCOL, struct.pack(">IIIIII", 3, 0, 0, 0, 0, 0) + b"x" * 500),
    "random bytes": random.Random(4).randbytes(5000),
}


@pytest.mark.parametrize("name", AFTER_AUTHENTICATION)
def test_after_authentication(target, peer, name):
    mark = target.log_mark()
    peer.log_in()
    with_limit(peer, lambda: peer.data.sendall(AFTER_AUTHENTICATION[name]))
    peer.await_closed()
    target.await_log(r"drbd", mark)


def data(sector, size, payload=None, flags=0x102, volume=0):
    body = bytes(size) if payload is None else payload
    return packet(hostile.P_DATA, struct.pack(">QQII", sector, 1, 1, flags) + body, volume)


def block_request(command, sector, size):
    return packet(command, struct.pack(">QQII", sector, 0xFFFFFFFFFFFFFFFF, size, 0))


CONNECTED = {
    "a write beyond the end": data(SIZE - 1, 4096),
    "a write far beyond the end": data((1 << 63) - 8, 4096),
    "a write whose end wraps": data((1 << 64) - 8, 8192),
    "a write of no whole sectors": data(0, 4095),
    "a write of nothing": data(0, 0),
    "a write of 2 MiB": data(0, 2 << 20),
    "a write to another volume": data(0, 4096, volume=9),
    "a short write": packet(hostile.P_DATA, bytes(10)),
    "a length of 4 GiB": packet(hostile.P_DATA, bytes(24), length=0xFFFFFFFF),
    "a read beyond the end": block_request(hostile.P_DATA_REQUEST, SIZE, 4096),
    "a read of nothing": block_request(hostile.P_DATA_REQUEST, 0, 0),
    "a read of 3 GiB": block_request(hostile.P_DATA_REQUEST, 0, 3 << 30),
    "a resync request beyond the end": block_request(hostile.P_RS_DATA_REQUEST, SIZE + 8, 4096),
    "resync data nobody asked for": packet(hostile.P_RS_DATA_REPLY, struct.pack(">QQII", 0, (1 << 64) - 1, 0, 0) + bytes(4096)),
    "a discard that was not agreed": packet(hostile.P_TRIM, struct.pack(">QQIII", 0, 1, 1, 0x142, 4096)),
    "a ping on the data socket": packet(hostile.P_PING),
    "an unknown packet": packet(0x37),
    "a wrong pad": packet(hostile.P_PING, pad=1),
    "features once more": packet(0xFFFE, bytes(72)),
    "a barrier without writes": packet(hostile.P_BARRIER, bytes(8)),
    "a broken bitmap": packet(hostile.P_COMPRESSED_BITMAP, b"\xff" * 40),
    "a role that does not exist": packet(hostile.P_STATE, struct.pack(">I", 0x0000F0D3 | 3)),
    "random bytes": random.Random(5).randbytes(5000),
}
META = {
    "an ack for nothing": packet(hostile.P_WRITE_ACK, struct.pack(">QQII", 0, 1, 4096, 1)),
    "a barrier ack for nothing": packet(hostile.P_BARRIER_ACK, bytes(8)),
    "an unknown packet": packet(0x37),
    "a wrong length": packet(hostile.P_WRITE_ACK, bytes(23)),
    "data on the meta socket": data(0, 4096),
    "random bytes": random.Random(6).randbytes(500),
}


def test_introduction_is_accepted(target, peer):
    """The peer made by hand is one that gets connected: else the cases below would test nothing."""
    peer.introduce(uuids_of(target), SIZE)
    target.await_status("Connected", lambda s: (s.cs, s.peer_disk) == ("Connected", "UpToDate"))


@pytest.mark.parametrize("name", CONNECTED)
def test_connected(target, peer, name):
    peer.introduce(uuids_of(target), SIZE)
    target.await_connection("Connected")
    mark = target.log_mark()
    with_limit(peer, lambda: peer.data.sendall(CONNECTED[name]))
    peer.await_closed()
    target.await_log(r"drbd", mark)


@pytest.mark.parametrize("name", META)
def test_connected_meta_socket(target, peer, name):
    peer.introduce(uuids_of(target), SIZE)
    target.await_connection("Connected")
    mark = target.log_mark()
    with_limit(peer, lambda: peer.meta.sendall(META[name]))
    peer.await_closed()
    target.await_log(r"drbd", mark)


@pytest.mark.parametrize("cut", [3, 15, 17, 39, 40, 2000])
def test_truncated_write(target, peer, cut):
    """A write that ends in the middle, at every kind of place, leaves nothing behind."""
    peer.introduce(uuids_of(target), SIZE)
    target.await_connection("Connected")
    mark = target.log_mark()
    peer.data.sendall(data(2048, 4096, payload=b"\xaa" * 4096)[:cut])
    peer.close()
    target.await_log(r"drbd", mark)


class Stranger(Node):
    needs_binaries = False


def test_unexpected_address(target, scene):
    """The right bytes and the right secret from another address are not even answered."""
    stranger = Stranger("stranger", "10.0.7.99", scene.directory, scene.switch, Disk(os.path.join(scene.directory, "stranger.img"), 1 << 20))
    stranger.boot()
    try:
        mark = target.log_mark()
        before = whole_disk(target)
        peer = Peer(stranger, target)
        try:
            with pytest.raises((LabError, OSError)):
                peer.log_in()
        finally:
            peer.close()
        target.await_log(r"10\.0\.7\.99", mark)
        assert target.status().cs == "WFConnection"
        assert whole_disk(target) == before
    finally:
        stranger.close()
