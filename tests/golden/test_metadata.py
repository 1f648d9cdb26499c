"""drbdmeta against golden images and texts of the reference tool, and the rules of meta data 15 and 16."""
import fcntl
import os
import random
import re
import shutil
import struct
import subprocess

import pytest

from metadata_tools import (BIN, GOLDEN, MIB, MINOR, Loop, Tool, from_version, get, golden, needs_loop, put, sparse,
                            unpack)
from mdfmt import MAGIC_CLEAN, MAGIC_UNCLEAN, ActiveSet, Superblock, replay, ring_slot

GIB = 1 << 30
SB_1G = GIB - 4096

DUMPS = [("int-64m-fresh", "internal", "int-64m-fresh"), ("int-odd", "internal", "int-odd"),
         ("ext-flex-16m-fresh", "flex-external", "ext-flex-16m-fresh"),
         ("ext-flex-16m-used", "flex-external", "ext-flex-16m-used"),
         ("ext-idx-256m", 0, "ext-idx-256m-slot0"), ("ext-idx-256m", 1, "ext-idx-256m-slot1")]
CRASHED = ["int-1g-crashed", "int-1g-ringwrap-torn", "int-1g-trwrap", "int-1g-striped", "int-1g-al83"]


@pytest.fixture
def image(tmp_path):
    """image(name) -> (path, tool) for a golden image as a plain file."""
    def make(name):
        path = unpack(name, tmp_path)
        return path, Tool(tmp_path, path, force=True)
    return make


@pytest.fixture
def blank(tmp_path):
    """blank(size) -> (path, tool) for an empty plain file."""
    def make(size):
        path = sparse(tmp_path / "blank.img", size)
        return path, Tool(tmp_path, path, force=True)
    return make


@pytest.fixture
def loop(tmp_path):
    """loop(size) -> (path, tool without --force, Loop)."""
    loops = []

    def make(size):
        path = sparse(tmp_path / "loop.img", size)
        loops.append(Loop(path))
        return path, Tool(tmp_path, loops[-1].device), loops[-1]
    yield make
    for each in loops:
        each.close()


# --- golden texts -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name,index,text", DUMPS)
def test_dump(image, name, index, text):
    _, tool = image(name)
    assert from_version(tool.run(index, "dump-md").stdout) == from_version(golden(text + ".dump.txt"))


@pytest.mark.parametrize("name", CRASHED)
def test_unclean_dump(image, name):
    path, tool = image(name + "-before")
    p = tool.run("internal", "dump-md")
    assert p.stderr == 'Found meta data is "unclean", please apply-al first\n'
    assert from_version(p.stdout) == from_version(golden(name + "-before.dump.txt"))
    error = tool.run("internal", "restore-md", stdin=p.stdout, code=10).stderr
    assert "unknown token: This_is_an_unclean_meta_data_dump" in error


@pytest.mark.parametrize("name,index,text", [d for d in DUMPS if (GOLDEN / (d[2] + ".get-gi.txt")).exists()])
def test_gi(image, name, index, text):
    _, tool = image(name)
    assert tool.run(index, "get-gi").stdout == golden(text + ".get-gi.txt")
    assert tool.run(index, "show-gi").stdout == golden(text + ".show-gi.txt")


@pytest.mark.parametrize("name", CRASHED)
def test_apply_al(image, name):
    path, tool = image(name + "-before")
    before = Superblock(get(path, SB_1G, 4096))
    p = tool.run("internal", "apply-al")
    assert (p.stdout, p.stderr) == ("", golden(name + ".apply-al.stderr.txt"))
    assert from_version(tool.run("internal", "dump-md").stdout) == from_version(golden(name + "-after.dump.txt"))
    after = Superblock(get(path, SB_1G, 4096))
    assert (after.flags, after.magic) == (before.flags | 0x80, MAGIC_CLEAN)
    again = tool.run("internal", "apply-al")
    assert (again.stdout, again.stderr) == ("", "")


def test_apply_al_initialises_the_log(image):
    path, tool = image("int-1g-crashed-before")
    tool.run("internal", "apply-al")
    fresh = get(unpack("int-64m-fresh", path.parent), 64 * MIB - 4096 - 32768, 32768)
    assert get(path, SB_1G - 32768, 32768) == fresh


def test_check_resize_moves(image):
    path, tool = image("int-64m-to-512m-before")
    (tool.directory / f"drbd-minor-{MINOR}.lkbd").write_text(f"67108864\t{path}\nuuid:\tC0FFEE0123456789\n")
    assert tool.run("internal", "get-gi", code=1).stdout == ""
    p = tool.run("internal", "check-resize")
    assert p.stderr == "Moving the internal meta data to its proper location\n"
    assert p.stdout == "Internal drbd meta data successfully moved.\n"
    assert from_version(tool.run("internal", "dump-md").stdout) == from_version(
        golden("int-64m-to-512m-after.dump.txt"))
    assert tool.last_known() == f"536870912\t{path}\nuuid:\tC0FFEE0123456789\n"
    assert get(path, 64 * MIB - 4096, 4096) == bytes(4096), "the old superblock must not be found again"


@pytest.mark.parametrize("name,size,index", [("int-64m-fresh", 64 * MIB, "internal"),
                                             ("int-odd", 131079 * 512, "internal"),
                                             ("ext-flex-16m-fresh", 16 * MIB, "flex-external")])
