"""Our drbdmeta and the one of drbd-utils on the same devices: each reads what the other wrote, and both write the same
bytes. Runs where drbd-utils is installed."""
import os
import random
import re
import subprocess

import pytest

from metadata_tools import MIB, MINOR, Loop, Tool, from_version, get, needs_loop, put, sparse
from mdfmt import MAGIC_UNCLEAN, ActiveSet, Superblock, ring_slot

REFERENCE = os.environ.get("DRBDMETA", "/usr/sbin/drbdmeta")


def is_reference(program):
    try:
        usage = subprocess.run([program], capture_output=True, text=True).stdout
    except OSError:
        return False
    return "v09 device index" in usage  # ours knows only v08


pytestmark = [needs_loop, pytest.mark.skipif(not is_reference(REFERENCE), reason="needs drbdmeta of drbd-utils")]


@pytest.fixture
def pair(tmp_path):
    """pair(size) -> two equal devices: (path, our tool), (path, the reference's tool), both with --force."""
    loops = []

    def make(size):
        result = []
        for name, program in (("ours", None), ("theirs", REFERENCE)):
            path = sparse(tmp_path / f"{name}.img", size)
            loops.append(Loop(path))
            directory = tmp_path / name
            directory.mkdir()
            result.append((path, Tool(directory, loops[-1].device, force=True, program=program)))
        return result
    yield make
    for each in loops:
        each.close()
    known = f"/var/lib/drbd/drbd-minor-{MINOR}.lkbd"
    if os.path.exists(known):
        os.unlink(known)


def flush(tool):
    subprocess.run(["blockdev", "--flushbufs", tool.device], check=True)


def same(pair):
    (ours, our_tool), (theirs, their_tool) = pair
    for tool in (our_tool, their_tool):
        flush(tool)
    assert subprocess.run(["cmp", ours, theirs]).returncode == 0


def without_flags(dump):
    # drbd-utils up to 9.22 prints flags 0x00000000 always.
    return re.sub(r"flags 0x[0-9A-F]{8};", "flags;", from_version(dump))


def both(pair, index, *words, code=0):
    """Runs the same words on both; our texts and codes are theirs, but for the device's name."""
    results = []
    for path, tool in pair:
        p = tool.run(index, *words, code=code)
        results.append(tuple(text.replace(tool.device, "DEVICE") for text in (p.stdout, p.stderr)))
    assert results[0] == results[1]


@pytest.mark.parametrize("seed", range(12))
def test_create_and_read_each_other(pair, tmp_path, seed):
    rnd = random.Random(seed)
    index = rnd.choice(["internal", "internal", "flex-external", 0, 1])
    sectors = rnd.randrange(1000, 600000) if index not in (0, 1) else rnd.randrange(524288, 600000)
    stripes = rnd.choice([[], ["--al-stripes", 3, "--al-stripe-size-kB", 12]]) if index == "internal" else []
    devices = pair(sectors * 512)
    for _, tool in devices:
        tool.run(index, "create-md", *stripes)
        tool.run(index, "set-gi", "8A2F01C7D4E5B960:1111111111111110:2222222222222222:3333333333333332:1:1:0:1:0:1")
        tool.run(index, "write-dev-uuid", "C0FFEE0123456789")
    same(devices)
    for path, tool in devices:
        mine = Tool(tmp_path, tool.device, force=True)
        other = Tool(tmp_path, tool.device, force=True, program=REFERENCE)
        for command in ("get-gi", "show-gi", "dstate", "read-dev-uuid"):
            assert mine.run(index, command).stdout == other.run(index, command).stdout
        assert without_flags(mine.run(index, "dump-md").stdout) == without_flags(other.run(index, "dump-md").stdout)


