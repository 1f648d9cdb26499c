"""What create-md and a wrong configuration answer to the user who types drbdadm."""

import json
import os
import re

import pytest

from lab import conf
from lab.process import BINARIES, await_until, run_local

NO_TERMINAL = "stdin not a TTY, not waiting for confirmation\n"


@pytest.fixture
def node(pair):
    pair.fresh()
    return pair.left


def refused(node, status, *lines):
    """create-md ends with this status and these lines, and does not touch a byte of the disk."""
    node.disk.flush()
    before = node.run("sha256sum </dev/sdb1").output
    outcome = node.drbdadm("create-md r0", check=False)
    assert outcome.status == status, outcome.output
    for line in lines:
        assert line in outcome.output, outcome.output
    assert "successfully created" not in outcome.output
    assert node.run("blockdev --flushbufs /dev/sdb1; sha256sum </dev/sdb1").output == before


def test_a_file_system_that_fills_the_disk_is_not_overwritten(node):
    node.run("mkfs.ext4 -q /dev/sdb1")
    refused(node, 40, "Found ext3 filesystem\n", "       65536 kB data area apparently used\n",
            "       65496 kB left usable by current configuration\n", "Device size would be truncated, which\n",
            "   * shrink that filesystem first\n", "Operation refused.\n", "Command 'drbdmeta 0 v08 /dev/sdb1 internal create-md' terminated with exit code 40\n")


def test_a_file_system_with_room_behind_it_needs_confirmation(node):
    node.run("mkfs.ext4 -q /dev/sdb1 60m")
    refused(node, 1, "Even though it looks like this would place the new meta data into\n", "Do you want to proceed?\n",
            NO_TERMINAL, "Operation canceled.\n")
    assert "successfully created" in node.drbdadm("-- --force create-md r0").output
    node.drbdadm("up r0")


def test_other_data_need_confirmation(node):
    node.run("printf 'something of value' | dd of=/dev/sdb1 bs=4096 seek=1 conv=notrunc,sync,fsync status=none")
    refused(node, 1, "Found some data\n", " ==> This might destroy existing data! <==\n", "Do you want to proceed?\n", NO_TERMINAL,
            "Operation canceled.\n")


def test_swap_space_is_not_overwritten(node):
    node.run("mkswap /dev/sdb1")
    refused(node, 40, "Found swap space signature\n", "Device size would be truncated, which\n", "Operation refused.\n")


def test_own_meta_data_are_overwritten_only_on_confirmation(node):
    node.drbdadm("create-md r0")
    refused(node, 1, "You want me to create a v08 style flexible-size internal meta data block.\n",
            "There appears to be a v08 flexible-size internal meta data block\n", "Do you really want to overwrite the existing meta-data?\n",
            NO_TERMINAL, "Operation cancelled.\n")


def test_a_disk_that_is_mounted(node):
    node.run("mkfs.ext4 -q /dev/sdb1 60m && mkdir -p /mnt/disk && mount -o ro /dev/sdb1 /mnt/disk")
    try:
        refused(node, 20, "open(/dev/sdb1) failed: Device or resource busy\n", "Exclusive open failed. Do it anyways?\n", NO_TERMINAL,
                "Operation canceled.\n")
        up = node.drbdadm("up r0", check=False)
        assert up.status == 1 and "open(/dev/sdb1) failed: Device or resource busy\n" in up.output, up.output
    finally:
        node.run("umount /mnt/disk; drbdadm down r0")


def test_a_disk_that_is_attached(node):
    node.drbdadm("create-md r0")
    node.drbdadm("up r0")
    refused(node, 20, "Device '0' is configured!\n")


def test_a_disk_that_is_too_small(node, pair, add_disk):
    add_disk(node, "sdb2", 64 << 10)
    pair.configure(conf.fast(pair.left, pair.right).replace("/dev/sdb1", "/dev/sdb2"))
    outcome = node.drbdadm("create-md r0", check=False)
    assert outcome.status == 10 and "/dev/sdb2 is only 65536 bytes. That's not enough.\n" in outcome.output, outcome.output


# A wrong configuration, and how the answer names the place in it.
RESOURCE = "global {{ usage-count no; }}\nresource r0 {{\n  {}\n}}\n"
WRONG = {
    "option": (RESOURCE.format("net { protocol C; tmieout 60; }"),
               "/etc/drbd.conf:3: Parse error: 'an option keyword' expected,\n\tbut got 'tmieout'\n"),
    "range": (RESOURCE.format("net { protocol C; timeout 6000; }"), "/etc/drbd.conf:3: timeout 6000 => 6000 out of range [1..600]"),
    "semicolon": (RESOURCE.format("net { protocol C }"), "/etc/drbd.conf:3: Parse error: ';' expected,\n"),
    "section": (RESOURCE.format("handlers { fence-peer /bin/true; }\n  nte { }"), "/etc/drbd.conf:4: Parse error: "),
    "include": ('include "/etc/drbd.d/extra.conf";\n', "/etc/drbd.d/extra.conf:2: Parse error: "),
}


