"""A machine made of namespaces, with Duplex on its PATH."""

import os
import shutil
import signal
import subprocess

from . import loop
from .machine import Machine
from .process import BINARIES, SYSTEM_PATH, LabError, Outcome, WaitExpired, alive, await_until, kill_group, run_local

INIT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "node_init")


class Node(Machine):
    """PID, mount, UTS, network and IPC namespaces with one holder process. Killing the holder is a power failure: every process,
    mount, network interface and loop device of the machine goes. `disk` appears as /dev/sdb1, a loop device.

    A detached node outlives the program that made it; others die with it. Start them from the main thread."""

    kind = "duplex"
    needs_binaries = True  # else nothing of Duplex is meant to run on it
    proc_command = "drbdadm proc"

    def __init__(self, name, address, state_directory, switch, disk, detached=False, binaries=BINARIES):
        super().__init__(name, address, state_directory, switch, disk)
        self.detached = detached
        self.binaries = binaries
        self.holder = None
        self._process = None

    # Power

    @property
    def running(self):
        return self.holder is not None and alive(self.holder)

    def boot(self):
        if self.running:
            raise LabError(f"{self.name} is on already")
        if self.needs_binaries and not os.path.exists(os.path.join(self.binaries, "duplexd")):
            raise LabError(f"{self.binaries} has no duplexd: build first (scripts/setup)")
        self.disk.power_on()
        backing = self._open_disk()
        prefix = [] if self.detached else ["setpriv", "--pdeathsig", "KILL"]
        with open(os.path.join(self.state, "boot.log"), "ab") as log:
            self._process = subprocess.Popen(
                prefix + ["unshare", "--mount", "--uts", "--net", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc",
                          "--propagation", "private", INIT, self.name, self.state]
                + [f"{name}={held.number}" for name, held in zip(("sdb1", "sdc1"), backing)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[held.fd for held in backing],
                start_new_session=True)
        for held in backing:
            held.release()
        self.holder = await_until(self._find_holder, f"{self.name} is ready; see {self.state}/boot.log", 20)
        self.switch.plug(self.port, self.holder)
        self._configure_network()

    def _open_disk(self):
        """Loop devices for the machine. Its first process inherits them open and so keeps them for as long as it has power."""
        return [loop.Loop(disk.open_file()) for disk in (self.disk, self.second) if disk is not None]

    def _find_holder(self):
        if self._process.poll() is not None:
            raise LabError(f"{self.name} did not start; see {self.state}/boot.log")
        try:
            with open(f"/proc/{self._process.pid}/task/{self._process.pid}/children", encoding="ascii") as children:
                pid = int(children.read().split()[0])
        except (FileNotFoundError, IndexError):
            return None
        return pid if os.path.exists(f"/proc/{pid}/root/run/ready") else None

    def _configure_network(self):
        self._in_namespaces(f"ip address add {self.address}/24 dev eth1 && ip link set eth1 up")

    def _in_namespaces(self, command):
        return run_local(self.enter_argv(["sh", "-c", command]), env=self.environment())

    def power_off(self):
        """As if the plug had been pulled: kill -9 of everything."""
        if self.holder is None:
            return
        try:
            os.kill(self.holder, signal.SIGKILL)
        except ProcessLookupError:
            pass
        await_until(lambda: not os.path.exists(f"/proc/{self.holder}"), f"{self.name} is gone", 20)
        if self._process is not None:
            self._process.wait()
        self.holder = None
        self._process = None
        self.disk.power_off()
        if self.second is not None:
            self.second.power_off()

    def close(self):
        self.power_off()
        self.disk.close()

    def freeze(self):
        """Nothing of DRBD runs any more, and nobody is told: what is sent to it is taken by the kernel's buffers."""
        self.run("pkill -STOP -x duplexd")

    def thaw(self):
        self.run("pkill -CONT -x duplexd")

    # Commands

    def enter_argv(self, argv):
        """The same command on this machine, as an argument vector for here."""
        return ["nsenter", "-t", str(self.holder), "--mount", "--uts", "--net", "--ipc", "--pid", "--"] + argv

    def environment(self):
        return {"PATH": f"{self.binaries}:{SYSTEM_PATH}", "HOME": "/root", "LANG": "C.UTF-8", "TERM": os.environ.get("TERM", "dumb")}

    def start(self, command):
        """A command in the background: a Popen with its output (and errors) in stdout."""
        if not self.running:
            raise LabError(f"{self.name} has no power: {command}")
        return subprocess.Popen(self.enter_argv(["sh", "-c", command]), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, env=self.environment(), start_new_session=True)

    def _execute(self, command, limit_s):
        process = self.start(command)
        try:
            raw, _ = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            kill_group(process)
            raw, _ = process.communicate()
            raise WaitExpired(f"{self.name}: `{command}` still ran after {limit_s:g} s\n{raw.decode('utf-8', 'replace')}") from None
        return Outcome(process.returncode, raw)

    def processes(self, name):
        """Pids (in the machine's own numbering) of its processes with this command name."""
        return [int(pid) for pid in self.run(f"pgrep -x {name}", check=False).output.split()]

    # State

    def proc_text(self):
        try:
            with open(f"/proc/{self.holder}/root/run/duplex/proc/drbd", encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def log_text(self):
        try:
            with open(os.path.join(self.state, "var-log", "syslog"), encoding="utf-8", errors="replace") as log:
                return log.read()
        except FileNotFoundError:
            return ""

    def forget(self):
        """Removes what survives a power failure, except the disk."""
        for name in ("etc", "var-lib-drbd", "var-log"):
            shutil.rmtree(os.path.join(self.state, name), ignore_errors=True)