def test_create_gives_the_same_bytes(blank, tmp_path, name, size, index):
    path, tool = blank(size)
    p = tool.run(index, "create-md")
    assert p.stdout == ("initializing activity log\nWriting meta data...\n"
                        "New drbd meta data block successfully created.\n")
    assert subprocess.run(["cmp", path, unpack(name, tmp_path)]).returncode == 0


def test_create_indexed_gives_the_same_bytes(blank, tmp_path):
    path, tool = blank(256 * MIB)
    tool.run(0, "create-md")
    tool.run(1, "create-md")
    tool.run(1, "set-gi", "AAAAAAAAAAAAAAA0:BBBBBBBBBBBBBBB0:CCCCCCCCCCCCCCC0:DDDDDDDDDDDDDDD0:1:1:0:1:0:1:0")
    assert subprocess.run(["cmp", path, unpack("ext-idx-256m", tmp_path)]).returncode == 0


# --- create-md --------------------------------------------------------------------------------------------------

THERE = ("You want me to create a v08 style flexible-size internal meta data block.\n"
         "There appears to be a v08 flexible-size internal meta data block\n"
         "already in place on {} at byte offset 67104768\n"
         "\nDo you really want to overwrite the existing meta-data?\n")


@needs_loop
@pytest.mark.parametrize("answer,code", [("yes", 0), ("no", 1), ("YES", 1), ("yes ", 1), ("", 1)])
def test_overwrite_question(loop, answer, code):
    _, tool, _ = loop(64 * MIB)
    tool.run("internal", "create-md")
    tool.run("internal", "write-dev-uuid", "1234")
    text, got = tool.answer("internal", "create-md", answer=answer)
    assert got == code
    assert text.startswith(THERE.format(tool.device) + f"[need to type 'yes' to confirm] {answer}\n\n")
    assert text.endswith("successfully created.\n" if code == 0 else "Operation cancelled.\n")
    assert tool.run("internal", "read-dev-uuid").stdout == ("0" * 16 if code == 0 else "%016X" % 0x1234) + "\n"


@needs_loop
def test_overwrite_without_terminal_is_refused(loop):
    _, tool, _ = loop(64 * MIB)
    tool.run("internal", "create-md")
    p = tool.run("internal", "create-md", code=1)
    assert p.stdout == "Operation cancelled.\n"
    assert p.stderr == THERE.format(tool.device) + "stdin not a TTY, not waiting for confirmation\n"


def test_changed_stripes_are_not_forced(blank):
    _, tool = blank(64 * MIB)
    tool.run("internal", "create-md")
    assert "change the activity log stripe settings *only*?" in tool.run("internal", "create-md", "-s", "2",
                                                                         code=30).stderr


@pytest.mark.parametrize("size,index,text", [
    (60 * 1024, "internal", "{} is only 61440 bytes. That's not enough.\n"),
    (128 * MIB, 1, "Device too small: expecting meta data block at\nbyte offset 134217728, but {} is only "
                   "134217728 bytes.\n"),
])
def test_too_small(blank, size, index, text):
    path, tool = blank(size)
    assert tool.run(index, "create-md", code=10).stderr == text.format(path)


def test_smallest(blank):
    _, tool = blank(68 * 1024)
    tool.run("internal", "create-md")
    tool.run("internal", "dump-md")


def test_indexed_with_stripes_is_refused(blank):
    _, tool = blank(256 * MIB)
    assert "not 4 of 8" in tool.run(0, "create-md", "--al-stripes", "4", code=10).stderr


def test_bitmap_of_external_is_zeroed_to_its_end(blank):
    path, tool = blank(16 * MIB)
    put(path, 36864, b"\xff" * (16 * MIB - 36864))
    tool.run("flex-external", "create-md")
    assert get(path, 36864, 16 * MIB - 36864) == bytes(16 * MIB - 36864)


def test_a_used_bitmap_is_zeroed_by_writes_too(blank):
    path, tool = blank(16 * MIB)
    put(path, 36864, b"\xff" * (16 * MIB - 36864))
    tool.run("flex-external", "create-md", "--initialize-bitmap=pwrite")
    assert get(path, 36864, 16 * MIB - 36864) == bytes(16 * MIB - 36864)


XFS = struct.Struct(">IIQ")
OFFSETS = "md_offset 67104768\nal_offset 67072000\nbm_offset 67067904\n\n"
TRUNCATED = ("Device size would be truncated, which\nwould corrupt data and result in\n"
             "'access beyond end of device' errors.\n")
ZERO_OUT = ("If you want me to do this, you need to zero out the first part\nof the device (destroy the content).\n"
            "You should be very sure that you mean it.\nOperation refused.\n\n")
GUESS = ("\nEven though it looks like this would place the new meta data into\n"
         "unused space, you still need to confirm, as this is only a guess.\n")
LEFT = "       65496 kB left usable by current configuration\n"
DESTROY = "\n ==> This might destroy existing data! <==\n"


def ext(blocks, journal):
    return [(0x438, b"\x53\xef"), (0x404, struct.pack("<I", blocks)), (0x418, struct.pack("<I", 2)),
            (0x45C, b"\x04" if journal else b"\0")]