def crashed(path, tool, seed, size):
    """A node that crashed: random bits, a random log, perhaps torn. The same for the same seed."""
    rnd = random.Random(seed)
    at = (size & ~4095) - 4096
    sb = Superblock(get(path, at, 4096))
    sb.la_size = at // 512 + sb.bm_off
    sb.flags, sb.magic, sb.al_nr = rnd.choice([0x13, 0x11, 0x93, 0x3F]), MAGIC_UNCLEAN, 1237
    act = ActiveSet(rnd.choice([67, 257, 1237]), rnd.choice([0, 5, 0xFFFFFFF0]) if sb.stripes != 3 else 0)
    for _ in range(rnd.randint(1, 50)):
        tr, raw = act.transaction(sorted({rnd.randrange(sb.la_size // 8192 + 1) for _ in range(rnd.randint(1, 8))}))
        put(path, at + sb.al_off * 512 + ring_slot(tr, sb.stripes, sb.stripe_4k) * 4096, raw)
    for _ in range(rnd.choice([0, 0, 1, 2])):
        put(path, at + sb.al_off * 512 + rnd.randrange(-sb.al_off // 8) * 4096 + 3000, b"TORN")
    room = (sb.al_off - sb.bm_off) * 512
    put(path, at + sb.bm_off * 512, rnd.choice([bytes(room), rnd.randbytes(room)]))
    put(path, at, sb.pack())
    flush(tool)


@pytest.mark.parametrize("seed", range(25))
def test_apply_al(pair, seed):
    rnd = random.Random(seed)
    size = rnd.randrange(20000, 2000000) * 512
    stripes = rnd.choice([[], [], ["--al-stripes", 4, "--al-stripe-size-kB", 16],
                          ["--al-stripes", 3, "--al-stripe-size-kB", 12]])
    devices = pair(size)
    for path, tool in devices:
        tool.run("internal", "create-md", *stripes)
        crashed(path, tool, seed, size)
    results = [tool.run("internal", "apply-al", code=None) for _, tool in devices]
    assert (results[0].returncode == 0) == (results[1].returncode == 0)
    assert results[0].stderr == results[1].stderr
    same(devices)
    if results[0].returncode == 0:
        dumps = [without_flags(tool.run("internal", "dump-md").stdout) for _, tool in devices]
        assert dumps[0] == dumps[1]


def test_same_texts_and_bytes(pair):
    devices = pair(64 * MIB)
    both(devices, "internal", "create-md")
    both(devices, "internal", "create-md")
    both(devices, "internal", "outdate", code=5)
    both(devices, "internal", "set-gi", "1:2:3:4:1:1:1:1")
    for command in ("outdate", "dstate", "invalidate", "get-gi", "show-gi", "apply-al", "read-dev-uuid"):
        both(devices, "internal", command)
        same(devices)
    both(devices, "internal", "create-md", "--al-stripes", 2, code=30)
    both(devices, "internal", "wipe-md")
    both(devices, "internal", "wipe-md")
    both(devices, "internal", "dump-md", code=1)
    same(devices)


@pytest.mark.parametrize("seed", range(6))
def test_restore_each_others_dumps(pair, tmp_path, seed):
    rnd = random.Random(seed)
    devices = pair(64 * MIB)
    (path, mine), (_, theirs) = devices
    mine.run("internal", "create-md")
    mine.run("internal", "set-gi", "1:2:3:4:1:1:0:1:0:1:0")
    at = 64 * MIB - 4096
    sb = Superblock(get(path, at, 4096))
    sb.la_size = 130992
    put(path, at, sb.pack())
    pieces = [rnd.choice([bytes(rnd.randrange(1, 900)), b"\xff" * rnd.randrange(1, 900), rnd.randbytes(60)])
              for _ in range(40)]
    put(path, at + sb.bm_off * 512, b"".join(pieces)[:4096].ljust(4096, b"\0"))
    flush(mine)
    dump = tmp_path / "dump"
    dump.write_text(mine.run("internal", "dump-md").stdout)
    other = Tool(tmp_path, mine.device, force=True, program=REFERENCE)
    assert without_flags(dump.read_text()) == without_flags(other.run("internal", "dump-md").stdout)
    theirs.run("internal", "create-md")
    theirs.run("internal", "restore-md", dump)
    same(devices)
