"""Scenarios between a Duplex node and the kernel's DRBD, in every arrangement of the two.

DUPLEX_ARRANGEMENTS names the arrangements, for example `kernel-kernel` to prove the scenarios themselves; the suite `system`
runs them with `duplex-duplex`."""

import os
import pathlib

import pytest

from lab import draw, features
from lab.pair import Pair

ARRANGEMENTS = os.environ.get("DUPLEX_ARRANGEMENTS", "duplex-kernel,kernel-duplex").split(",")
HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope="session", params=ARRANGEMENTS)
def machines(request):
    """The pair of one arrangement; its machines are kept from scenario to scenario."""
    pair = Pair(*request.param.split("-"), size_bytes=draw.drawn(request.param, 64, range(64, 129)) << 20)
    yield pair
    pair.close()


@pytest.fixture
def pair(machines, request):
    yield from watched(machines, request)


@pytest.fixture(params=ARRANGEMENTS)
def volatile_pair(request):
    """A pair whose disks lose what was not flushed when the power fails."""
    pair = Pair(*request.param.split("-"), volatile=("left", "right"))
    yield from watched(pair, request)
    pair.close()


@pytest.fixture(scope="module", params=ARRANGEMENTS)
def faulty_machines(request):
    pair = Pair(*request.param.split("-"), faulty=("left", "right"))
    yield pair
    pair.close()


@pytest.fixture
def faulty_pair(faulty_machines, request):
    """A pair whose disks can be told to fail."""
    yield from watched(faulty_machines, request)


def watched(pair, request):
    """A failed scenario shows the state and the logs of both machines; one that passed must have left clean logs."""
    yield pair
    if features.failed(request):
        print(pair.describe())
        return
    for machine in pair.machines:
        if machine.kind == "kernel":
            features.met_kernel(request, machine.version)
    troubles = pair.troubles()
    assert not troubles, "in the logs:\n" + "\n".join(troubles)


@pytest.hookimpl(trylast=True)  # after pytest has put the tests of one arrangement together
def pytest_collection_modifyitems(items):
    unmarked = {item.path.name for item in items if item.path.parent == HERE and item.get_closest_marker("feature") is None}
    if unmarked:
        raise pytest.UsageError(f"no feature mark (lab/features.py) in {', '.join(sorted(unmarked))}")
    draw.order(items, lambda item: getattr(item, "callspec", None) and item.callspec.params.get("machines"))


def pytest_runtest_protocol(item):
    """Ends a long run: what would begin too late is left out."""
    return True if draw.time_is_up() and item.path.parent == HERE else None