EXISTING = {
    "ext3 fits": (ext(15360, True), "ext3 filesystem", 61440, 1),
    "ext3 too big": (ext(16384, True), "ext3 filesystem", 65536, 40),
    "ext2 one block too big": (ext(16375, False), "ext2 filesystem", 65500, 40),
    "ext2 just fits": (ext(16374, False), "ext2 filesystem", 65496, 1),
    "xfs fits": ([(0, XFS.pack(0x58465342, 4096, 16000))], "xfs filesystem", 64000, 1),
    "xfs too big": ([(0, XFS.pack(0x58465342, 4096, 16384))], "xfs filesystem", 65536, 40),
    "jfs": ([(0x8000, b"JFS1" + bytes(4) + struct.pack("<Q", 100000) + bytes(8) + struct.pack("<I", 512))],
            "JFS filesystem", 50000, 1),
    "reiser": ([(0x10000, struct.pack("<I", 15000)), (0x1002C, struct.pack("<H", 4096)), (0x10034, b"ReIsEr2Fs")],
               "reiser filesystem", 60000, 1),
}


@needs_loop
@pytest.mark.parametrize("case", EXISTING)
def test_existing_filesystem(loop, case):
    path, tool, _ = loop(64 * MIB)
    puts, name, used_kb, code = EXISTING[case]
    for at, data in puts:
        put(path, at, data)
    subprocess.run(["blockdev", "--flushbufs", tool.device], check=True)
    p = tool.run("internal", "create-md", code=code)
    head = f"{OFFSETS}Found {name}\n{used_kb:12} kB data area apparently used\n{LEFT}"
    if code == 1:
        assert p.stdout == head + GUESS + "Operation canceled.\n"
        assert p.stderr == "\nDo you want to proceed?\nstdin not a TTY, not waiting for confirmation\n"
    else:
        assert p.stdout == head + "\n" + TRUNCATED + (
            "You need to either\n   * use external meta data (recommended)\n   * shrink that filesystem first\n"
            "   * zero out the device (destroy the filesystem)\nOperation refused.\n\n")
    assert get(path, 64 * MIB - 4096, 4096) == bytes(4096)


def test_force_does_not_override_refusal(blank):
    path, tool = blank(64 * MIB)
    for at, data in ext(16384, True):
        put(path, at, data)
    tool.run("internal", "create-md", code=40)
    tool.run("internal", "create-md", "--ignore-sanity-checks", code=40)
    assert get(path, 64 * MIB - 4096, 4096) == bytes(4096)


@pytest.mark.parametrize("puts,index,name,internal_text", [
    ([(4086, b"SWAP-SPACE")], "internal", "swap space signature", LEFT + TRUNCATED),
    ([(8182, b"SWAPSPACE2")], "flex-external", "swap space signature", None),
    ([(0x218, b"LVM2 001")], "internal", "LVM2 physical volume signature",
     LEFT + "Could not determine the size of the actually used data area.\n\n" + TRUNCATED),
    (ext(100, True), "flex-external", "ext3 filesystem", None),
])
def test_refused_unless_ignored(blank, puts, index, name, internal_text):
    path, tool = blank(64 * MIB)
    for at, data in puts:
        put(path, at, data)
    text = internal_text or "\nThis would corrupt existing data.\n"
    assert tool.run(index, "create-md", code=40).stdout.endswith(f"\n\nFound {name}\n{text}{ZERO_OUT}")
    assert f"{text}\nIgnoring sanity check on user request.\n\ninitializing activity log\n" in tool.run(
        index, "create-md", "--ignore-sanity-checks").stdout


@needs_loop
def test_some_data(loop):
    path, tool, _ = loop(64 * MIB)
    put(path, 69631, b"\1")
    subprocess.run(["blockdev", "--flushbufs", tool.device], check=True)
    p = tool.run("internal", "create-md", code=1)
    assert p.stdout == f"{OFFSETS}Found some data\n{DESTROY}Operation canceled.\n"


def test_some_data_has_its_name_from_blkid(blank):
    path, tool = blank(64 * MIB)
    put(path, 0x10040, b"_BHRfS_M")
    assert "Found some data\n    libblkid recognises: btrfs\n" + DESTROY in tool.run("internal", "create-md").stdout


@pytest.mark.parametrize("magic,at,index,version", [
    (0x8374026D, 64 * MIB - 4096 + 60, "internal", "v09"), (0x8374026D, 60, "flex-external", "v09"),
    (0x8374026A, 64 * MIB - 4096 + 28, "internal", "v07"), (0x8374026A, 28, "flex-external", "v07")])
def test_other_versions_are_not_replaced_by_force(blank, magic, at, index, version):
    path, tool = blank(64 * MIB)
    put(path, at, struct.pack(">I", magic))
    assert f"Converting {version} meta-data is not supported" in tool.run(index, "create-md", code=30).stderr
    assert get(path, at, 4) == struct.pack(">I", magic)
    tool.run(index, "dump-md", code=1)


@needs_loop
def test_v07_at_its_fixed_place_can_be_replaced(loop):
    path, tool, _ = loop(200 * MIB)
    at = (200 - 128) * MIB
    put(path, at + 28, struct.pack(">I", 0x8374026A))
    subprocess.run(["blockdev", "--flushbufs", tool.device], check=True)
    text, code = tool.answer("internal", "create-md", answer="yes")
    assert code == 0
    assert f"There appears to be a v07 fixed-size internal meta data block\nalready in place on {tool.device} " \
           f"at byte offset {at}\n\nSo you want me to replace the v07 meta-data\nwith newly" in text
    assert get(path, at, 4096) == bytes(4096)


