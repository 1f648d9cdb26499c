"""What a machine can do, whatever it is made of."""

import hashlib
import os
import re

from . import proc_drbd
from .process import CommandFailed, LabError, WaitExpired, await_until

SECTOR = 512


class Machine:
    """Base of Node and UmlNode. They add boot(), power_off(), start(command), _execute(command, limit_s)."""

    kind = "none"

    def __init__(self, name, address, state_directory, switch, disk):
        self.name = name
        self.address = address
        self.state = os.path.join(state_directory, name)
        self.switch = switch
        self.disk = disk
        self.second = None  # one more Disk, /dev/sdc1, or None; never volatile
        os.makedirs(self.state, exist_ok=True)
        self._transfers = 0

    @property
    def backing_file(self):
        return self.disk.path

    @property
    def port(self):
        return "p" + self.address.rsplit(".", 1)[1]

    # Commands

    def run(self, command, check=True, limit_s=60.0):
        """Runs a shell command on the machine. With check, a non-zero status is a CommandFailed."""
        outcome = self._execute(command, limit_s)
        if check and outcome.status != 0:
            raise CommandFailed(self.name, command, outcome)
        return outcome

    def drbdadm(self, arguments, check=True, limit_s=60.0):
        return self.run("drbdadm " + arguments, check, limit_s)

    def down(self):
        """`drbdadm down r0`, once the connection is not in a state that refuses it."""
        self.await_status("a connection at rest", lambda s: s.cs not in proc_drbd.TRANSIENT)
        return self.drbdadm("down r0")

    def drbdsetup(self, arguments, check=True, limit_s=60.0):
        return self.run("drbdsetup " + arguments, check, limit_s)

    # Files and power

    def write_file(self, path, text):
        """A file in /etc of the machine (which outlives its power)."""
        if not path.startswith("/etc/"):
            raise LabError(f"{path}: only files in /etc are written from outside")
        with open(self.state + path, "w", encoding="utf-8") as file:
            file.write(text)

    def unplug(self):
        self.switch.set_cable(self.port, False)

    def plug_in(self):
        self.switch.set_cable(self.port, True)

    # DRBD's state

    def proc_text(self):
        raise NotImplementedError

    def status(self, minor=0):
        """The minor's line of /proc/drbd as values, or None when it is not there."""
        return proc_drbd.parse(self.proc_text()).get(minor)

    def await_status(self, what, condition, limit_s=30.0, minor=0):
        """Until the minor is there and condition(status); returns that status."""
        seen = [None]

        def holds():
            seen[0] = self.status(minor)
            return seen[0] is not None and condition(seen[0]) and seen[0]

        return await_until(holds, lambda: f"{what} on {self.name} ({self.kind}); last seen:\n{seen[0]}", limit_s)

    def await_connection(self, *states, limit_s=30.0):
        return self.await_status("connection state " + "/".join(states), lambda s: s.cs in states, limit_s)

    def await_synced(self, limit_s=60.0):
        """Connected, both disks UpToDate, nothing out of sync."""
        return self.await_status("Connected and UpToDate/UpToDate", lambda s: (s.cs, s.disk, s.peer_disk, s.oos) == (
            "Connected", "UpToDate", "UpToDate", 0), limit_s)

    # Data

    def _transfer_file(self):
        self._transfers += 1
        return os.path.join(self.state, f"transfer-{self._transfers}")

    def write(self, offset, data, device="/dev/drbd0"):
        """Writes whole sectors at a byte offset through the device, past the page cache, and flushes them."""
        path = self._transfer_file()
        with open(path, "wb") as file:
            file.write(data)
        block = next(size for size in (1 << 20, 65536, 4096, 512) if offset % size == 0 and len(data) % size == 0)
        try:
            self.run(f"dd if={path} of={device} bs={block} seek={offset // block} oflag=direct conv=notrunc,fsync status=none")
        finally:
            os.unlink(path)

    def read(self, offset, length, device="/dev/drbd0"):
        """Reads whole sectors at a byte offset through the device, past the page cache."""
        block = next(size for size in (1 << 20, 65536, 4096, 512) if offset % size == 0 and length % size == 0)
        outcome = self.run(f"dd if={device} bs={block} skip={offset // block} count={length // block} iflag=direct status=none")
        if len(outcome.raw) != length:
            raise LabError(f"{self.name}: read of {length} bytes at {offset} of {device} gave {len(outcome.raw)}: {outcome.raw[-300:]!r}")
        return outcome.raw

    def device_digest(self, length, device="/dev/drbd0"):
        """sha256 of the first `length` bytes as the machine's own users read them."""
        text = self.run(f"dd if={device} bs=1M iflag=direct,count_bytes count={length} status=none | sha256sum").output
        return text.split()[0]

    # Logs

    def log_text(self):
        raise NotImplementedError

    def log_mark(self):
        return len(self.log_text())

    def log_since(self, mark):
        return self.log_text()[mark:]

    def await_log(self, pattern, mark, limit_s=10.0):
        """Until the log since `mark` has a line that matches; returns the match."""
        return await_until(lambda: re.search(pattern, self.log_since(mark)),
                           lambda: f"{self.name} logs /{pattern}/; it logged:\n{self.log_since(mark)}", limit_s)


def pattern(seed, length):
    """Reproducible bytes that differ in every sector."""
    out = bytearray()
    block = hashlib.sha256(str(seed).encode()).digest()
    while len(out) < length:
        block = hashlib.sha256(block).digest()
        out += block * 16
    return bytes(out[:length])


__all__ = ["Machine", "pattern", "SECTOR", "CommandFailed", "WaitExpired", "LabError"]
