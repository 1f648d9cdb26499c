"""A peer made by hand, byte for byte, for tests of what a node does with bad ones (wire protocol 2 to 5)."""

import hashlib
import hmac
import os
import struct

from . import network
from .process import LabError

INITIAL_DATA = bytes.fromhex("83740267fff20000")
INITIAL_META = bytes.fromhex("83740267fff10000")
P_DATA, P_BARRIER, P_PROTOCOL, P_UUIDS, P_SIZES, P_STATE, P_SYNC_UUID = 0x00, 0x03, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F
P_DATA_REQUEST, P_RS_DATA_REQUEST, P_AUTH_CHALLENGE, P_AUTH_RESPONSE = 0x08, 0x09, 0x10, 0x11
P_STATE_CHG_REQ, P_PING, P_WRITE_ACK, P_BARRIER_ACK, P_SYNC_PARAM89, P_COMPRESSED_BITMAP = 0x12, 0x13, 0x16, 0x1C, 0x23, 0x24
P_BITMAP, P_TRIM, P_RS_DATA_REPLY, P_CONNECTION_FEATURES = 0x04, 0x31, 0x02, 0xFFFE


def header80(command, length):
    return struct.pack(">IHH", 0x83740267, command, length)


def packet(command, payload=b"", volume=0, length=None, pad=0):
    """A header100 packet; `length` lies about the payload when given."""
    return struct.pack(">IHHII", 0x8620EC20, volume, command, len(payload) if length is None else length, pad) + payload


def features(minimum=86, maximum=101, flags=0):
    return header80(P_CONNECTION_FEATURES, 72) + struct.pack(">III", minimum, flags, maximum) + bytes(60)


class Peer:
    """Speaks to `target` from the network of `machine` and with its address."""

    def __init__(self, machine, target, secret=b"my-secret"):
        self.machine = machine
        self.target = target
        self.secret = secret
        self.sockets = []
        self.data = None
        self.meta = None

    def connect(self, limit_s=5):
        connection = network.socket_inside(self.machine.holder)
        connection.settimeout(limit_s)
        try:
            connection.bind((self.machine.address, 0))
            connection.connect((self.target.address, 7788))
        except OSError:
            connection.close()
            raise
        self.sockets.append(connection)
        return connection

    def open_pair(self):
        self.data = self.connect()
        self.data.sendall(INITIAL_DATA)
        self.meta = self.connect()
        self.meta.sendall(INITIAL_META)

    def receive(self, size):
        """Exactly `size` bytes of the data socket; LabError when the node closes it first."""
        got = b""
        while len(got) < size:
            try:
                chunk = self.data.recv(size - len(got))
            except ConnectionError:
                chunk = b""
            if not chunk:
                raise LabError(f"{self.target.name} closed the connection after {len(got)} of {size} bytes")
            got += chunk
        return got

    def exchange_features(self, bytes_to_send=None):
        self.data.sendall(features() if bytes_to_send is None else bytes_to_send)
        header = self.receive(8)
        if header != header80(P_CONNECTION_FEATURES, 72):
            raise LabError(f"{self.target.name} sent {header.hex()} for its features")
        return self.receive(72)

    def receive_packet(self):
        magic, volume, command, length, _ = struct.unpack(">IHHII", self.receive(16))
        if magic != 0x8620EC20:
            raise LabError(f"{self.target.name} sent the magic {magic:#x}")
        return command, volume, self.receive(length)

    def authenticate(self):
        self.data.sendall(packet(P_AUTH_CHALLENGE, os.urandom(64)))
        command, _, challenge = self.receive_packet()
        if command != P_AUTH_CHALLENGE:
            raise LabError(f"{self.target.name} sent packet {command:#x} for its challenge")
        self.data.sendall(packet(P_AUTH_RESPONSE, hmac.digest(self.secret, challenge, hashlib.sha1)))
        command, _, _ = self.receive_packet()
        if command != P_AUTH_RESPONSE:
            raise LabError(f"{self.target.name} sent packet {command:#x} for its response")

    def log_in(self):
        self.open_pair()
        self.exchange_features()
        self.authenticate()

    def introduce(self, uuids, size_sectors):
        """The packets after authentication: an UpToDate Secondary with these UUIDs and this size."""
        self.log_in()
        self.data.sendall(
            packet(P_PROTOCOL, struct.pack(">IIIIII", 3, 0, 0, 0, 0, 0) + b"\0")
            + packet(P_SYNC_PARAM89, struct.pack(">I128sIIII", 250, b"", 0, 10, 0, 102400))
            + packet(P_SIZES, struct.pack(">QQQIHH", size_sectors, 0, size_sectors, 4096, 0, 0))
            + packet(P_UUIDS, struct.pack(">QQQQQQ", *uuids, 0, 0))
            + packet(P_STATE, struct.pack(">I", 2 | 8 << 4 | 8 << 9 | 6 << 13)))

    def await_closed(self, limit_s=20):
        """Until the node has closed the data socket (what it still sends is read and thrown away)."""
        self.data.settimeout(limit_s)
        try:
            while self.data.recv(65536):
                pass
        except ConnectionError:
            pass

    def close(self):
        for connection in self.sockets:
            connection.close()
        self.sockets = []