# --- who may touch the device -------------------------------------------------------------------------------------

COMMANDS = ["get-gi", "dump-md", "create-md", "wipe-md", "outdate", "check-resize"]


@needs_loop
@pytest.mark.parametrize("command", COMMANDS + ["apply-al"])
def test_device_in_use(loop, command):
    _, tool, _ = loop(64 * MIB)
    tool.run("internal", "create-md")
    fd = os.open(tool.device, os.O_RDWR | os.O_EXCL)
    try:
        p = tool.run("internal", command, code=20)
    finally:
        os.close(fd)
    assert p.stdout == "Operation canceled.\n"
    asked = "" if command == "apply-al" else ("\nExclusive open failed. Do it anyways?\n"
                                              "stdin not a TTY, not waiting for confirmation\n")
    assert p.stderr == f"open({tool.device}) failed: Device or resource busy\n{asked}"


@needs_loop
def test_slots_are_shared(loop):
    _, tool, _ = loop(256 * MIB)
    tool.run(0, "create-md")
    fd = os.open(tool.device, os.O_RDWR | os.O_EXCL)
    try:
        tool.run(0, "get-gi")
    finally:
        os.close(fd)


def test_plain_file_in_use(blank):
    path, tool = blank(64 * MIB)
    with open(path, "r+b") as owner:
        fcntl.lockf(owner, fcntl.LOCK_EX)
        p = tool.run("internal", "create-md")
    assert f"open({path}) failed: Device or resource busy\n\nExclusive open failed. Do it anyways?\n" in p.stderr


def test_plain_file_needs_force(blank):
    path, tool = blank(64 * MIB)
    tool.force = False
    assert tool.run("internal", "create-md", code=20).stderr == f"'{path}' is not a block device!\n"


def test_lock_of_the_minor(blank):
    _, tool = blank(64 * MIB)
    with open(tool.directory / f"drbd-147-{MINOR}", "a") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        p = tool.run("internal", "create-md", code=20)
    assert p.stderr == f"lock on {lock.name} currently held by pid:{os.getpid()}\n"
    tool.run("internal", "create-md")


@pytest.fixture
def claimed(blank):
    """claimed(drbdsetup script) -> tool whose minor is claimed, asking that drbdsetup about it."""
    files = []

    def make(script):
        _, tool = blank(64 * MIB)
        tool.run("internal", "create-md")
        own = tool.directory / "bin"
        own.mkdir()
        shutil.copy(BIN / "drbdmeta", own / "drbdmeta")
        (own / "drbdsetup").write_text("#!/bin/sh\n[ \"$*\" = 'dstate 930' ] || exit 99\n" + script)
        (own / "drbdsetup").chmod(0o755)
        tool.program = str(own / "drbdmeta")
        claim = tool.directory / "run/minors" / MINOR
        claim.parent.mkdir(parents=True)
        claim.write_text("r0\n")
        files.append(open(claim))
        fcntl.flock(files[-1], fcntl.LOCK_EX)
        return tool
    yield make
    for each in files:
        each.close()


@pytest.mark.parametrize("state", ["UpToDate/DUnknown", "Inconsistent/UpToDate", "Attaching/DUnknown"])
def test_attached_minor(claimed, state):
    tool = claimed(f"echo {state}")
    for command in ("create-md", "apply-al", "wipe-md", "outdate", "invalidate", "check-resize", "restore-md"):
        assert tool.run("internal", command, code=20).stderr == f"Device '{MINOR}' is configured!\n"
    for words in (["set-gi", "1"], ["write-dev-uuid", "1"]):
        assert tool.run("internal", *words, code=20).stderr == f"Device '{MINOR}' is configured!\n"
    assert tool.run("internal", "get-gi").stderr == f"# Output might be stale, since minor {MINOR} is attached\n"


@pytest.mark.parametrize("script", ["echo Diskless/DUnknown", "echo Unconfigured", "exit 10", "exit 20"])
def test_minor_without_a_disk(claimed, script):
    assert claimed(script).run("internal", "apply-al").stderr == ""


@pytest.mark.parametrize("script", ["exit 1", "kill -9 $$"])
def test_minor_that_does_not_answer(claimed, script):
    assert "does not tell whether it has a disk" in claimed(script).run("internal", "apply-al", code=20).stderr


def test_claim_that_nobody_holds(blank):
    _, tool = blank(64 * MIB)
    (tool.directory / "run/minors").mkdir(parents=True)
    (tool.directory / "run/minors" / MINOR).write_text("r0\n")
    tool.run("internal", "create-md")


# --- other commands -----------------------------------------------------------------------------------------------

def test_without_meta_data(blank):
    _, tool = blank(64 * MIB)
    for command, code, text in [("get-gi", 1, ""), ("show-gi", 1, ""), ("dump-md", 1, "No valid meta data found\n"),
                                ("apply-al", 1, "No valid meta data found\n"), ("outdate", 1, ""),
                                ("invalidate", 1, ""), ("dstate", 1, "No valid meta data found\n"),
                                ("check-resize", 1, "no suitable meta data found :(\n"), ("read-dev-uuid", 1, ""),
                                ("wipe-md", 0, "There appears to be no drbd meta data to wipe out?\n")]:
        p = tool.run("internal", command, code=code)
        assert (p.stdout, p.stderr) == ("", text), command
    p = tool.run("flex-external", "check-resize", code=1)
    assert p.stderr == "Operation only supported for >= v8 internal meta data\n"


