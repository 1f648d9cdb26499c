"""Two machines with the real Pacemaker and Corosync and what Duplex's packages bring for them.

eth1 is the cable of the replication, eth2 that of the cluster. Each machine sees the programs, the agent and the handlers where
the packages put them, by an overlay over its /usr; the machine that all this runs on is left alone."""

import os
import re
import shutil
import tempfile
import xml.etree.ElementTree as xml

from lab import conf
from lab.disk import Disk
from lab.network import Switch
from lab.node import Node
from lab.pair import close
from lab.process import BINARIES, REPOSITORY, await_until

PROGRAMS = ("drbdadm", "drbdsetup", "drbdmeta", "duplex", "duplex-procfs", "duplexd")
HERE = os.path.dirname(os.path.abspath(__file__))

SETUP = r"""
set -e
mount -t overlay -o lowerdir={usr}:/usr overlay /usr
for directory in corosync pacemaker; do
    [ -d {state}/var-lib-$directory ] || cp -a /var/lib/$directory {state}/var-lib-$directory
    mount --bind {state}/var-lib-$directory /var/lib/$directory
done
mkdir -p /run/crm /run/pacemaker /var/log/pacemaker /var/log/corosync /run/requests
mount --bind {requests} /run/requests
chown hacluster:haclient /run/crm /run/pacemaker /var/log/pacemaker
ip address add {cluster_address}/24 dev eth2
ip link set eth2 up
"""

COROSYNC = """totem {{
  version: 2
  cluster_name: lab
  transport: knet
  crypto_cipher: none
  crypto_hash: none
  token: 1000
}}
system {{
  sched_rr: no
  move_to_root_cgroup: no
}}
quorum {{
  provider: corosync_votequorum
  two_node: 1
  wait_for_all: 0
}}
logging {{
  to_logfile: yes
  to_syslog: no
  logfile: /var/log/corosync/corosync.log
}}
nodelist {{
{nodes}}}
"""

# The properties of the first moment; resources come later.
CIB = """<cib crm_feature_set="3.0.14" validate-with="pacemaker-3.9" epoch="1" num_updates="0" admin_epoch="0">
  <configuration>
    <crm_config><cluster_property_set id="properties">
      <nvpair id="properties-stonith" name="stonith-enabled" value="true"/>
      <nvpair id="properties-quorum" name="no-quorum-policy" value="ignore"/>
      <nvpair id="properties-dc" name="dc-deadtime" value="2s"/>
    </cluster_property_set></crm_config>
    <nodes/><resources/><constraints/>
  </configuration>
  <status/>
</cib>
"""

RESOURCES = """<resources>
  <clone id="ms_r0">
    <meta_attributes id="ms_r0-meta">
      <nvpair id="ms_r0-promotable" name="promotable" value="true"/>
      <nvpair id="ms_r0-notify" name="notify" value="true"/>
      <nvpair id="ms_r0-max" name="clone-max" value="2"/>
    </meta_attributes>
    <primitive id="p_r0" class="ocf" provider="{provider}" type="drbd">
      <instance_attributes id="p_r0-attributes">
        <nvpair id="p_r0-resource" name="drbd_resource" value="r0"/>{parameters}
      </instance_attributes>
      <operations>
        <op id="p_r0-m1" name="monitor" interval="3s" role="Promoted" timeout="20s"/>
        <op id="p_r0-m2" name="monitor" interval="4s" role="Unpromoted" timeout="20s"/>
        <op id="p_r0-start" name="start" interval="0" timeout="60s"/>
        <op id="p_r0-promote" name="promote" interval="0" timeout="60s"/>
        <op id="p_r0-demote" name="demote" interval="0" timeout="60s"/>
        <op id="p_r0-stop" name="stop" interval="0" timeout="60s"/>
        <op id="p_r0-notify" name="notify" interval="0" timeout="60s"/>
      </operations>
    </primitive>
  </clone>
  <primitive id="p_fence" class="stonith" type="fence_lab">
    <operations><op id="p_fence-m" name="monitor" interval="60s" timeout="20s"/></operations>
  </primitive>
</resources>
"""


