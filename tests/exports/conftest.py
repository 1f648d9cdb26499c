"""Exports of a volume in memory (exports-test-server), met by real clients."""

import json
import os
import select
import shutil
import subprocess
import tempfile
import time

import pytest

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARIES = os.environ.get("DUPLEX_BIN_DIR", os.path.join(REPOSITORY, "build/release/bin"))
MIB = 1 << 20
ARRANGEMENT = "alone"


class Server:
    """The server process, commanded over its stdin. Every wait has a limit."""

    def __init__(self, directory, size_bytes, device=None, wrapper=(), **settings):
        self.directory = directory
        self.device = device
        self.size_bytes = size_bytes
        self.log_path = os.path.join(directory, "log")
        arguments = [f"{key}={value}" for key, value in settings.items()]
        if device is not None:
            arguments.append(f"device={device}")
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*wrapper, os.path.join(BINARIES, "exports-test-server"), directory, "0", str(size_bytes),
                 f"fuse={int(device is not None)}", *arguments],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        assert self.answer(20) == "ready", self.log()

    def answer(self, limit_s=10):
        readable, _, _ = select.select([self.process.stdout], [], [], limit_s)
        assert readable, f"no answer within {limit_s} s; log:\n{self.log()}"
        return self.process.stdout.readline().decode().rstrip("\n")

    def ask(self, command, limit_s=10):
        self.send(command)
        return self.answer(limit_s)

    def send(self, command):
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()

    def primary(self):
        assert self.ask("primary") == "ok"
        if self.device is not None:
            assert self.ask("settled") == "ok"

    def secondary(self):
        assert self.ask("secondary") == "ok"
        if self.device is not None:
            assert self.ask("settled") == "ok"

    def counters(self):
        return json.loads(self.ask("counters"))

    def openers(self):
        return [who for who in self.ask("openers").split("; ") if who]

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    @property
    def socket(self):
        return os.path.join(self.directory, "nbd", "r0-0.sock")

    @property
    def fuse_file(self):
        return os.path.join(self.directory, "fuse", "drbd0")

    def uri(self, name=""):
        return f"nbd+unix:///{name}?socket={self.socket}"

    def stop(self):
        if self.process.poll() is None:
            self.send("stop")
            assert self.answer(20) == "stopped", self.log()
        status = self.process.wait(20)
        assert status == 0, f"ended with {status}; log:\n{self.log()}"

    def kill(self):
        self.process.kill()
        self.process.wait(20)


def run(*command, check=True, limit_s=40, text=True, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit_s, text=text, **options)
    assert not check or done.returncode == 0, f"{' '.join(command)}: status {done.returncode}\n{done.stdout}"
    return done


def await_until(condition, what, limit_s=10):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit_s} s: {what}"
        time.sleep(0.01)


@pytest.fixture
def directory():
    # Not pytest's own folder: a Unix socket's path is short.
    path = tempfile.mkdtemp(prefix="duplex-exports-", dir="/var/tmp")
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def device():
    path = f"/dev/drbd-test-{os.getpid()}"
    yield path
    assert not os.path.lexists(path), f"{path} was left behind"


@pytest.fixture
def start(directory, device):  # device: looked at only after the servers have stopped
    """start(size_bytes, ...) -> a Server that is stopped, and must stop in order, at the end of the test."""
    servers = []

    def start_server(size_bytes=64 * MIB, primary=True, **settings):
        server = Server(directory, size_bytes, **settings)
        servers.append(server)
        if primary:
            server.primary()
        return server

    yield start_server
    for server in servers:
        if server.process.returncode is None:
            server.stop()


@pytest.fixture
def aside():
    """Command prefix for a mount namespace of the test's own: what is mounted in the machine's is copied, and so kept in
    use, by every namespace that somebody makes meanwhile."""
    with subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo; exec sleep 600"],
                          stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        yield ("nsenter", "-t", str(holder.pid), "--mount")
        holder.kill()