@pytest.mark.parametrize("flags,state", [(0x80, "Inconsistent"), (0x81, "Outdated"), (0x91, "Consistent"),
                                         (0xB1, "UpToDate"), (0xB0, "Inconsistent")])
def test_dstate(blank, flags, state):
    path, tool = blank(64 * MIB)
    tool.run("internal", "create-md")
    put(path, 64 * MIB - 4096 + 56, struct.pack(">I", flags))
    assert tool.run("internal", "dstate").stdout == state + "\n"


def test_outdate_and_invalidate(blank):
    path, tool = blank(64 * MIB)
    tool.run("internal", "create-md")
    p = tool.run("internal", "outdate", code=5)
    assert p.stderr == "Device is inconsistent.\n"
    put(path, 64 * MIB - 4096 + 56, struct.pack(">II", 0x80000193, MAGIC_UNCLEAN))
    tool.run("internal", "outdate")
    assert get(path, 64 * MIB - 4096 + 56, 8) == struct.pack(">II", 0x80000183, MAGIC_UNCLEAN)
    tool.run("internal", "invalidate")
    assert get(path, 64 * MIB - 4096 + 56, 8) == struct.pack(">II", 0x8000018A, MAGIC_UNCLEAN)


def test_set_gi(blank):
    path, tool = blank(64 * MIB)
    tool.run("internal", "create-md")
    p = tool.run("internal", "set-gi", "1:2::4:1:1")
    assert p.stdout == (f"previously {4:016X}:{0:016X}:{0:016X}:{0:016X}:0:0:0:0:0:0:0\n"
                        f"set GI to  {1:016X}:{2:016X}:{0:016X}:{4:016X}:1:1:0:0:0:0:0\n")
    assert tool.run("internal", "get-gi").stdout == f"{1:016X}:{2:016X}:{0:016X}:{4:016X}:1:1:0:0:0:0:0\n"
    tool.run("internal", "set-gi", ":::::::1:1")
    assert tool.run("internal", "get-gi").stdout == f"{1:016X}:{2:016X}:{0:016X}:{4:016X}:1:1:0:1:1:0:0\n"
    assert tool.run("internal", "set-gi", "1:x", code=10).stderr == "'x' is not a number.\n"
    assert tool.run("internal", "set-gi", "1:1:1:1:2", code=10).stderr == "'2' is not 0 or 1.\n"
    assert tool.run("internal", "set-gi", code=10).stderr == "Required Argument missing\n"


@needs_loop
def test_set_gi_refused(loop):
    _, tool, _ = loop(64 * MIB)
    tool.run("internal", "create-md")
    assert tool.run("internal", "set-gi", "1").stdout.endswith("Operation canceled.\n")
    assert tool.run("internal", "get-gi").stdout.startswith(f"{4:016X}:")


def test_wipe(blank):
    path, tool = blank(64 * MIB)
    tool.run("internal", "create-md")
    tool.run("internal", "write-dev-uuid", "C0FFEE0123456789")
    assert tool.last_known() == f"67108864\t{path}\nuuid:\tC0FFEE0123456789\n"
    p = tool.run("internal", "wipe-md")
    assert p.stdout == "Wiping meta data...\nDRBD meta data block successfully wiped out.\n"
    assert get(path, 64 * MIB - 4096, 4096) == bytes(4096)
    assert tool.last_known() is None


# Meta data 8.9: outcome, exit code and messages by state of the log and PRIMARY_IND.
FOUND = "{} corrupt AL transactions found\n"
IGNORED = "Error ignored, no need to apply the AL\n"
NODATA = "No usable activity log found. Do you need to create-md?\n"
INVALID = "No valid AL update transaction found.\n"


@pytest.mark.parametrize("log,primary,code,text", [
    ("zero", True, 1, NODATA), ("zero", False, 0, NODATA + IGNORED),
    ("fresh", True, 0, ""), ("fresh", False, 0, ""),
    ("first bad", True, 0, FOUND.format(1)), ("first bad", False, 0, FOUND.format(1)),
    ("third bad", True, 2, FOUND.format(1) + INVALID), ("third bad", False, 0, FOUND.format(1) + INVALID + IGNORED),
    ("two torn", True, 0, FOUND.format(2) + "Marked additional 28 MB as out-of-sync based on AL.\n"),
    ("two torn", False, 0, FOUND.format(2)),
    ("emptied", True, 0, "Nothing to do.\n"), ("emptied", False, 0, ""),
])
def test_apply_al_table(image, log, primary, code, text):
    path, tool = image("int-1g-crashed-before")
    put(path, SB_1G + 56, struct.pack(">I", 0x13 if primary else 0x11))
    al = SB_1G - 32768
    fresh = get(unpack("int-64m-fresh", path.parent), 64 * MIB - 4096 - 32768, 32768)
    if log == "zero":
        put(path, al, bytes(32768))
    elif log == "two torn":
        for block in (0, 2):
            put(path, al + 4096 * block + 1000, b"torn")
    else:
        put(path, al, fresh)
        if log == "first bad":
            put(path, al + 100, b"x")
        if log == "third bad":
            put(path, al + 3 * 4096 + 100, b"x")
        if log == "emptied":
            act = ActiveSet(67)
            tr, raw = act.transaction([])
            put(path, al, raw)
    before = get(path, GIB - 136 * 512, 136 * 512)
    p = tool.run("internal", "apply-al", code=code)
    assert (p.stdout, p.stderr) == ("", text)
    after = get(path, GIB - 136 * 512, 136 * 512)
    if code != 0:
        assert after == before, "a refused apply-al changes nothing"
        return
    sb = Superblock(after[-4096:])
    assert (sb.magic, sb.flags) == (MAGIC_CLEAN, 0x93 if primary else 0x91)
    if not (log == "two torn" and primary):
        assert after[:32768] == before[:32768], "the bitmap must not change"


