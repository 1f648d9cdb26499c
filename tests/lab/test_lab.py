"""The lab keeps its promises: what a power failure loses and what it does not, comparisons that see one wrong sector,
and nothing left behind when the driver dies."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest

from lab import compare, loop
from lab.disk import Disk, VolatileDisk
from lab.machine import pattern
from lab.network import Switch
from lab.node import Node
from lab.process import LabError, await_until
from lab.uml import KernelNode


class BareNode(Node):
    needs_binaries = False


@pytest.fixture
def directory():
    path = tempfile.mkdtemp(prefix="duplex-lab.", dir="/var/tmp")
    yield path
    shutil.rmtree(path)


@pytest.fixture
def switch():
    switch = Switch()
    yield switch
    switch.close()


@pytest.mark.parametrize("kind", [BareNode, KernelNode])
def test_volatile_disk_loses_what_was_not_flushed(directory, switch, kind):
    machine = kind("proxmox-105", "10.0.7.105", directory, switch, VolatileDisk(directory + "/disk", 64 << 20))
    try:
        machine.boot()
        machine.write(8192, pattern("flushed", 4096), "/dev/sdb1")
        with open(directory + "/data", "wb") as file:
            file.write(pattern("not flushed", 4096))
        machine.run(f"dd if={directory}/data of=/dev/sdb1 bs=4096 seek=9 oflag=direct conv=notrunc status=none")
        assert machine.read(9 * 4096, 4096, "/dev/sdb1") == pattern("not flushed", 4096)
        machine.power_off()
        machine.boot()
        assert machine.read(8192, 4096, "/dev/sdb1") == pattern("flushed", 4096)
        assert machine.read(9 * 4096, 4096, "/dev/sdb1") == bytes(4096)
    finally:
        machine.close()


def test_power_failure_and_return(directory, switch):
    machine = BareNode("proxmox-105", "10.0.7.105", directory, switch, Disk(directory + "/disk", 64 << 20))
    try:
        machine.boot()
        machine.write_file("/etc/drbd.conf", "kept\n")
        machine.run("echo x >/run/volatile; sleep 300 </dev/sdb1 >/dev/null 2>&1 & true")
        machine.power_off()
        assert not loop.users(directory + "/disk")
        machine.boot()
        assert machine.run("cat /etc/drbd.conf; uname -n").output == "kept\nproxmox-105\n"
        assert machine.run("test -e /run/volatile", check=False).status == 1
    finally:
        machine.close()


def test_comparison_sees_one_sector(directory):
    paths = [directory + "/a", directory + "/b"]
    for path in paths:
        with open(path, "wb") as file:
            file.truncate(1 << 20)
            file.seek(compare.superblock_sector(1 << 20) * 512)
            file.write((1000).to_bytes(8, "big") + bytes(52) + (0x8374026B).to_bytes(4, "big"))
    assert compare.compare_data_areas(*paths) == 512000
    with open(paths[1], "r+b") as file:
        file.seek(512000 - 1)
        file.write(b"x")
    with pytest.raises(LabError, match="differ in 1 of 1000 sectors; first at sector 999"):
        compare.compare_data_areas(*paths)


def test_nothing_left_when_the_driver_is_killed(directory):
    program = (f"import sys; sys.path.insert(0, {os.path.dirname(os.path.dirname(os.path.abspath(__file__)))!r})\n"
               "from lab.network import Switch; from lab.node import Node; from lab.disk import VolatileDisk; Node.needs_binaries = False\n"
               f"s = Switch(); n = Node('proxmox-105', '10.0.7.105', {directory!r}, s, VolatileDisk({directory!r} + '/disk', 1 << 26))\n"
               "n.boot(); n.start('exec sleep 1234'); print('up', n.holder, s.pid, flush=True); sys.stdin.read()\n")
    driver = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    word, holder, switch = driver.stdout.readline().split()
    assert word == b"up"
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    await_until(lambda: not os.path.exists(f"/proc/{int(holder)}") and not os.path.exists(f"/proc/{int(switch)}"),
                "machine and switch gone with their driver")
    await_until(lambda: not loop.users(directory + "/disk.served/nbd"), "loop device freed")
    subprocess.run(["umount", "--lazy", directory + "/disk.served"], check=False)
