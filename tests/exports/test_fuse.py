"""/dev/drbdN as a FUSE file behind a loop device, met by the programs that use block devices."""

import json
import mmap
import os
import re
import signal
import subprocess

import pytest

from .conftest import MIB, Server, await_until, run

pytestmark = [pytest.mark.feature("Block device: clients", export="/dev/drbdN"), pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists("/dev/fuse") or not os.path.exists("/dev/loop-control"),
    reason="needs root, /dev/fuse and /dev/loop-control")]


def loop_of(device):
    return f"loop{os.minor(os.stat(device).st_rdev)}"


def backing_of(loop):
    try:
        with open(f"/sys/block/{loop}/loop/backing_file", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None


def size_of(device):
    return int(run("blockdev", "--getsize64", device).stdout)


def is_read_only(device):
    return run("blockdev", "--getro", device).stdout.strip() == "1"


def write(device, offset, data):
    fd = os.open(device, os.O_WRONLY)
    try:
        assert os.pwrite(fd, data, offset) == len(data)
        os.fsync(fd)
    finally:
        os.close(fd)


def read(device, offset, size):
    fd = os.open(device, os.O_RDONLY)
    try:
        return os.pread(fd, size, offset)
    finally:
        os.close(fd)


def test_the_node_is_there_from_the_beginning(start, device, directory):
    server = start(0, primary=False, device=device)
    assert server.ask("settled") == "ok"
    assert size_of(device) == 0 and is_read_only(device)
    loop = loop_of(device)
    assert server.ask(f"size {16 * MIB}") == "ok" and server.ask("settled") == "ok"
    assert size_of(device) == 16 * MIB and is_read_only(device)
    with pytest.raises(OSError, match="Input/output error"):
        read(device, 0, 4096)
    with pytest.raises(OSError):
        write(device, 0, bytes(4096))
    server.primary()
    assert not is_read_only(device)
    write(device, 4096, b"a" * 4096)
    assert read(device, 0, 8192) == bytes(4096) + b"a" * 4096
    assert server.ask(f"size {32 * MIB}") == "ok" and server.ask("settled") == "ok"
    assert size_of(device) == 32 * MIB
    server.secondary()
    assert is_read_only(device)
    with pytest.raises(OSError, match="Input/output error"):
        read(device, 0, 4096)
    server.stop()
    assert not os.path.lexists(device)
    assert not os.path.exists(server.fuse_file)
    assert directory not in run("cat", "/proc/mounts").stdout
    await_until(lambda: directory not in (backing_of(loop) or ""), "the loop device is free")
    # The kernel keeps a read-only mark with the number; its next user must not inherit ours.
    with open(f"/sys/block/{loop}/ro") as mark:
        assert mark.read() == "0\n"


def test_the_loop_device_is_direct_and_frees_itself(start, device):
    start(device=device)
    row = json.loads(run("losetup", "--json", "-O", "NAME,DIO,AUTOCLEAR,LOG-SEC", "-l").stdout)["loopdevices"]
    mine = [r for r in row if r["name"] == f"/dev/{loop_of(device)}"][0]
    assert (mine["dio"], mine["autoclear"], mine["log-sec"]) == (True, True, 512)


def test_a_file_system_lives_on_it(start, device, directory, aside):
    server = start(256 * MIB, device=device, delay_ms=1)
    mount = os.path.join(directory, "mount")
    os.mkdir(mount)
    run("mkfs.ext4", "-q", device)
    assert server.ask("check") == "unused"
    run(*aside, "mount", device, mount)
    assert f"{device} {mount} ext4" in run(*aside, "cat", "/proc/mounts").stdout
    assert server.ask("check") == f"used mounted on {mount}"
    run(*aside, "fio", "--name=v", f"--filename={mount}/file", "--ioengine=libaio", "--iodepth=16", "--direct=1", "--rw=randwrite",
        "--bsrange=4k-128k", "--size=24m", "--verify=crc32c", "--verify_state_save=0", "--verify_fatal=1")
    run(*aside, "cp", "-a", "/usr/include/linux", mount)
    run(*aside, "umount", mount)
    assert server.ask("check") == "unused"
    server.secondary()
    server.primary()
    run("fsck.ext4", "-f", "-n", device)
    run(*aside, "mount", "-o", "ro", device, mount)
    run(*aside, "diff", "-r", "/usr/include/linux", os.path.join(mount, "linux"))
    run(*aside, "umount", mount)
    assert server.counters()["out"] == 0


@pytest.mark.parametrize("limits", [{}, {"requests": 4, "arena_mib": 1, "delay_ms": 2}], ids=["plenty", "scarce"])
def test_fio_verifies(start, device, limits):
    server = start(64 * MIB, device=device, **limits)
    run("fio", "--name=v", f"--filename={device}", "--ioengine=libaio", "--iodepth=64", "--direct=1", "--rw=randwrite",
        "--bsrange=512-1m", "--blockalign=512", "--size=24m", "--verify=crc32c", "--verify_state_save=0", "--verify_fatal=1", "--randseed=4",
        *(["--io_size=12m"] if limits else []))
    counters = server.counters()
    assert bool(limits) == (counters["no_room"] > 0)
    assert counters["out"] == 0


def test_discard_and_zeroes(start, device):
    server = start(512 * MIB, device=device)
    for command in (["blkdiscard", device], ["blkdiscard", "-z", "-o", "0", "-l", str(300 * MIB), device],
                    ["blkdiscard", "-o", str(MIB), "-l", str(MIB), device]):
        write(device, MIB, b"x" * MIB)
        before = server.counters()
        run(*command)
        after = server.counters()
        assert after["write_zeroes"] > before["write_zeroes"]
        assert after["writes"] == before["writes"]
        assert read(device, MIB, MIB) == bytes(MIB)
    assert server.counters()["write_zeroes"] >= 512 // 128 + 3 + 1
    server.ask("zero 0")
    write(device, MIB, b"x" * MIB)
    run("blkdiscard", "-z", "-o", str(MIB), "-l", str(MIB), device)
    assert read(device, MIB, MIB) == bytes(MIB)
    server.ask("zero 1")
    server.ask("discard 0")
    write(device, MIB, b"x" * MIB)
    run("blkdiscard", device, check=False)  # the kernel calls a discard that was not done a success, the first time
    assert read(device, MIB, MIB) == b"x" * MIB
    run("blkdiscard", "-z", "-o", str(MIB), "-l", str(MIB), device)
    assert read(device, MIB, MIB) == bytes(MIB)


def test_flush_reaches_the_volume(start, device):
    server = start(device=device)
    before = server.counters()["flushes"]
    run("dd", "if=/dev/zero", f"of={device}", "bs=1M", "count=2", "conv=fsync")
    assert server.counters()["flushes"] > before


def test_closing_after_writing_writes_back(start, device):
    """As the last close of any block device does."""
    server = start(device=device)
    run("dd", "if=/dev/urandom", f"of={device}", "bs=1M", "count=8")
    await_until(lambda: server.counters()["writes"] * MIB >= 8 * MIB, "written back")


def test_what_was_written_is_down_before_it_counts_as_unused(start, device):
    server = start(device=device)
    data = os.urandom(8 * MIB)
    fd = os.open(device, os.O_WRONLY)
    os.pwrite(fd, data, 0)
    os.close(fd)
    assert server.ask("check") == "unused"
    server.secondary()
    server.primary()
    assert read(device, 0, len(data)) == data


def test_the_page_cache_does_not_outlive_a_role(start, device):
    server = start(device=device)
    write(device, 0, b"old" + bytes(509))
    assert read(device, 0, 3) == b"old"
    run("qemu-io", "-f", "raw", "-c", "write -P 0x6e 0 512", server.uri())  # as the peer does while we are Secondary
    server.secondary()
    server.primary()
    assert read(device, 0, 3) == b"nnn"


def test_users_are_named(start, device):
    server = start(device=device)
    with subprocess.Popen(["sleep", "60"], stdin=open(device, "rb")) as sleeper:
        assert server.ask("check") == f"used sleep[{sleeper.pid}]"
        sleeper.kill()
    fd = os.open(device, os.O_RDWR | os.O_EXCL)
    assert re.fullmatch(rf"used \S+\[{os.getpid()}\]", server.ask("check"))
    os.close(fd)
    assert server.ask("check") == "unused"


def test_a_write_back_that_does_not_end_is_a_use(start, device):
    server = start(device=device)
    server.ask("hold 1")
    fd = os.open(device, os.O_WRONLY)
    os.pwrite(fd, b"x" * 4096, 0)
    os.close(fd)
    assert "whose write-back does not end" in server.ask("check", limit_s=15)
    server.ask("hold 0")
    assert server.ask("check") == "unused"


def test_io_errors_are_io_errors(start, device):
    server = start(device=device)
    server.ask("error 5")
    with pytest.raises(OSError, match="Input/output error"):
        read(device, 0, 4096)
    server.ask("error 0")
    assert read(device, 0, 4096) == bytes(4096)


def test_the_file_itself_can_be_used(start, device):
    server = start(4 * MIB, device=device)
    with open(server.fuse_file, "r+b", buffering=0) as file:
        assert os.fstat(file.fileno()).st_size == 4 * MIB
        aligned = mmap.mmap(-1, MIB)  # in whole pages, as the loop driver's are
        aligned.write(b"q" * MIB)
        file.seek(3 * MIB)
        assert file.write(aligned) == MIB
        assert os.preadv(file.fileno(), [mmap.mmap(-1, 2 * MIB)], 2 * MIB + 512) == 2 * MIB - 512
        assert os.preadv(file.fileno(), [aligned], 3 * MIB + 512) == MIB - 512
        assert aligned[:] == b"q" * MIB
        assert os.preadv(file.fileno(), [aligned], 4 * MIB) == 0
        with pytest.raises(OSError, match="No space left"):
            file.write(b"q" * 512)
        file.seek(100)
        with pytest.raises(OSError, match="Invalid argument"):
            file.read(512)


@pytest.mark.parametrize("make, why", [
    (lambda path: open(path, "w", encoding="ascii").close(), "it is not a block device"),
    (os.mkdir, "it is not a block device"),
    (lambda path: os.mknod(path, 0o60600, os.stat(run("findmnt", "-no", "SOURCE", "/").stdout.strip()).st_rdev),
     "is a device of the kernel's own"),
])
def test_what_is_in_the_way_stays(start, device, make, why):
    make(device)
    try:
        server = start(device=device, primary=False)
        assert why in server.ask("settled")
        assert server.ask("check") == "unused"
        server.stop()
        assert os.path.lexists(device)
    finally:
        os.rmdir(device) if os.path.isdir(device) else os.unlink(device)


def test_a_killed_process_is_replaced(start, device, directory, aside):
    """Its users get errors, its loop device goes with them, and what it left is in nobody's way."""
    first = start(256 * MIB, device=device)
    mount = os.path.join(directory, "mount")
    os.mkdir(mount)
    run("mkfs.ext4", "-q", device)
    run(*aside, "mount", device, mount)
    loop = loop_of(device)
    with subprocess.Popen([*aside, "fio", "--name=w", f"--filename={mount}/f", "--size=64m", "--rw=randwrite", "--bs=4k", "--iodepth=16",
                           "--ioengine=libaio", "--direct=1", "--time_based", "--runtime=30"],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as fio:
        writes = first.counters()["writes"]
        await_until(lambda: first.counters()["writes"] > writes + 500, "fio writes")
        first.kill()
        assert fio.wait(20) != 0
    second = start(64 * MIB, device=device)
    assert loop_of(device) != loop
    write(device, 0, b"w" * 4096)
    assert read(device, 0, 4096) == b"w" * 4096
    run(*aside, "umount", mount)
    await_until(lambda: backing_of(loop) is None, "the dead loop device is free")
    second.stop()


def test_a_killed_helper_is_replaced(start, device):
    server = start(device=device)
    children = run("pgrep", "-P", str(server.process.pid), "-x", "duplex-loop").stdout.split()
    assert len(children) == 1
    old = os.open(device, os.O_RDWR)
    os.kill(int(children[0]), signal.SIGTERM)  # which it must survive
    write(device, 0, b"1" * 512)
    os.kill(int(children[0]), signal.SIGKILL)
    await_until(lambda: "the helper process that holds its loop device ended" in server.log(), "noticed")
    await_until(lambda: os.path.exists(device) and os.stat(device).st_rdev != os.fstat(old).st_rdev, "a new device")
    assert server.ask("settled") == "ok"
    write(device, 512, b"2" * 512)
    assert os.pread(old, 512, 0) == b"1" * 512
    os.close(old)
    assert read(device, 0, 1024) == b"1" * 512 + b"2" * 512


def test_a_power_failure_leaves_nothing(directory):
    """The node is a PID and mount namespace; everything in it is killed while its device is mounted and written."""
    node = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private")
    script = os.path.join(directory, "script")
    with open(script, "w", encoding="ascii") as file:
        file.write('mount -t tmpfs dev /mnt; cp -a /dev/null /dev/fuse /dev/loop-control /dev/urandom /mnt; mount --bind /mnt /dev\n'
                   'exec "$@"\n')
    server = Server(directory, 128 * MIB, device="/dev/drbd0", wrapper=(*node, "sh", script))
    server.primary()
    with open(f"/proc/{server.process.pid}/task/{server.process.pid}/children", encoding="ascii") as file:
        holder = file.read().split()[0]
    inside = ("nsenter", "-t", holder, "--mount", "--pid")
    number = run(*inside, "stat", "-c", "%T", "/dev/drbd0").stdout.strip()
    loop = f"loop{int(number, 16)}"
    assert backing_of(loop) is not None
    run(*inside, "sh", "-c", "mkfs.ext4 -q /dev/drbd0 && mkdir -p /run/m && mount /dev/drbd0 /run/m")
    writer = subprocess.Popen([*inside, "dd", "if=/dev/urandom", "of=/run/m/f", "bs=64k", "oflag=sync"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    writes = server.counters()["writes"]
    await_until(lambda: server.counters()["writes"] > writes + 50, "dd writes")
    os.kill(int(holder), signal.SIGKILL)
    server.process.wait(20)
    writer.wait(20)
    await_until(lambda: backing_of(loop) is None, "the loop device is free", limit_s=20)
    os.path.isdir("/run/m") and os.rmdir("/run/m")