def test_persistent_memory_log_is_refused(image):
    path, tool = image("int-1g-crashed-before")
    put(path, SB_1G - 32768, struct.pack(">I", 0x6AA667A6))
    assert "persistent memory format" in tool.run("internal", "apply-al", code=10).stderr


# --- dump and restore ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name,index,text", DUMPS)
def test_restore_round_trip(image, name, index, text):
    path, tool = image(name)
    dump = tool.run(index, "dump-md").stdout
    tool.run(index, "wipe-md")
    p = tool.run(index, "restore-md", stdin=dump)
    assert p.stdout.endswith("Successfully restored meta data\n")
    expected = from_version(dump).replace("# al-extents 1237;", "# al-extents 257;")
    assert from_version(tool.run(index, "dump-md").stdout) == expected


def test_restore_zeroes_the_rest_of_the_bitmap(image):
    path, tool = image("ext-flex-16m-fresh")
    dump = tool.run("flex-external", "dump-md").stdout
    put(path, 36864, b"\xff" * MIB)
    tool.run("flex-external", "restore-md", stdin=dump)
    assert get(path, 36864, MIB) == bytes(MIB)


def test_restore_of_too_many_words(image):
    path, tool = image("int-64m-fresh")
    dump = tool.run("internal", "dump-md").stdout.replace("bm {\n}", "bm {\n 999999 times 0xFFFFFFFFFFFFFFFF;\n}")
    al = get(path, 64 * MIB - 4096 - 32768, 32768)
    assert "Bitmap info too large, truncated!\n" in tool.run("internal", "restore-md", stdin=dump).stderr
    assert get(path, 64 * MIB - 40 * 1024, 4096) == b"\xff" * 4096
    assert get(path, 64 * MIB - 4096 - 32768, 32768) == al


def test_restore_to_other_stripes_and_size(image, tmp_path):
    _, tool = image("int-1g-crashed-before")
    tool.run("internal", "apply-al")
    dump = tool.run("internal", "dump-md").stdout
    other = Tool(tmp_path, sparse(tmp_path / "other.img", 2 * GIB), force=True)
    p = other.run("internal", "restore-md", "-s", "4", "-z", "16", stdin=dump)
    assert "override activity log striping from commandline\n" in p.stderr
    got = from_version(other.run("internal", "dump-md").stdout)
    assert "al-stripes 4;\nal-stripe-size-4k 4;\n" in got
    assert got[got.index("bm {"):] == dump[dump.index("bm {"):]


PARSE_ERRORS = [
    ('"v08"', '"v09"', "dump is 'v09' you requested 'v08'."),
    ('"v08"', "v08", 'line 6: unknown token: v08 ...\nParse error in line 6: short quoted string ("..up to 20 '
                     'characters, no newline..") expected'),
    ('"v08"', '"v08', 'line 6: invalid string: "v08; ...\nParse error in line 6: short quoted string ("..up to 20 '
                      'characters, no newline..") expected'),
    ("version", "versionx", "line 6: unknown token: versionx ...\nParse error in line 6: keyword 'version' expected"),
    ("0x0000000000000004", "0x4", "line 14: invalid hex number (only 8 or 16 hex digits accepted): 0x4 ...\n"
                                  "Parse error in line 14: a 16-digit hex number expected"),
    ("flags 0x", "flags 0y", "line 15: unknown token: 0y00000080 ...\nParse error in line 15: an 8-digit hex number "
                             "expected"),
    ("la-size-sect 0;", "la-size-sect 0", "Parse error in line 19: semicolon (;) expected, not 'bm-byte-per-bit'"),
    ("la-size-sect 0;", "la-size-sect zero;", "line 18: unknown token: zero ...\nParse error in line 18: number "
                                              "([0-9], up to 20 digits) expected"),
    ("bm-byte", "?", "Parse error in line 19: keyword 'bm-byte-per-bit' expected; got invalid input character "
                     "'\\x3f' [?]"),
    ("bm {\n}", "bm {\n 5 0x0000000000000000;\n}", "Parse error in line 26: keyword 'times' expected, not some "
                                                   "number"),
    ("bm {\n}", "bm {\n 0x0000000000000000;", "Parse error in line 28: repeat count, 16-digit hex number, or closing "
                                              "brace (}) expected, but end of file encountered"),
    ("bm {\n}", "bm {\n} x", "line 26: unknown token: x ...\nParse error in line 26: end of file expected"),
    ("device-uuid 0x0000000000000000", "device-uuid 0", "Parse error in line 20: a 16-digit hex number expected, not "
                                                        "some number"),
    ("bit 4096", "bit 8192", "Invalid value for bm-byte-per-bit: 8192, only 4096 is possible"),
]


