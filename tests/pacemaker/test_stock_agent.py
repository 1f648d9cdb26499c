"""DRBD's own agent ocf:linbit:drbd and its fence handler, as Debian's drbd-utils ships them, unmodified, on Duplex's tools.

They demand /proc/drbd, which nothing in user space can make: a preload library answers for it in Pacemaker's processes. That is for
this test only and no part of the product, which has an agent of its own."""

import os
import warnings

import pytest

from lab.machine import pattern
from lab.process import await_until, run_local
from pacemaker.cluster import Cluster
from pacemaker.test_cluster import settled

HERE = os.path.dirname(os.path.abspath(__file__))
PRELOAD = "LD_PRELOAD=/usr/lib/proc_drbd.so"
HANDLERS = """handlers {
    fence-peer "/usr/lib/drbd/crm-fence-peer.sh --timeout 20 --dc-timeout 20";
    after-resync-target "/usr/lib/drbd/crm-unfence-peer.sh";
  }"""


def add_preload(usr):
    run_local(["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-o", f"{usr}/lib/proc_drbd.so", f"{HERE}/proc_drbd.c", "-ldl"])


@pytest.fixture(scope="module")
def cluster():
    warnings.warn("/proc/drbd is answered by a preload library, in this test only", stacklevel=1)
    made = Cluster(handlers=HANDLERS, provider="linbit", environment=PRELOAD, prepare=add_preload)
    try:
        # modprobe drbd has to succeed; nothing is loaded.
        boot = type(made.nodes[0]).boot

        def boot_with_module(node):
            boot(node)
            os.makedirs(node.state + "/etc/modprobe.d", exist_ok=True)
            node.write_file("/etc/modprobe.d/duplex-test.conf", "install drbd /bin/true\n")
            node.run("drbdadm proc >/run/proc-drbd-without-resources")

        for node in made.nodes:
            node.boot = boot_with_module.__get__(node)
        made.start()
        yield made
    finally:
        made.close()


def test_starts_promotes_and_moves(cluster):
    promoted, other = settled(cluster)
    assert (cluster.score("alpha"), cluster.score("bravo")) == (10000, 10000)
    promoted.write(0, pattern("stock", 65536))
    promoted.run(f"crm_resource --resource ms_r0 --move --node {other.name} --promoted")
    cluster.await_roles(**{other.name: "Promoted", promoted.name: "Unpromoted"})
    assert other.read(0, 65536) == pattern("stock", 65536)
    other.run("crm_resource --resource ms_r0 --clear")


def test_fences_and_unfences(cluster):
    promoted, other = settled(cluster)
    promoted.unplug()
    cluster.wait(lambda: promoted.status().cs == "WFConnection", "the replication is cut")
    outcome = promoted.run(f"{PRELOAD} drbdadm fence-peer r0", check=False)
    assert outcome.status == 4, outcome.output
    assert cluster.fence_constraint() == promoted.name
    promoted.plug_in()
    settled(cluster)
    # Duplex starts handlers with the environment that DRBD has, without the preload: so by hand.
    outcome = promoted.run(f"{PRELOAD} DRBD_RESOURCE=r0 DRBD_CONF=/etc/drbd.conf DRBD_MINOR=0 DRBD_PEERS={other.name} "
                           "/usr/lib/drbd/crm-unfence-peer.sh", check=False)
    assert outcome.status == 0, outcome.output
    await_until(lambda: cluster.fence_constraint() is None, "the constraint is gone", 20)


def test_fails_over_when_the_node_is_killed(cluster):
    promoted, other = settled(cluster)
    promoted.power_off()
    cluster.wait(lambda: cluster.role_of(other.name) == "Promoted", f"{other.name} promoted", 40)
    assert other.read(0, 65536) == pattern("stock", 65536)
    cluster.rejoin(promoted)
    assert settled(cluster) == (other, promoted)
