"""Two machines with one drbd.conf, and the moves that most scenarios begin with."""

import os
import re
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor

from . import conf, proc_drbd
from .compare import compare_data_areas
from .disk import Disk, FaultyDisk, VolatileDisk
from .machine import pattern
from .network import Switch
from .node import Node
from .process import LabError
from .uml import KernelNode

SECOND_DISK_BYTES = 32 << 20
KINDS = {"duplex": Node, "kernel": KernelNode}

# What a kernel says when something is wrong. DRBD's own lines are judged by words, the rest of the kernel's by its alarms.
_ALARM = re.compile(r"BUG|WARNING:|Oops|Call Trace|general protection|Kernel panic|INFO: task|I/O error|soft lockup")
_DRBD_LINE = re.compile(r"\bdrbd")
_DRBD_TROUBLE = re.compile(r"error|fail|assert|unexpected|\bbad\b|invalid|corrupt|mismatch|wrong|timed out|split-brain|cannot|can't|"
                           r"FIXME|lost|unable|incompatible|expected|logic|unknown packet", re.I)
# Not troubles: states and words that contain one of the above.
_DRBD_HARMLESS = re.compile(r"helper command: .* exit code 0|Method to ensure|disk\( \w+ -> \w+ \) *$|recounting of set bits took|"
                            r"Discarding network configuration|peer\( \w+ -> Unknown \) conn\( \w+ -> (NetworkFailure|TearDown|Disconnecting|BrokenPipe|Timeout)")

# What losing the peer looks like in the logs, for Pair.allow().
PEER_LOST = (r"conn\(|network", r"PingAck did not arrive", r"sock was shut down|sock_recvmsg|short read|sendmsg|_drbd_send|socket failed",
             r"meta connection shut down", r"[Ee]rror receiving")