@pytest.mark.parametrize("old,new,text", PARSE_ERRORS)
def test_parse_errors(image, tmp_path, old, new, text):
    path, tool = image("int-64m-fresh")
    dump = tmp_path / "dump"
    dump.write_text(golden("int-64m-fresh.dump.txt"))
    assert tool.run("internal", "verify-dump", dump).stdout == "input file parsed ok\n"
    bad = golden("int-64m-fresh.dump.txt").replace(old, new, 1)
    dump.write_text(bad)
    assert tool.run("internal", "verify-dump", dump, code=10).stderr == text + "\n"
    before = path.read_bytes()
    tool.run("internal", "restore-md", dump, code=10)
    assert path.read_bytes() == before, "a dump that cannot be read must not destroy what is there"


# --- growing devices ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("seed", range(25))
def test_move_keeps_everything(blank, seed):
    """Random sizes, from growth by a few sectors, where old and new areas overlap, to many times the size."""
    rnd = random.Random(seed)
    old = rnd.randrange(136, 400000)
    new = old + rnd.choice([rnd.randrange(8, 200), rnd.randrange(200, 4000), rnd.randrange(4000, 4000000)])
    stripes = rnd.choice([[], ["--al-stripes", "3", "--al-stripe-size-kB", "12"]])
    path, tool = blank(old * 512)
    tool.run("internal", "create-md", *stripes)
    at = (old & ~7) * 512 - 4096
    sb = Superblock(get(path, at, 4096))
    al = rnd.randbytes(-sb.al_off * 512)
    bits = rnd.randbytes((sb.al_off - sb.bm_off) * 512)
    put(path, at + sb.al_off * 512, al)
    put(path, at + sb.bm_off * 512, bits)
    put(path, at + 56, struct.pack(">II", 0x13, MAGIC_UNCLEAN))
    os.truncate(path, new * 512)

    tool.run("internal", "check-resize")
    moved_at = (new & ~7) * 512 - 4096
    moved = Superblock(get(path, moved_at, 4096))
    assert (moved.flags, moved.magic, moved.u_cur) == (0x13, MAGIC_UNCLEAN, 4)
    assert get(path, moved_at + moved.al_off * 512, len(al)) == al
    room = (moved.al_off - moved.bm_off) * 512
    assert get(path, moved_at + moved.bm_off * 512, room) == bits + bytes(room - len(bits))
    tool.run("internal", "dump-md")


@needs_loop
def test_create_offers_to_move(loop):
    path, tool, device = loop(64 * MIB)
    tool.run("internal", "create-md")
    tool.run("internal", "write-dev-uuid", "ABC")
    os.truncate(path, 96 * MIB)
    device.reread()
    text, code = tool.answer("internal", "create-md", answer="yes")
    assert code == 0 and "\nMove internal meta data from last-known position?\n" in text
    assert tool.run("internal", "read-dev-uuid").stdout == f"{0xABC:016X}\n"
    assert tool.run("internal", "create-md", "--al-stripes", "2", code=1).stdout == "Operation cancelled.\n"
    os.truncate(path, 128 * MIB)
    device.reread()
    assert tool.run("internal", "create-md", "--al-stripes", "2", code=20).stderr == (
        "Cannot move after offline resize and change AL-striping at the same time, yet.\n")


def test_uuid_of_another_device_is_not_moved(blank):
    path, tool = blank(64 * MIB)
    tool.run("internal", "create-md")
    tool.run("internal", "write-dev-uuid", "1234")
    known = tool.directory / f"drbd-minor-{MINOR}.lkbd"
    known.write_text(known.read_text().replace("1234", "1235"))
    os.truncate(path, 96 * MIB)
    assert "You --force'ed me to ignore that." in tool.run("internal", "check-resize").stderr


def test_check_resize_keeps_the_last_known_file(blank):
    path, tool = blank(64 * MIB)
    tool.run("internal", "create-md")
    (tool.directory / f"drbd-minor-{MINOR}.lkbd").unlink()
    p = tool.run("internal", "check-resize")
    assert (p.stdout, p.stderr, tool.last_known()) == ("", "", f"67108864\t{path}\n")
    tool.run("flex-external", "create-md")
    assert tool.last_known() is None


# --- the command line ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("words,code,text", [
    (["930", "v08", "/dev/x"], 20, "Too few arguments for format\n"),
    (["930", "v08", "/dev/x", "internal"], 20, "command missing\n"),
    (["930", "v10", "/dev/x", "internal", "get-gi"], 20, "Unknown format 'v10'.\n"),
    (["930", "v09", "/dev/x", "internal", "get-gi"], 20, "Meta data format 'v09' is not supported, only 'v08' is.\n"),
    (["930", "v08", "/dev/x", "17x", "get-gi"], 20, "'17x' is not a valid index number.\n"),
    (["930", "v08", "/dev/x", "256", "get-gi"], 20, "'256' is not a valid index number.\n"),
    (["930", "v08", "/dev/x", "internal", "foo"], 20, "Unknown command 'foo'.\n"),
    (["zz", "v08", "/dev/x", "internal", "get-gi"], 20,
     "Cannot determine minor device number of drbd device 'zz'\n"),
    (["930", "v08", "/nowhere", "internal", "get-gi"], 20, "open(/nowhere) failed: No such file or directory\n"),
    (["930", "v08", "/dev/x", "internal", "create-md", "-s", "x"], 20, "x is not a valid number\n"),
    (["930", "v08", "/dev/x", "internal", "create-md", "-z", "15"], 10, "invalid (too small) al-stripe* settings\n"),
    (["930", "v08", "/dev/x", "internal", "create-md", "-s", "2000"], 10,
     "invalid (too large) al-stripe* settings\n"),
    (["930", "v08", "/dev/x", "internal", "create-md", "-p", "2M"], 10,
     "peer-max-bio-size out of range (0...1M)\n"),
    (["930", "v08", "/dev/x", "internal", "dstate", "-i", "1"], 10,
     "The dstate command does not accept the --node-id option\n"),
])
def test_command_line_errors(tmp_path, words, code, text):
    tool = Tool(tmp_path, "unused")
    p = subprocess.run([tool.program, *words], env=tool.env, capture_output=True, text=True)
    assert (p.returncode, p.stdout, p.stderr) == (code, "", text)


