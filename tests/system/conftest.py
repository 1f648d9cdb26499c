"""Two Duplex nodes."""

import pytest

from lab.pair import Pair


@pytest.fixture(scope="session")
def machines():
    pair = Pair("duplex", "duplex")
    yield pair
    pair.close()


@pytest.fixture
def pair(machines, request):
    """The two machines; the scenario begins with pair.fresh() or pair.mirrored(). A failure shows states and logs."""
    yield machines
    if request.node.stash.get(FAILED, False):
        print(machines.describe())


FAILED = pytest.StashKey()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call":
        item.stash[FAILED] = report.failed
