#!/usr/bin/python3
"""The demo: two machines, one mirrored block device, a death in the middle of it. Started by ./demo."""

import json
import os
import shutil
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests"))

from lab import conf
from lab.compare import compare_data_areas
from lab.disk import Disk
from lab.network import Switch
from lab.node import Node
from lab.process import CommandFailed, LabError, await_until

DIRECTORY = "/var/tmp/duplex-demo"
STATE_FILE = os.path.join(DIRECTORY, "machines.json")
FILES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "demo_files.py")
DISK_BYTES = 1 << 30
DATA_BYTES = 220 << 20
FSYNCED_BEFORE_DEATH = 300
MOUNT = "/mnt/r0"


class Screen:
    """Numbered steps, commands as they would be typed, one live line at a time. Plain text when nobody watches."""

    def __init__(self):
        self.live_terminal = sys.stdout.isatty()
        self.step_number = 0
        self.step_title = "start"
        self._last_tenth = -1

    def paint(self, code, text):
        return f"\033[{code}m{text}\033[0m" if self.live_terminal else text

    def step(self, title):
        self.step_number += 1
        self.step_title = title
        print(f"\n{self.paint('1;36', f'{self.step_number:2}  {title}')}", flush=True)

    def note(self, text):
        print("    " + text, flush=True)

    def good(self, text):
        self.note(self.paint("32", "✓ " + text) if self.live_terminal else "ok: " + text)

    def command(self, machine, command):
        print(f"    {self.paint('1', machine.name)}:~# {self.paint('1;37', command)}", flush=True)

    def output(self, text):
        for line in text.rstrip("\n").splitlines():
            print("    " + self.paint("2", "│ ") + line.expandtabs(8), flush=True)

    def progress(self, share, text):
        """share: 0..1. On a terminal a bar that moves; else a line for every tenth."""
        share = min(max(share, 0.0), 1.0)
        if self.live_terminal:
            width = 36
            full = int(share * width)
            bar = self.paint("32", "━" * full) + self.paint("2", "━" * (width - full))
            sys.stdout.write(f"\r\033[K    {bar} {share * 100:5.1f}%  {text}")
            sys.stdout.flush()
        elif int(share * 10) != self._last_tenth:
            self._last_tenth = int(share * 10)
            print(f"    {share * 100:5.1f}%  {text}", flush=True)

    def progress_end(self):
        if self.live_terminal:
            sys.stdout.write("\r\033[K")
        self._last_tenth = -1


