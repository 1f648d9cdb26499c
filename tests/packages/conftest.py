"""The packages, built twice: as they are, and as the next version."""

import glob
import os

import pytest

from lab.process import REPOSITORY, run_local
from packages import root as roots

FIRST = "0.1.0-1"
NEXT = "0.1.0-1+next1"
NAMES = {"first": [f"/packages/duplex_{FIRST}_amd64.deb", f"/packages/duplex-pacemaker_{FIRST}_all.deb"],
         "next": [f"/packages/duplex_{NEXT}_amd64.deb", f"/packages/duplex-pacemaker_{NEXT}_all.deb"]}


@pytest.fixture(scope="session")
def packages():
    if os.environ.get("DUPLEX_KEEP_PACKAGES"):
        return NAMES
    for old in glob.glob(os.path.join(roots.PACKAGES, "*.deb")):
        os.unlink(old)
    for version in (FIRST, NEXT):
        run_local([os.path.join(REPOSITORY, "packaging/build"), version], limit_s=900,
                  env={**os.environ, "DEB_BUILD_OPTIONS": "noautodbgsym"})
    roots.make_bases()
    return NAMES


@pytest.fixture
def root(packages):
    with roots.Root() as made:
        yield made


@pytest.fixture
def bootable(packages):
    with roots.Root(roots.BOOTABLE) as made:
        yield made
