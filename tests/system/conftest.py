"""Two Duplex nodes."""

import os

import pytest

from lab import features, loop
from lab.pair import Pair
from lab.terminal import Terminal

ARRANGEMENT = "duplex-duplex"


@pytest.fixture(scope="session")
def machines():
    pair = Pair("duplex", "duplex")
    yield pair
    pair.close()


@pytest.fixture
def pair(machines, request):
    """The two machines; the scenario begins with pair.fresh() or pair.mirrored(). A failure shows states and logs."""
    yield machines
    if features.failed(request):
        print(machines.describe())


@pytest.fixture
def terminal(pair):
    opened = []

    def run(machine, command, **size):
        opened.append(Terminal(machine, command, **size))
        return opened[-1]
    yield run
    for each in opened:
        each.close()


@pytest.fixture
def add_disk(tmp_path):
    """add_disk(machine, name, size_bytes): one more blank disk /dev/NAME of the machine, until the test ends; its file."""
    held = []

    def add(machine, name, size_bytes):
        path = tmp_path / f"{machine.name}.{name}"
        path.touch()
        os.truncate(path, size_bytes)
        device = loop.Loop(str(path))
        held.append((machine, name, device))
        machine.run(f"rm -f /dev/{name}; mknod /dev/{name} b {loop.LOOP_MAJOR} {device.number}")
        return path

    yield add
    for machine, name, device in held:
        if machine.running:
            machine.drbdadm("down all", check=False)
            machine.run(f"rm -f /dev/{name}")
        device.release()