class Demo:
    def __init__(self, keep, machine_class=Node):
        self.screen = Screen()
        self.keep = keep
        take_down(quiet=True)
        os.makedirs(DIRECTORY)
        self.switch = Switch(detached=keep)
        self.machines = [machine_class(f"proxmox-{number}", f"10.0.7.{number}", DIRECTORY, self.switch,
                                       Disk(os.path.join(DIRECTORY, f"proxmox-{number}.img"), DISK_BYTES)) for number in (105, 106)]
        for machine in self.machines:
            machine.detached = keep
        self.first, self.second = self.machines
        self.manifest = []

    def type(self, machine, command, limit_s=60, good_statuses=(0,), quiet=False):
        """Shows a command, runs it, shows what it says."""
        self.screen.command(machine, command)
        outcome = machine.run(command, check=False, limit_s=limit_s)
        if not quiet or outcome.status not in good_statuses:
            self.screen.output(outcome.output)
        if outcome.status not in good_statuses:
            raise CommandFailed(machine.name, command, outcome)
        return outcome.output

    # The steps

    def run(self):
        started = time.monotonic()
        self.two_machines()
        self.bring_up()
        self.initial_sync()
        self.file_system()
        self.stop_and_start()
        self.death()
        self.failover()
        self.return_of_the_dead()
        compared = self.comparison()
        files = len(self.manifest)
        print(self.screen.paint("1;32", f"\n{files:,} files written and fsynced, one machine killed in the middle: all are there and identical, "
                                f"and both disks are equal in all {compared:,} bytes. ({time.monotonic() - started:.0f} s)"))

    def two_machines(self):
        screen = self.screen
        screen.step("Two machines, a 1 GiB disk in each, a cable between them")
        for machine in self.machines:
            machine.boot()
            machine.write_file("/etc/drbd.conf", conf.howto(self.first, self.second))
        remember(self)
        self.type(self.first, "uname -n; ip -brief address show eth1; lsblk -bno SIZE /dev/sdb1")
        self.type(self.second, "uname -n; ip -brief address show eth1; lsblk -bno SIZE /dev/sdb1")
        self.type(self.first, "cat /etc/drbd.conf")

    def bring_up(self):
        self.screen.step("Meta data, and up")
        for machine in self.machines:
            self.type(machine, "drbdadm create-md r0")
        for machine in self.machines:
            self.type(machine, "drbdadm up r0")
        for machine in self.machines:
            machine.await_connection("Connected")
        for machine in self.machines:
            self.type(machine, machine.proc_command)

    def initial_sync(self):
        screen = self.screen
        screen.step("The initial synchronisation")
        self.type(self.first, "drbdadm -- --overwrite-data-of-peer primary r0")
        begun = time.monotonic()
        self.watch_resync(self.second, "SyncTarget")
        seconds = time.monotonic() - begun
        self.type(self.first, self.first.proc_command)
        screen.good(f"{DISK_BYTES >> 20} MiB in {seconds:.0f} s, {(DISK_BYTES >> 20) / seconds:.0f} MiB/s (the file says rate 30M)")

    def watch_resync(self, machine, state, limit_s=600):
        """A bar from the status text until both disks are UpToDate."""
        total = [0]

        def done():
            status = machine.status()
            if status is None:
                return False
            if status.cs == state or (status.cs == "SyncSource" and state == "SyncTarget"):
                total[0] = max(total[0], status.oos)
                if status.percent is not None:
                    speed = f"{status.speed_kib / 1024:.0f} MiB/s, " if status.speed_kib else ""
                    finish = f"{status.finish} to go" if status.finish else ""
                    self.screen.progress(status.percent / 100, f"{status.oos >> 10:,} MiB left  {speed}{finish}")
            return (status.cs, status.disk, status.peer_disk) == ("Connected", "UpToDate", "UpToDate")

        try:
            await_until(done, lambda: f"resync done; {machine.name} says\n{machine.proc_text()}", limit_s, 0.05)
        finally:
            self.screen.progress_end()

    def file_system(self):
        screen = self.screen
        screen.step("A file system, and real files")
        self.type(self.first, "mkfs.ext4 -q /dev/drbd0", limit_s=300)
        self.type(self.first, f"mkdir {MOUNT} && mount /dev/drbd0 {MOUNT}")
        listing, count = self.choose_files()
        screen.command(self.first, f"cp /usr/share/... {MOUNT}   ({count:,} files)")
        begun = time.monotonic()
        written = self.follow(self.first.start(f"exec /usr/bin/python3 {FILES} copy {listing} {MOUNT}"), DATA_BYTES)
        self.type(self.first, f"sync -f {MOUNT}", limit_s=600)
        seconds = time.monotonic() - begun
        screen.good(f"{len(self.manifest):,} files, {written >> 20} MiB, flushed to both disks in {seconds:.0f} s")

    def choose_files(self):
        """A list of DATA_BYTES of files: /usr/share's, and made ones where that has too little."""
        total = 0
        names = []
        for directory, _, entries in os.walk("/usr/share"):
            for entry in sorted(entries):
                path = os.path.join(directory, entry)
                if "\n" in path or not os.path.isfile(path) or os.path.islink(path):
                    continue
                names.append(path)
                total += os.path.getsize(path)
                if total >= DATA_BYTES:
                    break
            if total >= DATA_BYTES:
                break
        made = os.path.join(DIRECTORY, "made")
        os.makedirs(made)
        while total < DATA_BYTES:
            path = os.path.join(made, f"{len(names):06}")
            with open(path, "wb") as file:
                file.write(os.urandom(1 << 20))
            names.append(path)
            total += 1 << 20
        listing = os.path.join(DIRECTORY, "list")
        with open(listing, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write("\n".join(names))
        return listing, len(names)

    def follow(self, process, goal_bytes):
        """Takes in the manifest lines of a copying program, with a bar; returns the bytes."""
        written = 0
        for line in process.stdout:
            text = line.decode("utf-8", "surrogateescape").rstrip("\n")
            if text.startswith("F "):
                self.manifest.append(text)
                written += int(text.split(" ", 3)[2])
                self.screen.progress(written / goal_bytes, f"{written >> 20} MiB, {len(self.manifest):,} files")
            elif text.strip() and not text.startswith("\x1e"):
                raise LabError(f"copying: {text}")
        self.screen.progress_end()
        return written

    def stop_and_start(self):
        screen = self.screen
        screen.step("Stop and start on both, as in the how-to")
        self.type(self.first, f"umount {MOUNT}")
        self.type(self.first, "drbdadm secondary r0")
        for machine in self.machines:
            self.type(machine, "drbdadm down r0")
        for machine in self.machines:
            self.type(machine, "drbdadm up r0")
        for machine in self.machines:
            machine.await_synced()
        received = self.second.status().nr
        if received:
            raise LabError(f"an orderly stop and start sent {received} KiB")
        screen.good("connected, both UpToDate, nothing to synchronise")
        self.type(self.first, f"drbdadm primary r0 && mount /dev/drbd0 {MOUNT}")

    def death(self):
        screen = self.screen
        screen.step(f"{self.first.name} dies while it is being written")
        before = len(self.manifest)
        process = self.first.start(f"exec /usr/bin/python3 {FILES} stream {MOUNT}")
        for line in process.stdout:
            if not line.startswith(b"F ") or not line.endswith(b"\n"):
                raise LabError(f"writing: {line!r}")
            self.manifest.append(line.decode().rstrip("\n"))
            done = len(self.manifest) - before
            screen.progress(done / FSYNCED_BEFORE_DEATH, f"{done} files written and fsynced")
            if done >= FSYNCED_BEFORE_DEATH:
                break
        screen.progress_end()
        screen.note(self.screen.paint("1;31", f"kill -9 of everything on {self.first.name}"))
        self.first.power_off()
        if hasattr(process, "hang_up"):
            process.hang_up()
        for line in process.stdout:
            if line.startswith(b"F ") and line.endswith(b"\n"):
                self.manifest.append(line.decode().rstrip("\n"))
        remember(self)
        screen.good(f"{self.first.name} is gone; it had said of {len(self.manifest) - before} files that they were fsynced")

    def failover(self):
        screen = self.screen
        second = self.second
        screen.step(f"{second.name} takes over")
        begun = time.monotonic()
        second.await_connection("WFConnection", limit_s=60)
        screen.note(f"noticed after {time.monotonic() - begun:.1f} s")
        self.type(second, second.proc_command)
        self.type(second, "drbdadm primary r0")
        # 1: e2fsck replayed the journal and corrected what a crash leaves; 0: there was nothing to do.
        self.type(second, "fsck.ext4 -p /dev/drbd0", good_statuses=(0, 1), limit_s=300)
        self.type(second, "fsck.ext4 -fn /dev/drbd0", limit_s=300)
        self.type(second, f"mkdir {MOUNT} && mount /dev/drbd0 {MOUNT}")
        self.check_files(second)

    def check_files(self, machine):
        manifest = os.path.join(DIRECTORY, "manifest")
        with open(manifest, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write("".join(line + "\n" for line in self.manifest))
        outcome = machine.run(f"/usr/bin/python3 {FILES} check {manifest} {MOUNT}", check=False, limit_s=600)
        lines = outcome.output.strip().splitlines()
        if outcome.status != 0:
            self.screen.output("\n".join(lines[:20]))
            raise LabError(f"{len(lines) - 1} of {len(self.manifest)} fsynced files are missing or different")
        _, files, size = lines[-1].split()
        self.screen.good(f"{int(files):,} files, {int(size) >> 20} MiB: every file that was fsynced is there and identical")

    def return_of_the_dead(self):
        screen = self.screen
        screen.step(f"{self.first.name} returns and catches up by bitmap")
        self.type(self.second, f"cp -r {MOUNT}/during {MOUNT}/afterwards && sync -f {MOUNT}", limit_s=300)
        status = self.second.status()
        screen.note(f"{status.oos:,} KiB out of sync on {self.second.name}")
        self.first.boot()
        remember(self)
        begun = time.monotonic()
        self.type(self.first, "drbdadm up r0")
        self.watch_resync(self.first, "SyncTarget")
        seconds = time.monotonic() - begun
        self.second.await_synced()
        sent = self.first.status().nr
        self.type(self.first, self.first.proc_command)
        whole = DISK_BYTES >> 10
        if sent >= whole // 2:
            raise LabError(f"{sent:,} KiB were sent: that is no resync by bitmap")
        screen.good(f"{sent:,} KiB of {whole:,} sent ({100 * sent / whole:.1f}%), {seconds:.1f} s from `up` to UpToDate")

    def comparison(self):
        self.screen.step("Both disks, byte by byte")
        self.type(self.second, f"umount {MOUNT}")
        self.type(self.second, "drbdadm secondary r0")
        for machine in self.machines:
            machine.await_synced()
        compared = compare_data_areas(self.first.backing_file, self.second.backing_file)
        self.screen.good(f"{compared:,} bytes compared: equal")
        return compared

    def close(self):
        for machine in self.machines:
            machine.close()
        self.switch.close()
        shutil.rmtree(DIRECTORY, ignore_errors=True)


# Machines that outlive the demo


def started_at(pid):
    """The process's start time in kernel ticks; with the pid it names one process for good. None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return int(stat.read().rsplit(b")", 1)[1].split()[19])
    except (FileNotFoundError, ProcessLookupError):
        return None


def remember(demo):
    processes = {machine.name: machine.holder for machine in demo.machines if machine.holder}
    processes["switch"] = demo.switch.pid
    with open(STATE_FILE, "w", encoding="utf-8") as file:
        json.dump({name: [pid, started_at(pid)] for name, pid in processes.items()}, file)


def remembered():
    """{name: pid} of what is still running of an earlier demo."""
    try:
        with open(STATE_FILE, encoding="utf-8") as file:
            processes = json.load(file)
    except FileNotFoundError:
        return {}
    return {name: pid for name, (pid, start) in processes.items() if start is not None and started_at(pid) == start}


def take_down(quiet=False):
    running = remembered()
    for pid in running.values():
        os.kill(pid, signal.SIGKILL)
    for name, pid in running.items():
        await_until(lambda: started_at(pid) is None or not os.path.exists(f"/proc/{pid}/root/run"), f"{name} is gone", 20)
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    if not quiet:
        print("removed: " + ", ".join(running) if running else "no machines were up")
    elif running:
        print("removed the machines of an earlier demo")


def enter(name):
    running = remembered()
    if name not in running or name == "switch":
        names = ", ".join(sorted(set(running) - {"switch"})) or "none; ./demo --keep leaves them up"
        sys.exit(f"./demo enter: no machine {name} is up; up: {names}")
    node = Node.__new__(Node)
    node.holder = running[name]
    from lab.process import BINARIES

    node.binaries = BINARIES
    environment = node.environment() | {"PS1": f"{name}:\\w# "}
    argv = node.enter_argv(["bash", "--norc", "-i"] if sys.stdin.isatty() else ["bash", "--norc"])
    os.execvpe(argv[0], argv, environment)


def main(arguments, machine_class=Node):
    if arguments[:1] == ["enter"]:
        if len(arguments) != 2:
            sys.exit("usage: ./demo enter NAME")
        return enter(arguments[1])
    if arguments == ["--down"]:
        return take_down()
    keep = arguments == ["--keep"]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    demo = Demo(keep, machine_class)
    status = 1
    try:
        demo.run()
        status = 0
    except (LabError, OSError) as error:
        demo.screen.progress_end()
        print(demo.screen.paint("1;31", f"\nstep {demo.screen.step_number} failed: {demo.screen.step_title}"), f"\n{error}", flush=True)
        for machine in demo.machines:
            log = machine.log_text().splitlines()[-15:] if machine.running else []
            if log:
                print(f"last of {machine.name}'s log:")
                demo.screen.output("\n".join(log))
    except KeyboardInterrupt:
        print(f"\ninterrupted in step {demo.screen.step_number}: {demo.screen.step_title}")
        status = 130
    finally:
        if keep:
            print("\nThe machines are up. Enter one:\n    ./demo enter proxmox-105\n    ./demo enter proxmox-106\nRemove them:\n    ./demo --down")
        else:
            demo.close()
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
