import shutil

import pytest

from pacemaker.cluster import Cluster

HANDLERS = """handlers {
    fence-peer "/usr/lib/duplex/duplex-fence-peer --timeout 20";
    unfence-peer "/usr/lib/duplex/duplex-unfence-peer";
    after-resync-target "/usr/lib/duplex/duplex-unfence-peer";
  }"""


@pytest.fixture(scope="session", autouse=True)
def programs():
    if not shutil.which("pacemakerd", path="/usr/sbin") or not shutil.which("corosync", path="/usr/sbin"):
        pytest.fail("pacemaker and corosync are not installed: scripts/setup")


@pytest.fixture(scope="module")
def cluster(request):
    made = Cluster(handlers=HANDLERS, **getattr(request.module, "CLUSTER", {}))
    try:
        made.start()
        yield made
    finally:
        made.close()
