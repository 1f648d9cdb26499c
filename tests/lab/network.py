"""A switch in a network namespace of its own; each machine's eth1 is plugged into it."""

import ctypes
import os
import socket
import subprocess

from .process import LabError, alive, await_until, run_local

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


DELAY_FRAMES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "delay_frames.py")


class Switch:
    """`ports` are names given by plug(). A machine that dies leaves the other machines' links as they are, as a real switch does."""

    def __init__(self, detached=False):
        prefix = [] if detached else ["setpriv", "--pdeathsig", "KILL"]
        self._process = subprocess.Popen(prefix + ["unshare", "--net", "sleep", "infinity"], stdin=subprocess.DEVNULL,
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        self.pid = self._process.pid
        self._delayer = None
        await_until(lambda: _other_network(self.pid) and _command_name(self.pid) == "sleep", "the switch's namespace exists")
        self.run("ip link set lo up && ip link add br0 type bridge forward_delay 0 && ip link set br0 up")

    def run(self, command):
        return run_local(["nsenter", "-t", str(self.pid), "--net", "sh", "-c", command])

    def plug(self, port, machine_pid, interface="eth1"):
        """A new cable between `port` and `interface` of the machine that machine_pid belongs to."""
        self.run(f"ip link delete {port} 2>/dev/null; "
                 f"ip link add {port} type veth peer name {interface} netns {machine_pid} && "
                 f"ip link set {port} master br0 && ip link set {port} up")

    def set_cable(self, port, plugged):
        self.run(f"ip link set {port} {'up' if plugged else 'down'}")

    def delay(self, first_port, second_port, most_ms):
        """From now on each frame between the two ports is late by up to most_ms, in order, and no other port is reached from
        them; 0 is the switch as it was. A port plugged in anew is not delayed."""
        if self._delayer is not None:
            self._delayer.kill()
            self._delayer.wait()
            self._delayer.stdout.close()
            self._delayer = None
        for port in (first_port, second_port):
            self.run(f"ip link set {port} {'nomaster' if most_ms else 'master br0'}")
        if most_ms:
            self._delayer = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "nsenter", "-t", str(self.pid), "--net", "/usr/bin/python3", DELAY_FRAMES,
                 first_port, second_port, str(most_ms)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            if self._delayer.stdout.readline() != b"ready\n":
                raise LabError("delay_frames.py does not pass frames")

    def close(self):
        if self._delayer is not None:
            self._delayer.kill()
            self._delayer.wait()
            self._delayer.stdout.close()
        if alive(self.pid):
            self._process.kill()
        self._process.wait()


def _command_name(pid):
    try:
        with open(f"/proc/{pid}/comm", encoding="ascii") as name:
            return name.read().strip()
    except FileNotFoundError:
        return ""


def _other_network(pid):
    try:
        return os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
    except FileNotFoundError:
        raise LabError(f"process {pid} is gone") from None


def socket_inside(pid):
    """A TCP socket that belongs to the network namespace of process `pid`; it stays there whoever uses it."""
    ours = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        theirs = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        try:
            _enter(theirs)
            try:
                return socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            finally:
                _enter(ours)
        finally:
            os.close(theirs)
    finally:
        os.close(ours)


def _enter(namespace_fd):
    if _libc.setns(namespace_fd, _CLONE_NEWNET) != 0:
        raise LabError(f"setns: {os.strerror(ctypes.get_errno())}")