def usr_tree(directory):
    """/usr as the packages fill it, and the lab's fence agent."""
    usr = os.path.join(directory, "usr")
    files = [(os.path.join(BINARIES, program), f"sbin/{program}") for program in PROGRAMS]
    files.append((os.path.join(os.path.dirname(BINARIES), "lib/duplex/fuse.so"), "lib/duplex/fuse.so"))
    pacemaker = os.path.join(REPOSITORY, "packaging/pacemaker")
    files += [(f"{pacemaker}/drbd", "lib/ocf/resource.d/duplex/drbd"),
              (f"{pacemaker}/duplex-fence-peer", "lib/duplex/duplex-fence-peer"),
              (f"{pacemaker}/duplex-fence-peer", "lib/duplex/duplex-unfence-peer"),
              (f"{pacemaker}/duplex-stonith-peer", "lib/duplex/duplex-stonith-peer"),
              (f"{HERE}/fence_lab", "sbin/fence_lab")]
    for source, target in files:
        os.makedirs(os.path.dirname(f"{usr}/{target}"), exist_ok=True)
        shutil.copy(source, f"{usr}/{target}")
    return usr


class ClusterNode(Node):
    needs_binaries = False  # they are copied into its /usr

    def __init__(self, *arguments, usr, requests, environment=None):
        super().__init__(*arguments, binaries="/usr/sbin")
        self.cluster_address = self.address.replace("10.0.7.", "10.0.8.")
        self.usr = usr
        self.requests = requests
        self.pacemaker_environment = environment or ""

    def boot(self):
        super().boot()
        self.switch.plug(self.port + "c", self.holder, "eth2")
        self._in_namespaces(SETUP.format(usr=self.usr, state=self.state, requests=self.requests,
                                         cluster_address=self.cluster_address))

    def start_cluster(self):
        if not self.run("test -e /var/lib/pacemaker/cib/cib.xml", check=False).status == 0:
            self.write_file("/etc/seed.xml", CIB)
            self.run("install -o hacluster -g haclient -m 600 /etc/seed.xml /var/lib/pacemaker/cib/cib.xml")
        self.run("setsid corosync -f >/var/log/corosync/out 2>&1 </dev/null &")
        await_until(lambda: self.run("corosync-cmapctl -g totem.cluster_name", check=False).status == 0, f"corosync on {self.name}", 20)
        self.run(f"{self.pacemaker_environment} setsid pacemakerd -f >/var/log/pacemaker/out 2>&1 </dev/null &")

    def unplug_all(self):
        self.unplug()
        self.switch.set_cable(self.port + "c", False)

    def plug_in_all(self):
        self.plug_in()
        self.switch.set_cable(self.port + "c", True)


