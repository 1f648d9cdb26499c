"""Which writes a Primary remembers as possibly missing at the peer, by the barrier acks of a peer made by hand."""

import struct

import pytest

from lab import hostile
from lab.hostile import Peer, packet

pytestmark = pytest.mark.feature("Connection: barrier acks", arrangement="alone")

SIZE = 130992  # sectors of the 64 MiB disk's data area


@pytest.fixture
def primary(machines):
    """A Primary whose peer is gone."""
    machines.mirrored()
    machines.synced()
    machines.right.drbdadm("down r0")
    machines.left.await_connection("WFConnection")
    yield machines.left
    machines.left.await_connection("WFConnection")
    machines.right.drbdadm("up r0")
    machines.synced()
    machines.compare()


@pytest.fixture
def peer(machines, primary):
    peer = Peer(machines.right, primary)
    peer.introduce([int(text, 16) for text in primary.drbdadm("get-gi r0").output.split(":")[:4]], SIZE)
    primary.await_connection("Connected")
    yield peer
    peer.close()


def next_packet(peer, wanted):
    """The next packet of this kind, volume and payload; others are none of ours."""
    while True:
        command, volume, payload = peer.receive_packet()
        if command == wanted:
            return volume, payload


def epochs(primary, peer, count):
    """Writes one block after the other, each an epoch of its own; the barriers' numbers."""
    barriers = []
    for block in range(count):
        writing = primary.start(f"dd if=/dev/zero of=/dev/drbd0 bs=4k count=1 seek={block} oflag=direct conv=notrunc")
        _, payload = next_packet(peer, hostile.P_DATA)
        sector, block_id, seq, _ = struct.unpack(">QQII", payload[:24])
        peer.meta.sendall(packet(hostile.P_WRITE_ACK, struct.pack(">QQII", sector, block_id, 4096, seq)))
        assert writing.wait(10) == 0
        barriers.append(next_packet(peer, hostile.P_BARRIER)[1][:4])
    return barriers


def barrier_ack(number, writes=1):
    return packet(hostile.P_BARRIER_ACK, number + struct.pack(">I", writes))


@pytest.mark.parametrize("order", [[0, 1, 2], [1, 0, 2], [2, 1, 0], [2, 0], [1], []], ids=str)
def test_what_is_not_acknowledged_is_out_of_sync(primary, peer, order):
    """A kernel may acknowledge a later epoch first, when the last writes of the two were on different volumes."""
    barriers = epochs(primary, peer, 3)
    for index in order:
        peer.meta.sendall(barrier_ack(barriers[index]))
    # The answer says that all before it has been dealt with.
    peer.meta.sendall(packet(hostile.P_PING))
    assert peer.meta.recv(16, 0x100)[6:8] == b"\x00\x14", "P_PING_ACK"  # MSG_WAITALL
    assert primary.status().cs == "Connected"
    peer.close()
    primary.await_connection("WFConnection")
    primary.await_status("marked", lambda s: s.oos == 4 * (3 - len(order)))


def test_an_epoch_is_acknowledged_once(primary, peer):
    first, second = epochs(primary, peer, 2)
    mark = primary.log_mark()
    peer.meta.sendall(barrier_ack(second) + barrier_ack(second))
    peer.await_closed()
    primary.await_log("BAD! BarrierAck", mark)
    primary.await_status("marked", lambda s: s.oos == 4)


def test_the_writes_are_counted(primary, peer):
    (only,) = epochs(primary, peer, 1)
    mark = primary.log_mark()
    peer.meta.sendall(barrier_ack(only, 2))
    peer.await_closed()
    primary.await_log("BAD! BarrierAck.* n_writes=2, expected n_writes=1", mark)
    primary.await_status("marked", lambda s: s.oos == 4)
