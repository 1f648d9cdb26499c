"""The packages, built twice: as they are, and as the next version."""

import glob
import os

import pytest

from lab.process import REPOSITORY, run_local
from packages import root as roots

FIRST = "0.1.0-1"
NEXT = "0.1.0-1+next1"


class Debs:
    """One version's packages, as the roots see them. `node`: what a node with block devices has."""

    def __init__(self, version):
        self.duplex = f"/packages/duplex_{version}_amd64.deb"
        self.fuse = f"/packages/duplex-fuse_{version}_amd64.deb"
        self.pacemaker = f"/packages/duplex-pacemaker_{version}_all.deb"
        self.node = (self.duplex, self.fuse)
        self.all = (*self.node, self.pacemaker)


DEBS = {"first": Debs(FIRST), "next": Debs(NEXT)}


@pytest.fixture(scope="session")
def packages():
    if os.environ.get("DUPLEX_KEEP_PACKAGES"):
        return DEBS
    for old in glob.glob(os.path.join(roots.PACKAGES, "*.deb")):
        os.unlink(old)
    for version in (FIRST, NEXT):
        run_local([os.path.join(REPOSITORY, "packaging/build"), version], limit_s=900,
                  env={**os.environ, "DEB_BUILD_OPTIONS": "noautodbgsym"})
    roots.make_bases()
    return DEBS


@pytest.fixture
def root(packages):
    with roots.Root() as made:
        yield made


@pytest.fixture
def bootable(packages):
    with roots.Root(roots.BOOTABLE) as made:
        yield made
