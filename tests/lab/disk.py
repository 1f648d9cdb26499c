"""Backing disks of machines: files of this machine, with or without a volatile cache in front."""

import os
import subprocess

from . import compare, loop
from .process import await_until, run_local


class Disk:
    """A sparse file: `path` is the platter."""

    volatile = False  # what was not flushed is lost with the power
    served = False  # by a program of its own, over `socket` with the NBD protocol

    def __init__(self, path, size_bytes):
        self.path = path
        self.size_bytes = size_bytes
        if not os.path.exists(path):
            with open(path, "wb") as file:
                file.truncate(size_bytes)

    def power_on(self):
        pass

    def open_file(self):
        """A file that stands for the powered disk."""
        return self.path

    def power_off(self):
        """After the machine has died."""
        loop.await_unused(self.path)

    def read(self, offset, length):
        """What the disk answers, past every cache of this machine's kernel."""
        return compare.read_direct(self.path, offset, length)

    def flush(self):
        """Everything written is on the platter after this."""

    def erase(self):
        """All zeroes again, with the power off or nothing cached. The file stays the same one."""
        with open(self.path, "r+b") as file:
            file.truncate(0)
            file.truncate(self.size_bytes)

    def close(self):
        self.power_off()


class ServedDisk(Disk):
    """A disk that is a program: nbdkit with what the subclass says. Machines reach it as a file (nbdfuse) or over `socket` with
    the NBD protocol; both carry flushes, which User Mode Linux's own disk driver does not."""

    served = True

    def __init__(self, path, size_bytes):
        super().__init__(path, size_bytes)
        self.socket = path + ".nbd"
        self._mount = path + ".served"
        self._server = None
        self._fuse = None

    def _plugin_argv(self):
        raise NotImplementedError

    def power_on(self):
        with open(self.path + ".log", "ab") as log:
            self._server = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "nbdkit", "--foreground", "--unix", self.socket] + self._plugin_argv(),
                stdin=subprocess.DEVNULL, stderr=log)
        await_until(lambda: os.path.exists(self.socket), f"nbdkit listens on {self.socket}")

    def open_file(self):
        os.makedirs(self._mount, exist_ok=True)
        self._fuse = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "nbdfuse", self._mount, f"nbd+unix:///?socket={self.socket}"],
            stdin=subprocess.DEVNULL)
        file = os.path.join(self._mount, "nbd")
        await_until(lambda: os.path.exists(file), f"nbdfuse shows {file}")
        return file

    def power_off(self):
        if self._server is None:
            return
        loop.await_unused(os.path.join(self._mount, "nbd"))
        self._server.kill()
        self._server.wait()
        self._server = None
        os.unlink(self.socket)
        if self._fuse is not None:
            run_local(["umount", "--lazy", self._mount], check=False)
            self._fuse.kill()
            self._fuse.wait()
            self._fuse = None

    def _with_server(self, action):
        import nbd

        handle = nbd.NBD()
        handle.connect_unix(self.socket)
        try:
            return action(handle)
        finally:
            handle.shutdown()

    def read(self, offset, length):
        if self._server is None:
            return super().read(offset, length)
        step = 16 << 20

        def take(handle):
            return b"".join(bytes(handle.pread(min(step, offset + length - at), at)) for at in range(offset, offset + length, step))

        return self._with_server(take)

    def flush(self):
        if self._server is not None:
            self._with_server(lambda handle: handle.flush())


class VolatileDisk(ServedDisk):
    """A disk whose write cache is lost at a power failure: a write that no flush followed is not on the platter.

    nbdkit's cache filter is the cache (writeback: blocks reach the file at a flush only). power_off() kills nbdkit after the
    machine died, so everything unflushed is gone: the worst that a disk may do."""

    volatile = True

    def _plugin_argv(self):
        return ["--filter=cache", "file", self.path, "cache=writeback", "cache-min-block-size=4k"]


class FaultyDisk(ServedDisk):
    """A disk that can be told to fail or to hang, in ranges of bytes."""

    def __init__(self, path, size_bytes):
        super().__init__(path, size_bytes)
        self._faults = path + ".faults"
        self.repair()

    def _plugin_argv(self):
        return ["python", os.path.join(os.path.dirname(os.path.abspath(__file__)), "faulty_disk.py"), f"file={self.path}",
                f"faults={self._faults}"]

    def fail(self, *faults):
        """Each fault is (what, first byte, number of bytes); what: read, write, hang-read, hang-write. They replace the faults
        there were, for the requests that come from now on and for those that hang."""
        with open(self._faults + ".new", "w", encoding="ascii") as file:
            file.writelines(f"{what} {offset} {offset + length}\n" for what, offset, length in faults)
        os.rename(self._faults + ".new", self._faults)

    def repair(self):
        self.fail()

    def erase(self):
        self.repair()
        super().erase()

    def power_off(self):
        self.repair()
        super().power_off()
