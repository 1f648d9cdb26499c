"""Backing disks of machines: files of this machine, with or without a volatile cache in front."""

import os
import signal
import subprocess

from . import compare, loop
from .process import await_until, run_local


class Disk:
    """A sparse file. `path` is what is on the platter, `device_file` what a machine gets to work on (here the same)."""

    volatile = False

    def __init__(self, path, size_bytes):
        self.path = path
        self.size_bytes = size_bytes
        if not os.path.exists(path):
            with open(path, "wb") as file:
                file.truncate(size_bytes)

    @property
    def device_file(self):
        return self.path

    def power_on(self):
        pass

    def power_off(self):
        loop.await_unused(self.device_file)

    def read(self, offset, length):
        """What is on the platter, past every cache of this machine's kernel."""
        return compare.read_direct(self.path, offset, length)

    def erase(self):
        """All zeroes again. The file stays the same one."""
        with open(self.path, "r+b") as file:
            file.truncate(0)
            file.truncate(self.size_bytes)

    def close(self):
        self.power_off()


class VolatileDisk(Disk):
    """A disk whose write cache is lost at a power failure: a write that no flush followed is not on the platter.

    The cache is nbdkit's (writeback: blocks reach the file at a flush only), shown as a file by nbdfuse. power_off()
    kills nbdkit after the machine died, so everything unflushed is gone: the worst that a disk may do."""

    volatile = True

    def __init__(self, path, size_bytes):
        super().__init__(path, size_bytes)
        self._mount = path + ".volatile"
        self._socket = path + ".nbd"
        self._server = None
        self._fuse = None

    @property
    def device_file(self):
        return os.path.join(self._mount, "nbd")

    def power_on(self):
        os.makedirs(self._mount, exist_ok=True)
        die_with_us = ["setpriv", "--pdeathsig", "KILL"]
        self._server = subprocess.Popen(
            die_with_us + ["nbdkit", "--foreground", "--exit-with-parent", "--unix", self._socket, "--filter=cache", "file",
                           self.path, "cache=writeback", "cache-min-block-size=4k"], stdin=subprocess.DEVNULL)
        await_until(lambda: os.path.exists(self._socket), f"nbdkit listens on {self._socket}")
        self._fuse = subprocess.Popen(
            die_with_us + ["nbdfuse", self._mount, f"nbd+unix:///?socket={self._socket}"], stdin=subprocess.DEVNULL)
        await_until(lambda: os.path.exists(self.device_file), f"nbdfuse shows {self.device_file}")

    def power_off(self):
        if self._server is None:
            return
        loop.await_unused(self.device_file)
        self._server.send_signal(signal.SIGKILL)
        self._server.wait()
        self._server = None
        run_local(["umount", "--lazy", self._mount], check=False)
        self._fuse.kill()
        self._fuse.wait()
        self._fuse = None
        if os.path.exists(self._socket):
            os.unlink(self._socket)

    def close(self):
        self.power_off()
