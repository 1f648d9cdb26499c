"""Scenarios between a Duplex node and the kernel's DRBD, in every arrangement of the two.

DUPLEX_ARRANGEMENTS names the arrangements, for example `kernel-kernel` to prove the scenarios themselves."""

import os

import pytest

from lab.pair import Pair

ARRANGEMENTS = os.environ.get("DUPLEX_ARRANGEMENTS", "duplex-kernel,kernel-duplex").split(",")


@pytest.fixture(scope="session", params=ARRANGEMENTS)
def machines(request):
    """The pair of one arrangement; its machines are kept from scenario to scenario."""
    pair = Pair(*request.param.split("-"))
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


def watched(pair, request):
    """A failed scenario shows the state and the logs of both machines; one that passed must have left clean logs."""
    yield pair
    if request.node.stash.get(FAILED, False):
        print(pair.describe())
        return
    troubles = pair.troubles()
    assert not troubles, "in the logs:\n" + "\n".join(troubles)


FAILED = pytest.StashKey()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call":
        item.stash[FAILED] = report.failed
