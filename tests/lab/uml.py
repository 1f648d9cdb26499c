"""A User Mode Linux machine running the kernel's DRBD 8.4."""

import os
import re
import shutil
import signal
import socket
import subprocess

from . import network
from .machine import Machine
from .node import Node
from .process import LabError, Outcome, WaitExpired, await_until

INIT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "uml_init")
KERNEL = "/usr/bin/linux.uml"
DRBD_MODULES = ["crypto/hmac", "crypto/crc32c_generic", "crypto/md5", "lib/lru_cache", "drivers/block/drbd/drbd"]
_TRAILER = re.compile(rb"\n\x1e(\d+)\x1e$")


class KernelNode(Node):
    """The outer Node has only the power and the network: the kernel runs in its pid and network namespaces, on this machine's
    files. Its eth1 is bridged to the kernel's vec0; commands go over a second interface, so they work with the cable pulled."""

    kind = "kernel"
    version = None  # once one has booted
    needs_binaries = False
    proc_command = "cat /proc/drbd"
    modules = DRBD_MODULES

    def __init__(self, name, address, state_directory, switch, disk):
        super().__init__(name, address, state_directory, switch, disk)
        self._kernel = None
        self._proc_reader = None
        binaries = os.path.join(self.state, "bin")
        os.makedirs(binaries, exist_ok=True)
        for link, target in {"drbdadm": "/lib/drbd/drbdadm-84", "drbdsetup": "/lib/drbd/drbdsetup-84",
                             "drbdsetup-84": "/lib/drbd/drbdsetup-84", "drbdmeta": "/usr/sbin/drbdmeta"}.items():
            if not os.path.lexists(os.path.join(binaries, link)):
                os.symlink(target, os.path.join(binaries, link))

    @property
    def console(self):
        return os.path.join(self.state, "console")

    @property
    def running(self):
        return self._kernel is not None and self._kernel.poll() is None

    def _open_disk(self):
        return []

    def _configure_network(self):
        last = self.address.rsplit(".", 1)[1]
        self._in_namespaces(
            "ip link add br0 type bridge forward_delay 0 && ip tuntap add tk mode tap && ip tuntap add tc mode tap && "
            "ip link set eth1 master br0 && ip link set tk master br0 && ip address add 10.99.0.1/30 dev tc && "
            "for i in eth1 tk tc br0; do ip link set $i up; done")
        if self.disk.served:
            disk = ["nbd=10.99.0.1"]
            subprocess.Popen(self.enter_argv(["socat", "TCP-LISTEN:10809,bind=10.99.0.1,reuseaddr,fork", f"UNIX-CONNECT:{self.disk.socket}"]),
                             stdin=subprocess.DEVNULL, start_new_session=True)
        else:
            disk = [f"ubd0={self.disk.open_file()}"]
        if self.second is not None:
            disk.append(f"ubd1={self.second.open_file()}")
        runtime = os.path.join(self.state, "uml")
        shutil.rmtree(runtime, ignore_errors=True)
        os.makedirs(runtime)
        mac = f"52:54:00:00:00:{int(last):02x}"
        with open(self.console, "ab") as console:
            self._kernel = subprocess.Popen(
                ["nsenter", "-t", str(self.holder), "--net", "--pid", "--", "setpriv", "--pdeathsig", "KILL", KERNEL,
                 "mem=192M", "rootfstype=hostfs", "rootflags=/", "rw", f"init={INIT}", "con=null", "con0=null,fd:1",
                 f"vec0:transport=tap,ifname=tk,depth=128,gro=1,mac={mac}",
                 f"vec1:transport=tap,ifname=tc,depth=64,gro=1,mac=52:54:00:00:01:{int(last):02x}", "umid=k", f"uml_dir={runtime}/",
                 f"node={self.name}", f"address={self.address}", "command_address=10.99.0.2", f"state={self.state}",
                 "modules=" + ":".join(self.modules)] + disk,
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True)
        await_until(self._answers, lambda: f"{self.name} answers commands; console:\n{self.log_text()[-3000:]}", 40, 0.05)
        if KernelNode.version is None:
            KernelNode.version = self._execute("echo \"Linux $(uname -r) in User Mode Linux with DRBD $(sed 's/version: //; q' /proc/drbd)\"", 10).output.strip()

    def _answers(self):
        if self._kernel.poll() is not None:
            raise LabError(f"{self.name}: the kernel ended with {self._kernel.returncode}; console:\n{self.log_text()[-3000:]}")
        try:
            return self._execute("true", 1).status == 0
        except (OSError, WaitExpired, LabError):
            return False

    def power_off(self):
        if self._proc_reader is not None:
            self._proc_reader.close()
            self._proc_reader = None
        super().power_off()
        if self._kernel is not None:
            self._kernel.kill()
            self._kernel.wait()
            self._kernel = None

    def freeze(self):
        os.kill(self._kernel_process(), signal.SIGSTOP)

    def thaw(self):
        for pid in (self._kernel_process(), self._kernel.pid):  # nsenter stops when its child does
            os.kill(pid, signal.SIGCONT)

    def _kernel_process(self):
        """The process that all of its others, which are traced by it, wait for."""
        with open(f"/proc/{self._kernel.pid}/task/{self._kernel.pid}/children", encoding="ascii") as children:
            return int(children.read().split()[0])

    def start(self, command):
        """A command in the background; its output comes line by line from the returned object's stdout."""
        return _RemoteCommand(self, command)

    def _execute(self, command, limit_s):
        return _RemoteCommand(self, command, limit_s).outcome()

    def proc_text(self):
        """/proc/drbd, from a shell that stays connected and starts no program: states can be polled without loading the machine."""
        if self._proc_reader is None:
            self._proc_reader = _ProcReader(self)
        return self._proc_reader.read()

    def log_text(self):
        with open(self.console, encoding="utf-8", errors="replace") as console:
            return console.read()