class Pair:
    """`left` and `right`, of the kinds given. Machines are booted when needed and kept for the next scenario."""

    def __init__(self, left_kind, right_kind, size_bytes=64 << 20, volatile=(), faulty=(), names=("proxmox-105", "proxmox-106")):
        self.directory = tempfile.mkdtemp(prefix="duplex-lab.", dir="/var/tmp")
        self.switch = Switch()
        self.machines = []
        for index, (name, kind) in enumerate(zip(names, (left_kind, right_kind))):
            side = ("left", "right")[index]
            disk = (VolatileDisk if side in volatile else FaultyDisk if side in faulty else Disk)(os.path.join(self.directory, f"{name}.img"), size_bytes)
            self.machines.append(KINDS[kind](name, f"10.0.7.{105 + index}", self.directory, self.switch, disk))
        self.left, self.right = self.machines
        for machine in self.machines:
            machine.second = Disk(os.path.join(self.directory, f"{machine.name}.second.img"), SECOND_DISK_BYTES)
        self._marks = {}
        self.allowed = []

    def machine(self, side):
        return {"left": self.left, "right": self.right}[side]

    def other(self, machine):
        return self.right if machine is self.left else self.left

    # Before and after a scenario

    def fresh(self, configuration=None):
        """Both machines on, nothing configured in DRBD, blank disks, cables plugged, the given drbd.conf on both."""
        self._blank()
        self._marks = {machine: machine.log_mark() for machine in self.machines}
        self.allowed = []
        self.configure(configuration or conf.fast(self.left, self.right))

    def _blank(self):
        kept = [machine for machine in self.machines if machine.running and not machine.disk.volatile]
        kept = [machine for machine, down in zip(kept, _at_once(self._is_down, kept)) if down]
        for machine in self.machines:
            if machine in kept:
                machine.plug_in()
                machine.disk.erase()
                machine.second.erase()
            else:
                machine.power_off()
                machine.disk.erase()
                machine.second.erase()
                machine.boot()
        _at_once(lambda machine: machine.run("blockdev --flushbufs /dev/sdb1; blockdev --flushbufs /dev/sdc1"), kept)

    @staticmethod
    def _is_down(machine):
        try:
            machine.drbdadm("down all", check=False, limit_s=10)
            return not proc_drbd.parse(machine.proc_text())
        except LabError:
            return False

    def configure(self, configuration, machines=None):
        for machine in machines or self.machines:
            machine.write_file("/etc/drbd.conf", configuration)

    def mark(self, machine):
        """Where its log was at fresh()."""
        return self._marks.get(machine, 0)

    def allow(self, *patterns):
        """Log lines that this scenario means to cause."""
        self.allowed += patterns

    def troubles(self):
        """Lines of both machines' logs since fresh() that are neither harmless nor allowed."""
        found = []
        for machine in self.machines:
            for line in machine.log_since(self.mark(machine)).splitlines():
                trouble = _ALARM.search(line) or (_DRBD_LINE.search(line) and _DRBD_TROUBLE.search(line)
                                                  and not _DRBD_HARMLESS.search(line))
                if trouble and not any(re.search(allowed, line) for allowed in self.allowed):
                    found.append(f"{machine.name} ({machine.kind}): {line.strip()}")
        return found

    # Moves

    def both(self, command):
        """Runs a shell command on both machines at once."""
        return _at_once(lambda machine: machine.run(command), self.machines)

    def create_md(self, options=""):
        self.both(f"drbdadm create-md {options} r0")

    def up(self, *machines):
        for machine in machines or self.machines:
            machine.drbdadm("up r0")

    def down(self):
        for machine in self.machines:
            machine.down()

    def connected(self, limit_s=30):
        for machine in self.machines:
            machine.await_connection("Connected", limit_s=limit_s)

    def synced(self, limit_s=120):
        for machine in self.machines:
            machine.await_synced(limit_s)

    def mirrored(self, source=None, configuration=None):
        """From nothing to both UpToDate, `source` (left if not given) Primary."""
        source = source or self.left
        self.fresh(configuration)
        self.create_md()
        self.up()
        self.connected()
        source.drbdadm("-- --overwrite-data-of-peer primary r0")
        self.synced()
        return source, self.other(source)

    def alike(self, configuration=None, source=None):
        """From nothing to both UpToDate and Secondary, without a resync: blank disks are equal."""
        self.fresh(configuration)
        self.both("drbdadm create-md r0 && drbdadm up r0")
        self.connected()
        (source or self.left).drbdadm("-- --clear-bitmap new-current-uuid r0")
        self.synced()

    def clean(self, configuration=None, source=None):
        """As mirrored(), with the initial resync skipped."""
        source = source or self.left
        self.alike(configuration, source)
        source.drbdadm("primary r0")
        return source, self.other(source)

    def behind(self, mib, configuration=None, source=None):
        """A Primary that has written its first `mib` MiB while the Secondary was disconnected."""
        primary, secondary = self.clean(configuration, source)
        secondary.drbdadm("disconnect r0")
        primary.await_connection("WFConnection")
        self.write_ahead(primary, mib)
        return primary, secondary

    @staticmethod
    def write_ahead(machine, mib):
        """pattern(index) into each of the first `mib` MiB."""
        for index in range(mib):
            machine.write(index << 20, pattern(index, 1 << 20))

    def reconnect(self):
        for machine in self.machines:
            if machine.status().cs == "StandAlone":
                machine.drbdadm("connect r0")

    def compare(self):
        """Bytes compared; both data areas are the same or it is an error. Nothing may be writing."""
        for machine in self.machines:
            machine.disk.flush()
        return compare_data_areas(self.left.backing_file, self.right.backing_file)

    def describe(self):
        """What a failed scenario wants to know: the state and the last log lines of both machines."""
        text = ""
        for machine in self.machines:
            try:
                state = machine.proc_text() if machine.running else "(off)\n"
            except (LabError, OSError) as error:
                state = f"({error})\n"
            log = machine.log_since(self.mark(machine)).splitlines()[-60:]
            text += f"--- {machine.name} ({machine.kind})\n{state}" + "".join(f"    {line}\n" for line in log)
        return text

    def close(self):
        close(self.machines, self.switch, self.directory)


def close(machines, switch, directory):
    """Power off, and nothing left behind; an error of one does not keep the others on."""
    errors = []
    for machine in machines:
        try:
            machine.close()
        except (LabError, OSError) as error:
            errors.append(str(error))
    switch.close()
    shutil.rmtree(directory, ignore_errors=True)
    if errors:
        raise LabError("; ".join(errors))


def _at_once(action, machines):
    """The results of action(machine) for each, run side by side."""
    with ThreadPoolExecutor(max_workers=2) as executor:
        return list(executor.map(action, machines))