def test_usage(tmp_path):
    p = subprocess.run([BIN / "drbdmeta"], capture_output=True, text=True)
    assert p.returncode == 20 and p.stdout.startswith("\nUSAGE: drbdmeta [--force] DEVICE FORMAT")


def test_options_may_stand_anywhere(blank):
    path, tool = blank(64 * MIB)
    tool.force = False
    tool.run("internal", "create-md", "--peer-max-bio-size=64k", "--al-stripes=4", "-z", "64k", "-f")
    sb = Superblock(get(path, 64 * MIB - 4096, 4096))
    assert (sb.max_bio, sb.stripes, sb.stripe_4k) == (65536, 4, 16)


@pytest.mark.parametrize("command", [["create-md"], ["wipe-md"], ["invalidate"], ["set-gi", "1"],
                                     ["write-dev-uuid", "1"], ["apply-al"]])
def test_dry_run_writes_nothing(image, command):
    path, tool = image("int-1g-crashed-before")
    before = get(path, GIB - 136 * 512, 136 * 512)
    assert "SKIPPED DUE TO DRY-RUN" in tool.run("internal", *command, "--dry-run").stderr
    assert get(path, GIB - 136 * 512, 136 * 512) == before
    assert tool.last_known() is None


@pytest.mark.parametrize("field,value,text", [
    (80, 8192, "bm_bytes_per_bit is 8192"), (88, 0, "activity log of 0 stripes"), (68, 0xFFFFFFB8, "al_offset is -72"),
    (76, 0xFFFFFFB0, "bm_offset is -80"), (64, 88, "md_size_sect is 88")])
def test_damaged_superblock_is_named(image, field, value, text):
    path, tool = image("int-64m-fresh")
    put(path, 64 * MIB - 4096 + field, struct.pack(">I", value))
    assert tool.run("internal", "get-gi", code=1).stderr.startswith(f"at byte offset 67104768: {text}")


# --- random activity logs -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("seed", range(12))
def test_apply_al_of_random_nodes(blank, seed):
    """Bits afterwards are the bits before and 1024 for every extent that an independent replay finds hot."""
    rnd = random.Random(seed)
    stripes, kb = rnd.choice([(1, 32), (4, 16), (3, 12), (2, 64)])
    path, tool = blank(GIB)
    tool.run("internal", "create-md", "--al-stripes", stripes, "--al-stripe-size-kB", kb)
    sb = Superblock(get(path, SB_1G, 4096))
    sb.la_size, sb.flags, sb.magic, sb.al_nr = SB_1G // 512 + sb.bm_off, 0x13, MAGIC_UNCLEAN, 1237
    act = ActiveSet(rnd.choice([67, 257, 1237]), rnd.randrange(1000))
    for _ in range(rnd.randint(1, 60)):
        tr, raw = act.transaction(sorted({rnd.randrange(256) for _ in range(rnd.randint(1, 8))}))
        put(path, SB_1G + sb.al_off * 512 + ring_slot(tr, sb.stripes, sb.stripe_4k) * 4096, raw)
    if rnd.random() < 0.5:
        put(path, SB_1G + sb.al_off * 512 + ring_slot(tr, sb.stripes, sb.stripe_4k) * 4096 + 3000, b"TORN")
    bits = bytearray(rnd.randbytes(32768) if rnd.random() < 0.5 else bytes(32768))
    put(path, SB_1G + sb.bm_off * 512, bits)
    put(path, SB_1G, sb.pack())
    hot = replay(get(path, SB_1G + sb.al_off * 512, -sb.al_off * 512), sb.stripes, sb.stripe_4k)
    code = 0 if hot is not None else None  # a single transaction, torn: clean or not, by the rules of the table above
    tool.run("internal", "apply-al", code=code)
    for extent in hot or []:
        bits[128 * extent:128 * extent + 128] = b"\xff" * 128
    assert get(path, SB_1G + sb.bm_off * 512, 32768) == bits


def test_every_option_has_a_place_in_the_manual():
    repository = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..')
    with open(os.path.join(repository, 'packaging/man/drbdmeta.8.in'), encoding='utf-8') as page:
        manual = page.read().replace('\\-', '-')
    with open(os.path.join(repository, 'src/tools/drbdmeta/options.cpp'), encoding='utf-8') as source:
        options = re.findall(r'\{"([a-z-]+)", (?:no|required)_argument', source.read(), flags=re.I)
    assert len(options) >= 10
    assert [name for name in options if name != 'help' and '--' + name not in manual] == []