class Cluster:
    """alpha and bravo. Whoever waits for something also serves the fence agent's requests, as a power switch would."""

    def __init__(self, net="", disk="", handlers="", provider="duplex", parameters="", environment=None, prepare=None):
        self.directory = tempfile.mkdtemp(prefix="duplex-cluster.", dir="/var/tmp")
        self.requests = os.path.join(self.directory, "requests")
        os.mkdir(self.requests)
        self.switch = Switch()
        usr = usr_tree(self.directory)
        if prepare:
            prepare(usr)
        self.nodes = [ClusterNode(name, f"10.0.7.{number}", self.directory, self.switch,
                                  Disk(os.path.join(self.directory, name + ".img"), 64 << 20),
                                  usr=usr, requests=self.requests, environment=environment)
                      for name, number in (("alpha", 11), ("bravo", 12))]
        self.fenced = []
        self.resources = RESOURCES.format(provider=provider, parameters=parameters)
        self.configuration = conf.fast(*self.nodes, net=net, disk=disk).replace("resource r0 {", "resource r0 {\n  " + handlers)

    def rejoin(self, node):
        """A node that was off comes back: cables, power, cluster."""
        if not node.running:
            node.boot()
        node.plug_in_all()
        node.start_cluster()
        self.wait(self._both_online, "both nodes online", 60)

    def start(self):
        """Both nodes in the cluster, r0 with equal data and known to Pacemaker."""
        nodelist = "".join(f"  node {{\n    ring0_addr: {node.cluster_address}\n    name: {node.name}\n    nodeid: {number}\n  }}\n"
                           for number, node in enumerate(self.nodes, 1))
        for node in self.nodes:
            node.boot()
            node.write_file("/etc/drbd.conf", self.configuration)
            node.write_file("/etc/corosync/corosync.conf", COROSYNC.format(nodes=nodelist))
            node.run("drbdadm create-md --force r0")
        self._make_equal()
        for node in self.nodes:
            node.start_cluster()
        self.wait(self._both_online, "both nodes online", 60)
        self.nodes[0].write_file("/etc/resources.xml", self.resources)
        self.nodes[0].run("cibadmin --replace --scope resources --xml-file /etc/resources.xml")

    def _make_equal(self):
        for node in self.nodes:
            node.drbdadm("up r0")
        self.nodes[0].await_connection("Connected")
        self.nodes[0].drbdadm("-- --clear-bitmap new-current-uuid r0/0")
        for node in self.nodes:
            node.await_synced()
        for node in self.nodes:
            node.drbdadm("down r0")

    # Fencing

    def _serve_fencing(self):
        """As power switches do: in the order of the requests, and a machine without power asks for nothing any more."""
        pending = [os.path.join(self.requests, name) for name in os.listdir(self.requests) if name.endswith(".request")]
        for path in sorted(pending, key=lambda path: os.stat(path).st_mtime_ns):
            with open(path, encoding="ascii") as request:
                requester = self.node(request.read().strip())
            if not requester.running:
                os.unlink(path)
                continue
            victim = self.node(os.path.basename(path).removesuffix(".request"))
            victim.power_off()
            self.fenced.append(victim.name)
            os.rename(path, os.path.join(self.requests, victim.name + ".done"))

    def wait(self, condition, what, limit_s=60):
        def holds():
            self._serve_fencing()
            return condition()
        return await_until(holds, lambda: f"{what}\n{self.describe()}", limit_s, interval_s=0.2)

    # What the cluster says

    def node(self, name):
        return next(node for node in self.nodes if node.name == name)

    def other(self, node):
        return next(other for other in self.nodes if other is not node)

    def _crm_mon(self):
        for node in self.nodes:
            if not node.running:
                continue
            outcome = node.run("crm_mon -1 --output-as=xml 2>/dev/null", check=False, limit_s=20)
            if outcome.status == 0:
                return xml.fromstring(outcome.output)
        return None

    def _both_online(self):
        status = self._crm_mon()
        return status is not None and sum(n.get("online") == "true" for n in status.findall("./nodes/node")) == 2

    def role_of(self, name):
        """Promoted, Unpromoted, or nothing, as Pacemaker sees it."""
        status = self._crm_mon()
        if status is None:
            return None
        for instance in status.findall(".//clone[@id='ms_r0']/resource"):
            if instance.find(f"node[@name='{name}']") is not None and instance.get("pending") is None:
                return {"Master": "Promoted", "Slave": "Unpromoted"}.get(instance.get("role"), instance.get("role"))
        return None

    def await_roles(self, limit_s=60, **roles):
        """alpha="Promoted", bravo="Unpromoted"; None for not running."""
        self.wait(lambda: all(self.role_of(name) == role for name, role in roles.items()), f"roles {roles}", limit_s)

    def promoted(self, limit_s=60):
        """The node where r0 is promoted, once the other is Unpromoted or off."""
        def find():
            roles = {node.name: self.role_of(node.name) for node in self.nodes}
            names = [name for name, role in roles.items() if role == "Promoted"]
            return names and all(role in ("Promoted", "Unpromoted", None) for role in roles.values()) and self.node(names[0])
        return self.wait(find, "one node promoted", limit_s)

    def score(self, name):
        status = self.nodes[0] if self.nodes[0].running else self.nodes[1]
        text = status.run(f"crm_attribute -N {name} -n master-p_r0 -l reboot -G -q 2>/dev/null", check=False).output.strip()
        return int(text) if re.fullmatch(r"-?\d+", text) else None

    def fence_constraint(self):
        """The node that is left free to promote by the handler's constraint, or None."""
        node = next(node for node in self.nodes if node.running)
        text = node.run("cibadmin -Q --scope constraints", check=False).output
        found = re.search(r'id="drbd-fence-by-handler-r0-ms_r0".*?operation="ne"[^>]*value="(\w+)"|'
                          r'id="drbd-fence-by-handler-r0-ms_r0".*?value="(\w+)"[^>]*operation="ne"', text, re.S)
        return found and (found[1] or found[2])

    def describe(self):
        text = ""
        for node in self.nodes:
            if not node.running:
                text += f"--- {node.name} is off\n"
                continue
            text += f"--- {node.name}\n{node.run('drbdadm proc; crm_mon -1rfA 2>&1', check=False, limit_s=20).output}"
            text += "".join(line + "\n" for line in node.log_text().splitlines()[-40:])
            text += node.run("grep -hE 'drbd|fence|error|warning' /var/log/pacemaker/pacemaker.log | tail -n 25 | cut -c1-220", check=False).output
        return text

    def close(self):
        close(self.nodes, self.switch, self.directory)