def _connect(node, limit_s):
    """A connection to the machine's control channel: a shell reads what is sent."""
    channel = network.socket_inside(node.holder)
    try:
        channel.settimeout(limit_s)
        channel.connect(("10.99.0.2", 2323))
        return channel
    except OSError:
        channel.close()
        raise


class _ProcReader:
    _LOOP = (b"printf '\\036'; while read -r request; do while IFS= read -r line; do printf '%s\\n' \"$line\"; done </proc/drbd; "
             b"printf '\\036'; done\n")

    def __init__(self, node):
        self._node = node
        self._socket = _connect(node, 10)
        self._socket.sendall(self._LOOP)
        self._answer()

    def _answer(self):
        text = b""
        while not text.endswith(b"\x1e"):
            try:
                chunk = self._socket.recv(1 << 16)
            except OSError as error:
                raise LabError(f"{self._node.name}: /proc/drbd: {error}") from None
            if not chunk:
                raise LabError(f"{self._node.name}: /proc/drbd: the connection ended")
            text += chunk
        return text[:-1].decode("utf-8", "replace")

    def read(self):
        self._socket.sendall(b"\n")
        return self._answer()

    def close(self):
        self._socket.close()


class _RemoteCommand:
    """One command over the machine's control channel. Its last line carries the exit status; without it the machine died."""

    def __init__(self, node, command, limit_s=None):
        self._node = node
        self._command = command
        self._limit_s = limit_s
        self._socket = _connect(node, limit_s)
        self._socket.sendall(f"(\n{command}\n) </dev/null; printf '\\n\\036%d\\036' $?; exit\n".encode())
        self._socket.shutdown(socket.SHUT_WR)
        self.stdout = self._socket.makefile("rb")

    def outcome(self):
        chunks = []
        try:
            while True:
                chunk = self._socket.recv(1 << 16)
                if not chunk:
                    break
                chunks.append(chunk)
        except TimeoutError:
            raise WaitExpired(f"{self._node.name}: `{self._command}` still ran after {self._limit_s:g} s\n"
                              + b"".join(chunks).decode("utf-8", "replace")) from None
        finally:
            self.close()
        raw = b"".join(chunks)
        trailer = _TRAILER.search(raw)
        if not trailer:
            raise LabError(f"{self._node.name}: `{self._command}` was cut off; it had printed {raw[-500:]!r}")
        return Outcome(int(trailer[1]), raw[:trailer.start()])

    def hang_up(self):
        """Ends the output after what has arrived: a machine without power sends no end of its own."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self):
        self.hang_up()
        self.stdout.close()
        self._socket.close()
