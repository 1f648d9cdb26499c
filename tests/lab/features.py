"""A pytest plugin: the features that tests show, collected for docs/conformance.md (lab/conformance.py).

    @pytest.mark.feature("Online verify")        on a test, or as pytestmark on its file; it may be there several times
    @pytest.mark.feature(..., export="NBD")      where it matters by which way the block device reaches its user

With --features=FILE a run writes which features its passed tests have shown, between which nodes: the arrangement of the
test's machines, or what its folder's conftest.py has in ARRANGEMENT."""

import json
import os

import pytest

FAILED = pytest.StashKey()
_SHOWN = "shows the feature"
_KERNEL = "met the kernel"


def pytest_addoption(parser):
    parser.addoption("--features", metavar="FILE", help="write which features the passed tests have shown")


def pytest_configure(config):
    config.addinivalue_line("markers", "feature(name, export=None, arrangement=None): what the test shows, for docs/conformance.md")
    if config.getoption("features") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Collector(config.getoption("features")))


def met_kernel(request, version):
    """The test's peer was this kernel."""
    request.node.user_properties.append((_KERNEL, version))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    if call.when == "setup":
        item.user_properties += [(_SHOWN, shown) for shown in _features(item)]
    report = (yield).get_result()
    if report.when == "call":
        item.stash[FAILED] = report.failed


def failed(request):
    """Whether the test itself has failed, for fixtures that then show more."""
    return request.node.stash.get(FAILED, False)


def _features(item):
    arrangements = [value for name, value in getattr(item, "callspec", _NoParameters).params.items()
                    if name in ("machines", "volatile_pair", "faulty_machines")]
    for mark in item.iter_markers("feature"):
        arrangement = mark.kwargs.get("arrangement") or (arrangements or [_of_folder(item)])[0]
        yield {"feature": mark.args[0], "export": mark.kwargs.get("export"), "arrangement": arrangement,
               "file": os.path.relpath(item.path, os.path.dirname(item.config.rootpath))}


class _NoParameters:
    params = {}


def _of_folder(item):
    for plugin in item.config.pluginmanager.get_plugins():
        file = getattr(plugin, "__file__", None) or ""
        if os.path.dirname(file) == str(item.path.parent) and hasattr(plugin, "ARRANGEMENT"):
            return plugin.ARRANGEMENT
    raise pytest.UsageError(f"{item.nodeid} has features, and no ARRANGEMENT")


class _Collector:
    def __init__(self, path):
        self._path = path
        self._shown = []
        self._kernels = set()

    def pytest_runtest_logreport(self, report):
        properties = report.user_properties if report.passed else []
        if report.when == "call":
            self._shown += [value for name, value in properties if name == _SHOWN and value not in self._shown]
        if report.when == "teardown":
            self._kernels.update(value for name, value in properties if name == _KERNEL)

    def pytest_sessionfinish(self):
        with open(self._path, "w", encoding="utf-8") as file:
            json.dump({"shown": self._shown, "kernels": sorted(self._kernels)}, file, indent=1)