@pytest.mark.parametrize("text,answer", WRONG.values(), ids=WRONG)
def test_a_wrong_configuration_names_file_and_line(node, text, answer):
    node.run("mkdir -p /etc/drbd.d && printf 'resource r0 {\nbogus;\n}\n' >/etc/drbd.d/extra.conf")
    node.write_file("/etc/drbd.conf", text)
    for command in ("up r0", "create-md r0", "adjust all", "dump", "primary r0"):
        outcome = node.drbdadm(command, check=False)
        assert outcome.status == 10 and answer in outcome.output, (command, outcome)
    assert node.processes("duplexd") == []


def tables():
    return json.loads(run_local([os.path.join(BINARIES, "duplex-reference")]).output)


def numbers_with_ranges(tables):
    """Every number that a command of drbdsetup takes: the command, the option, its limits."""
    for command in tables["drbdsetup"]:
        for option, least, most in re.findall(r"\[--([\w-]+)=\((-?\d+) \.\.\. (-?\d+)\)\]", command["usage"]):
            yield command["name"], option, int(least), int(most)


OBJECTS = {"attach": "0 /dev/sdb1 /dev/sdb1 internal", "connect": "r0 {me} {peer}", "net-options": "{me} {peer}",
           "resource-options": "r0", "new-resource": "r0"}


def test_numbers_out_of_range_are_refused_and_change_nothing(node, pair):
    node.drbdadm("create-md r0")
    node.drbdadm("up r0")
    ends = {"me": f"ipv4:{node.address}:7788", "peer": f"ipv4:{pair.other(node).address}:7788"}
    before = node.drbdsetup("show --show-defaults r0").output
    known = tables()
    tried = {"al-extents"}
    script = []
    for command, option, least, most in numbers_with_ranges(known):
        if option == "al-extents":
            continue  # a file of 8.3 may say less, and gets the least there is
        for wrong in (least - 1, most + 1):
            words = f"{command} {OBJECTS.get(command, '0').format(**ends)} --{option}={wrong}"
            script.append(f"drbdsetup {words} 2>&1; echo \"$? {words}\"")
            tried.add(option)
    lines = node.run("; ".join(script), check=False, limit_s=120).output.splitlines()
    assert {option["name"] for section in ("disk", "net") for option in known["options"][section] if option["type"] == "number"} <= tried
    assert len(lines) == 2 * len(script), lines
    for answer, status in zip(lines[::2], lines[1::2]):
        assert status.startswith("20 "), (status, answer)
        option, wrong = re.search(r"--([\w-]+)=(\S+)$", status).groups()
        assert re.match(rf"{option.replace('-', '[-_]')} .*out of range \[-?\d+\.\.\d+\]", answer), (status, answer)
    assert node.drbdsetup("show --show-defaults r0").output == before


def test_a_dead_process_is_named_with_what_to_do(node):
    node.drbdadm("create-md r0")
    node.drbdadm("up r0")
    pid = node.processes("duplexd")[0]
    node.run(f"kill -9 {pid}")
    await_until(lambda: pid not in node.processes("duplexd"), "it is gone")
    for command in ("status", "status r0"):
        assert "the process of resource r0 has died: nobody listens on /run/duplex/r0.sock; drbdadm up r0 brings it back\n" in \
            node.drbdadm(command, check=False).output
    outcome = node.drbdadm("primary r0", check=False)
    assert outcome.status == 10 and "Device minor not allocated" in outcome.output, outcome
    node.drbdadm("up r0")
    assert node.status().cs == "WFConnection"
    node.drbdadm("down r0")


@pytest.mark.parametrize("command", ["primary", "up", "adjust", "create-md", "status", "down", "wait-connect", "dump"])
def test_a_resource_that_is_not_there(node, command):
    outcome = node.drbdadm(f"{command} nosuch", check=False)
    assert (outcome.status, outcome.output) == (1, "'nosuch' not defined in your config (for this host).\n")
    assert node.processes("duplexd") == []


@pytest.mark.parametrize("tool,status,words", [
    ("drbdadm frob", 1, "drbdadm: Unknown command 'frob'\n"), ("drbdadm", 1, "No command specified\n"),
    ("drbdadm primary", 1, "No resource names specified\n"), ("drbdsetup frob", 20, "Commands are:\n"),
    ("drbdmeta 0 v08 /dev/sdb1 internal frob", 20, "Unknown command 'frob'.\n"), ("duplex frob", 20, "Unknown command 'frob'\n"),
    ("duplex top r0", 20, "top takes no arguments, but there is 'r0'\n"), ("duplex", 20, "No command specified\n"),
    ("duplexd", 20, "no resource given"), ("drbdadm primary --frob r0", 1, "drbdadm: unrecognized option '--frob'\ntry 'drbdadm help'\n")])
def test_words_that_nobody_knows(node, tool, status, words):
    outcome = node.run(tool, check=False)
    assert outcome.status == status and words in outcome.output, outcome
