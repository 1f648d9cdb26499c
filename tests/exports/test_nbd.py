"""The NBD server, met by libnbd, by clients written by hand, and by programs people use."""

import os
import random
import signal
import socket
import struct
import subprocess

import nbd
import pytest

from .conftest import MIB, await_until, run

pytestmark = pytest.mark.feature("Block device: clients", export="NBD")

HANDSHAKE_FLAGS = struct.pack(">I", 3)


def connect(server, name="", structured=True, strict=True):
    client = nbd.NBD()
    client.set_request_structured_replies(structured)
    client.set_export_name(name)
    if not strict:
        client.set_strict_mode(0)
    client.connect_unix(server.socket)
    return client


def error_of(call, *arguments, **options):
    with pytest.raises(nbd.Error) as caught:
        call(*arguments, **options)
    return caught.value.errno or str(caught.value)


class Raw:
    """A client that says what it likes, from the end of the handshake on."""

    def __init__(self, server, structured=False, handshake=True):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(server.socket)
        assert self.take(18)[:16] == b"NBDMAGICIHAVEOPT"
        if not handshake:
            return
        self.socket.sendall(HANDSHAKE_FLAGS)
        if structured:
            self.option(8, b"")
            assert struct.unpack(">QIII", self.take(20))[2] == 1
        self.option(1, b"")
        self.take(10)

    def option(self, number, data, length=None):
        self.socket.sendall(b"IHAVEOPT" + struct.pack(">II", number, len(data) if length is None else length) + data)

    def request(self, command, offset, length, flags=0, cookie=7, magic=0x25609513):
        self.socket.sendall(struct.pack(">IHHQQI", magic, flags, command, cookie, offset, length))

    def reply(self, payload_bytes=0):
        magic, error, cookie = struct.unpack(">IIQ", self.take(16))
        assert magic == 0x67446698 and cookie == 7
        return error, self.take(payload_bytes) if error == 0 else b""

    def take(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            assert part, f"closed after {len(data)} of {count} bytes"
            data += part
        return data

    def is_closed(self):
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


# ---- the handshake


@pytest.mark.parametrize("name", ["", "r0/0", "drbd0"])
def test_names(start, name):
    server = start()
    client = connect(server, name)
    assert client.get_size() == server.size_bytes
    assert not client.is_read_only()
    for can in (client.can_flush, client.can_fua, client.can_trim, client.can_zero, client.can_multi_conn, client.can_df):
        assert can()
    assert [client.get_block_size(which) for which in (0, 1, 2)] == [512, 4096, MIB]
    client.shutdown()


def test_other_names_are_refused(start):
    server = start()
    assert error_of(connect, server, "r1/0") is not None
    assert server.openers() == []


def test_list_and_info(start):
    server = start()
    assert "r0/0" in run("nbdinfo", "--list", server.uri()).stdout
    assert run("nbdinfo", "--size", server.uri("r0/0")).stdout.strip() == str(server.size_bytes)
    assert server.openers() == []


def test_tls_is_not_offered(start):
    server = start()
    client = nbd.NBD()
    client.set_tls(nbd.TLS_REQUIRE)
    assert error_of(client.connect_unix, server.socket) is not None


def test_socket_is_for_root_only_and_replaces_a_stale_one(start, directory):
    os.mkdir(os.path.join(directory, "nbd"))
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(os.path.join(directory, "nbd", "r0-0.sock"))
    stale.close()
    server = start()
    assert os.stat(server.socket).st_mode & 0o777 == 0o600
    server.stop()
    assert not os.path.exists(server.socket)


def test_secondary_refuses_and_says_why(start):
    server = start(primary=False)
    assert error_of(connect, server) is not None
    assert "drbd0 is Secondary: promote first" in server.log()
    raw = Raw(server, handshake=False)
    raw.socket.sendall(HANDSHAKE_FLAGS)
    raw.option(7, struct.pack(">IH", 0, 0))
    _, option, kind, length = struct.unpack(">QIII", raw.take(20))
    assert (option, kind) == (7, 0x80000002)
    assert raw.take(length) == b"drbd0 is Secondary: promote first"
    server.primary()
    connect(server).shutdown()


def test_openers_are_named_and_forgotten(start):
    server = start()
    client = connect(server)
    assert server.openers() == [f"{open('/proc/self/comm').read().strip()}[{os.getpid()}] via NBD"]
    with subprocess.Popen(["qemu-io", "-f", "raw", server.uri()], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as qemu:
        await_until(lambda: any(who.startswith(f"qemu-io[{qemu.pid}]") for who in server.openers()), "named opener")
        qemu.send_signal(signal.SIGKILL)
    await_until(lambda: len(server.openers()) == 1, "the killed opener is gone")
    client.shutdown()
    await_until(lambda: server.openers() == [], "all openers are gone")


# ---- requests


def pattern(size, seed):
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize("structured", [True, False])
@pytest.mark.parametrize("limits", [{}, {"requests": 5, "arena_mib": 1, "delay_ms": 3}], ids=["plenty", "scarce"])
def test_random_requests_keep_their_data(start, structured, limits):
    """Many in flight on three connections, each on its own part of the device."""
    server = start(12 * MIB, seed=3, **limits)
    part = 4 * MIB
    clients = [connect(server, structured=structured) for _ in range(3)]
    models = [bytearray(part) for _ in clients]
    draw = random.Random(11)
    for _ in range(40):
        for number, client in enumerate(clients):
            batch = []
            for _ in range(draw.randrange(1, 24)):
                size = draw.choice([512, 4096, 4096, 16384, 65536, 300 * 512])
                at = draw.randrange(0, (part - size) // 512 + 1) * 512
                if not any(at < end and begin < at + size for begin, end, _, _ in batch):
                    batch.append((at, at + size, *begin_one(client, number * part, models[number], at, size, draw)))
            for begin, end, finish, _ in batch:
                while not client.aio_command_completed(finish[0]):
                    client.poll(10_000)
                if finish[1] is not None:
                    assert finish[1].to_bytearray() == models[number][begin:end]
    for number, client in enumerate(clients):
        client.flush()
        assert client.pread(MIB, number * part) == models[number][:MIB]
        client.shutdown()
    counters = server.counters()
    assert counters["out"] == 0
    assert min(counters[kind] for kind in ("reads", "writes", "flushes", "discards", "write_zeroes", "fua")) > 0
    assert bool(limits) == (counters["no_room"] > 0)


def begin_one(client, base, model, at, size, draw):
    kind = draw.choice(["read", "read", "write", "write", "write", "zero", "trim"])
    if kind == "read":
        buffer = nbd.Buffer(size)
        return (client.aio_pread(buffer, base + at), buffer), kind
    if kind == "write":
        data = draw.randbytes(size)
        model[at:at + size] = data
        flags = draw.choice([0, nbd.CMD_FLAG_FUA])
        return (client.aio_pwrite(nbd.Buffer.from_bytearray(data), base + at, flags=flags), None), kind
    model[at:at + size] = bytes(size)
    call = client.aio_zero if kind == "zero" else client.aio_trim
    return (call(size, base + at), None), kind


@pytest.mark.parametrize("structured", [True, False])
def test_requests_larger_than_the_engine_takes(start, structured):
    server = start(256 * MIB, arena_mib=4)
    client = connect(server, structured=structured, strict=False)
    data = pattern(5 * MIB + 512, 1)
    client.pwrite(data, 3 * 512)
    assert client.pread(len(data), 3 * 512) == data
    client.zero(200 * MIB, MIB)
    assert client.pread(8 * MIB, 0) == bytes(3 * 512) + data[:MIB - 3 * 512] + bytes(7 * MIB)
    assert server.counters()["write_zeroes"] == 2
    client.shutdown()


def test_a_large_write_that_fails_keeps_the_stream_in_step(start):
    server = start(64 * MIB)
    client = connect(server, strict=False)
    server.ask("error 28")
    assert error_of(client.pwrite, pattern(4 * MIB, 1), 0) == "ENOSPC"
    server.ask("error 0")
    client.pwrite(pattern(4 * MIB, 2), 0)
    assert client.pread(4 * MIB, 0) == pattern(4 * MIB, 2)
    client.shutdown()


@pytest.mark.parametrize("structured", [True, False])
def test_errors(start, structured):
    server = start(8 * MIB)
    end = server.size_bytes
    client = connect(server, structured=structured, strict=False)
    assert error_of(client.pread, 512, end) == "EINVAL"
    assert error_of(client.pwrite, bytes(1024), end - 512) == "ENOSPC"
    assert error_of(client.zero, 1024, end - 512) == "ENOSPC"
    assert error_of(client.trim, 1024, end - 512) == "EINVAL"
    assert error_of(client.pread, 512, (1 << 64) - 512) == "EINVAL"
    assert error_of(client.pread, 100, 0) == "EINVAL"
    assert error_of(client.pwrite, bytes(512), 100) == "EINVAL"
    assert error_of(client.cache, 512, 0) == "EINVAL"
    for number, name in ((5, "EIO"), (28, "ENOSPC"), (61, "EIO"), (95, "ENOTSUP")):
        server.ask(f"error {number}")
        assert error_of(client.pwrite, bytes(4096), 0) == name
        assert error_of(client.flush) == name
    server.ask("error 0")
    server.ask("discard 0")
    assert error_of(client.trim, 4096, 0) == "ENOTSUP"
    if structured:
        assert error_of(client.pread, 2 * MIB, 0, flags=nbd.CMD_FLAG_DF) == "EOVERFLOW"
    server.secondary()
    assert error_of(client.pread, 512, 0) == "EPERM"
    assert error_of(client.pwrite, bytes(512), 0) == "EPERM"
    client.shutdown()
    await_until(lambda: server.counters()["out"] == 0, "requests are given back")


def test_a_read_that_fails_after_its_simple_reply_began_ends_the_connection(start):
    server = start(64 * MIB)
    raw = Raw(server)
    raw.request(0, 0, 8 * MIB)
    raw.take(16 + 4096)
    server.ask("error 5")
    with pytest.raises(AssertionError, match="closed"):
        raw.take(8 * MIB)
    assert "failed after its first part had been sent" in server.log()


def test_zeroes_are_written_where_the_volume_cannot_zero(start):
    server = start(64 * MIB, arena_mib=4)
    server.ask("zero 0")
    client = connect(server)
    client.pwrite(b"x" * MIB, 0)
    client.pwrite(b"x" * MIB, 9 * MIB)
    client.zero(9 * MIB + 512, 512)
    assert client.pread(MIB, 0) == b"x" * 512 + bytes(MIB - 512)
    assert client.pread(MIB, 9 * MIB) == bytes(1024) + b"x" * (MIB - 1024)
    counters = server.counters()
    assert (counters["write_zeroes"], counters["writes"], counters["out"]) == (0, 2 + 10, 0)
    client.shutdown()


# ---- clients that do wrong


def test_wrong_requests_are_answered(start):
    server = start()
    raw = Raw(server)
    for command, offset, length, flags in ((9, 0, 512, 0), (0, 0, 512, 0x8000), (0, 0, 512, 4), (0, 0, 0, 0), (3, 512, 0, 0),
                                           (0, 0, 0xfffffe00, 0), (1, 0, 0, 0), (5, 0, 512, 0), (7, 0, 512, 0)):
        raw.request(command, offset, length, flags)
        assert raw.reply() == (22, b"")
    raw.request(1, 100, 512)
    raw.socket.sendall(bytes(512))
    assert raw.reply() == (22, b"")
    raw.request(0, 0, 512)
    assert raw.reply(512) == (0, bytes(512))
    assert server.log().count("refused") == 5 and "no more of these are logged" in server.log()


def test_structured_errors_say_why(start):
    server = start()
    raw = Raw(server, structured=True)
    raw.request(0, 100, 512)
    magic, flags, kind, cookie, length = struct.unpack(">IHHQI", raw.take(20))
    assert (magic, flags, kind, cookie) == (0x668e33ef, 1, 0x8001, 7)
    code, text_bytes = struct.unpack(">IH", raw.take(6))
    assert (code, length) == (22, 6 + text_bytes)
    assert raw.take(text_bytes) == b"Invalid argument"


def test_broken_streams_end_their_connection_only(start):
    server = start(8 * MIB)
    good = connect(server)
    wrong_magic = Raw(server)
    wrong_magic.request(0, 0, 512, magic=0x12345678)
    assert wrong_magic.is_closed()
    too_long = Raw(server)
    too_long.request(1, 0, 33 * MIB)
    assert too_long.is_closed()
    garbage = Raw(server, handshake=False)
    garbage.socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert garbage.is_closed()
    options = Raw(server, handshake=False)
    options.socket.sendall(HANDSHAKE_FLAGS)
    options.option(3, b"", length=0xffffffff)
    assert options.is_closed()
    for bytes_sent in (1, 512, 20000, MIB - 1):
        half = Raw(server)
        half.request(1, 0, MIB)
        half.socket.sendall(b"x" * bytes_sent)
        half.socket.close()
    await_until(lambda: len(server.openers()) == 1 and server.counters()["out"] == 0, "given back")
    assert good.pread(MIB, 0) == bytes(MIB)
    for complaint in ("a request with the magic number 0x12345678", "a write of 34603008 bytes", "unknown handshake flags",
                      "option 3 with 4294967295 bytes"):
        assert complaint in server.log()
    good.shutdown()


@pytest.mark.parametrize("seed", range(3))
def test_noise_in_the_stream_harms_nobody_else(start, seed):
    """Valid requests with some bytes changed, sent and cut off anywhere."""
    server = start(8 * MIB, requests=16, arena_mib=2)
    good = connect(server)
    draw = random.Random(seed)
    for _ in range(60):
        stream = bytearray()
        for _ in range(draw.randrange(1, 12)):
            command, length = draw.choice([0, 1, 1, 3, 4, 6]), draw.choice([512, 4096, 70000, 1 << 20])
            stream += struct.pack(">IHHQQI", 0x25609513, 0, command, 7, draw.randrange(0, 9 * MIB, 512), length)
            if command == 1:
                stream += bytes(length)
        for _ in range(draw.randrange(0, 4)):
            stream[draw.randrange(0, min(len(stream), 200))] = draw.randrange(256)
        raw = Raw(server, structured=draw.random() < 0.5)
        raw.socket.settimeout(0.02)
        try:
            raw.socket.sendall(stream[:draw.randrange(1, len(stream) + 1)])
            raw.socket.recv(1 << 16)
        except OSError:
            pass
        raw.socket.close()
    await_until(lambda: len(server.openers()) == 1 and server.counters()["out"] == 0, "given back")
    assert len(good.pread(MIB, 0)) == MIB
    good.shutdown()


def test_a_client_that_does_not_read_holds_only_its_share(start):
    server = start(64 * MIB, arena_mib=32)
    lazy = Raw(server)
    for _ in range(100):
        lazy.request(0, 0, MIB)
    other = connect(server)
    for _ in range(50):
        assert other.pread(MIB, 0) == bytes(MIB)
    other.shutdown()
    for _ in range(100):
        assert lazy.reply(MIB) == (0, bytes(MIB))


def test_a_client_may_leave_while_it_waits_for_room(start):
    server = start(requests=1)
    server.ask("hold 1")
    first, second = Raw(server), Raw(server)
    first.request(3, 0, 0)
    await_until(lambda: server.counters()["out"] == 1, "the only request is taken")
    second.request(3, 0, 0)
    await_until(lambda: server.counters()["no_room"] > 0, "the second client waits")
    second.socket.close()
    await_until(lambda: len(server.openers()) == 1, "it is gone")
    server.ask("hold 0")
    assert first.reply() == (0, b"")


def test_so_many_clients_and_no_more(start):
    server = start()
    clients = [Raw(server) for _ in range(128)]
    with pytest.raises((AssertionError, ConnectionError)):
        Raw(server)
    assert "more than 128 clients" in server.log()
    clients.pop().socket.close()
    await_until(lambda: len(server.openers()) == 127, "one is gone")
    Raw(server)


def test_stop_finishes_what_was_taken(start):
    server = start()
    raw = Raw(server)
    server.ask("hold 1")
    raw.request(1, 4096, 512)
    raw.socket.sendall(b"y" * 512)
    raw.request(1, 8192, MIB)
    raw.socket.sendall(b"z" * 1000)  # and never the rest
    await_until(lambda: server.counters()["out"] == 2, "taken")
    server.stop()
    assert raw.reply() == (0, b"")
    assert raw.is_closed()


def test_disconnect_waits_for_replies(start):
    server = start()
    raw = Raw(server)
    server.ask("hold 1")
    raw.request(3, 0, 0)
    raw.request(2, 0, 0)
    await_until(lambda: server.counters()["out"] == 1, "taken")
    server.ask("hold 0")
    assert raw.reply() == (0, b"")
    assert raw.is_closed()
    await_until(lambda: server.openers() == [], "closed")


# ---- programs


def test_nbdcopy_there_and_back(start, directory):
    server = start(32 * MIB)
    source, copy = os.path.join(directory, "source"), os.path.join(directory, "copy")
    with open(source, "wb") as file:
        file.write(pattern(20 * MIB, 5) + bytes(12 * MIB))
    run("nbdcopy", "--connections=4", "--requests=32", source, server.uri())
    run("nbdcopy", "--connections=4", server.uri(), copy)
    run("cmp", source, copy)


def test_qemu_io(start):
    server = start()
    out = run("qemu-io", "-f", "raw", "-t", "none", "-c", "write -P 0x5a 1M 3M", "-c", "write -f -P 0x5b 4k 4k",
              "-c", "write -z -u 2M 1M", "-c", "discard 3M 64k", "-c", "read -P 0x5a 1M 1M", "-c", "read -P 0x5b 4k 4k",
              "-c", "read -P 0 2M 1088k", "-c", "read -P 0x5a 3136k 64k", "-c", "flush", server.uri()).stdout
    assert "Pattern verification failed" not in out and "error" not in out, out


def test_fio_verifies(start):
    server = start(delay_ms=1)
    run("fio", "--name=v", "--ioengine=nbd", f"--uri={server.uri()}", "--rw=randwrite", "--bsrange=512-256k", "--iodepth=32",
        "--size=32m", "--verify=crc32c", "--verify_state_save=0", "--verify_fatal=1", "--bs_unaligned=0", "--blockalign=512")
