"""Clean Debian roots: made once with debootstrap, used through an overlay each."""

import os
import shutil
import subprocess
import tempfile

from lab.loop import Loop, await_unused
from lab.process import REPOSITORY, LabError, Outcome, WaitExpired, kill_group, run_local

PACKAGES = os.path.join(REPOSITORY, "build/packages")
MINIMAL = os.path.join(PACKAGES, "bookworm")
BOOTABLE = os.path.join(PACKAGES, "bookworm-systemd")
APT = "DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 --no-install-recommends -y"

# In a mount and a PID namespace: what a chroot needs, then the command.
_ENTER = r"""
set -e
root=$1
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 dev "$root/dev"
for device in null zero full random urandom tty; do cp -a /dev/$device "$root/dev/$device"; done
ln -s /proc/self/fd "$root/dev/fd"
mkdir "$root/dev/pts"
mount -t devpts devpts "$root/dev/pts"
mount -t tmpfs run "$root/run"
mkdir "$root/run/lock"
mkdir -p "$root/packages"
mount --bind "$2" "$root/packages"
exec chroot "$root" /bin/sh -c "$3"
"""


def make_bases():
    """The roots below all others. Minutes at the first time, nothing later."""
    if not os.path.exists(MINIMAL + "/ready"):
        shutil.rmtree(MINIMAL, ignore_errors=True)
        run_local(["debootstrap", "--variant=minbase", "bookworm", MINIMAL], limit_s=900)
        with open(MINIMAL + "/usr/sbin/policy-rc.d", "w", encoding="ascii") as policy:
            policy.write("#!/bin/sh\nexit 101\n")
        os.chmod(MINIMAL + "/usr/sbin/policy-rc.d", 0o755)
        _copy_network_settings(MINIMAL)
        _enter(MINIMAL, "apt-get -qq update && apt-get -qq -y upgrade && apt-get clean", limit_s=300)
        open(MINIMAL + "/ready", "w", encoding="ascii").close()
    if not os.path.exists(BOOTABLE + "/ready"):
        shutil.rmtree(BOOTABLE, ignore_errors=True)
        with Root(MINIMAL, keep=BOOTABLE) as root:
            root.run(f"{APT} install systemd-sysv dbus udev kmod && apt-get clean && rm /usr/sbin/policy-rc.d && touch /ready", limit_s=300)


def _copy_network_settings(root):
    shutil.copy("/etc/resolv.conf", root + "/etc/resolv.conf")
    for name in os.listdir("/etc/apt/apt.conf.d"):
        if "proxy" in name.lower():
            shutil.copy(os.path.join("/etc/apt/apt.conf.d", name), os.path.join(root, "etc/apt/apt.conf.d", name))


def _enter(root, command, check=True, limit_s=120):
    argv = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child",
            "--propagation", "private", "bash", "-c", _ENTER, "enter", root, PACKAGES, command]
    outcome = run_local(argv, check=False, limit_s=limit_s,
                        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"})
    if check and outcome.status != 0:
        raise LabError(f"in the root: `{command}` ended with {outcome.status}\n{outcome.output}")
    return outcome


class Root:
    """A root of its own over `base`. Thrown away at the end, unless what differs from the base is to be kept in `keep`, as a base
    for others (an overlay's upper folder over MINIMAL)."""

    def __init__(self, base=None, keep=None):
        self._layers = {None: [MINIMAL], MINIMAL: [MINIMAL], BOOTABLE: [BOOTABLE, MINIMAL]}[base]
        self._keep = keep
        self._directory = tempfile.mkdtemp(prefix="duplex-root.", dir="/var/tmp")
        self.path = self._directory + "/root"
        self._upper = keep or self._directory + "/upper"
        scratch = f"{keep}-scratch" if keep else f"{self._directory}/scratch"
        for path in (self.path, self._upper, scratch):
            os.makedirs(path, exist_ok=True)
        run_local(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={':'.join(self._layers)},upperdir={self._upper},"
                   f"workdir={scratch}", self.path])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        run_local(["umount", self.path], check=False)
        shutil.rmtree(self._directory, ignore_errors=True)

    # Commands and files

    def run(self, command, check=True, limit_s=120):
        return _enter(self.path, command, check, limit_s)

    def install(self, *packages, limit_s=180):
        return self.run(f"{APT} install {' '.join(packages)}", limit_s=limit_s)

    def write(self, path, text, mode=0o644):
        full = self.path + path
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(full, mode)

    def read(self, path):
        with open(self.path + path, encoding="utf-8") as file:
            return file.read()

    def exists(self, path):
        return os.path.lexists(self.path + path)

    def files(self):
        """What differs from the base, without what apt, dpkg and the running of programs leave."""
        found = self.run("find / -xdev -newer /ready -not -type d -not -path '/proc/*' -not -path '/dev/*' -not -path '/run/*' "
                         "-not -path '/packages/*' -not -path '/var/lib/dpkg/*' -not -path '/var/lib/apt/*' -not -path '/var/cache/*' "
                         "-not -path '/var/log/*' -not -path '/tmp/*' -not -name 'ld.so.cache'").output
        return set(found.split("\n")) - {""}

    def boot(self, script, disk=None, limit_s=120):
        """Boots the root with systemd in a container and runs `script` there once multi-user.target is reached, as a service; then
        powers off. `disk`, a file, is /dev/sdb1. Returns what the script printed, with its status, and what the container printed."""
        held = Loop(disk) if disk else None
        try:
            return self._boot(script, [f"--bind=/dev/loop{held.number}:/dev/sdb1"] if held else [], limit_s)
        finally:
            if held:
                held.release()
                await_unused(disk)

    def _boot(self, script, binds, limit_s):
        self.write("/root/scenario", script, 0o755)
        self.write("/etc/systemd/system/scenario.service",
                   "[Unit]\nAfter=multi-user.target\n[Service]\nType=oneshot\n"
                   "ExecStart=/bin/sh -c '/root/scenario >/root/output 2>&1; echo $? >/root/status; systemctl --no-block poweroff'\n"
                   "TimeoutStartSec=infinity\n[Install]\nWantedBy=graphical.target\n")
        self.run("systemctl -q enable scenario.service && systemctl -q set-default graphical.target && echo node >/etc/hostname")
        # Killed with its PID namespace: a container outlives a killed systemd-nspawn.
        argv = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
                "--propagation", "slave", "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network",
                "--bind=/dev/fuse", "--bind=/dev/loop-control", "--capability=all", f"--bind={PACKAGES}:/packages", *binds, "-b", "-D", self.path,
                "--console=pipe"]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   start_new_session=True)
        try:
            console, _ = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            kill_group(process)
            console, _ = process.communicate()
        text = console.decode("utf-8", "replace")
        if not self.exists("/root/status"):
            seen = self.read("/root/output") if self.exists("/root/output") else ""
            raise WaitExpired(f"the scenario did not end within {limit_s} s\n--- it printed\n{seen}\n--- the console\n{text[-4000:]}")
        outcome = Outcome(int(self.read("/root/status")), self.read("/root/output").encode())
        os.unlink(self.path + "/root/status")
        return outcome, text
