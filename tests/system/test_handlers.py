"""The handlers that drbd.conf names under /usr/lib/drbd, called by what really happens. ssh, sendmail and LVM are played by programs
that note what they are asked for: the machines have neither a mail system nor a device mapper."""

import os
import re

import pytest

from lab import conf
from lab.machine import pattern
from lab.process import REPOSITORY, await_until, kill_group

pytestmark = pytest.mark.feature("Handlers: mail, outdate-peer, snapshot")

PROGRAMS = {"duplex-notify": [f"notify-{event}.sh" for event in (
                "split-brain", "out-of-sync", "io-error", "pri-lost", "pri-lost-after-sb", "pri-on-incon-degr", "emergency-reboot",
                "emergency-shutdown")],
            "duplex-outdate-peer": ["outdate-peer.sh"],
            "duplex-snapshot": ["snapshot-resync-target-lvm.sh", "unsnapshot-resync-target-lvm.sh"]}
# As kernels do, duplexd sets this PATH for what it calls; the tools and the played programs are found before it.
CALL = "PATH=/etc/played:{binaries}:$PATH /etc/handlers/"

NOTES = "#!/bin/sh\n{{ echo \"$0 $*\"; {more} }} >>/run/notes\n"
PLAYED = {
    "sendmail": NOTES.format(more="cat;"),
    # What is asked of the peer goes through a pipe to it; without that nobody is there.
    "ssh": '#!/bin/sh\necho "$*" >>/run/notes\nfor command; do :; done\n[ -p {pipes}/question ] || exit 255\n'
           'echo "$command" >{pipes}/question\nexec sh {pipes}/answer\n',
    "lvs": "#!/bin/sh\ncase $* in *before-resync*) test -e /run/snapshot ;; *) echo '  vg data 65536.00' ;; esac\n",
    "lvcreate": NOTES.format(more="test -e /run/full && exit 5; touch /run/snapshot;"),
    "lvremove": NOTES.format(more="rm /run/snapshot;"),
}


def notes(machine):
    return machine.run("cat /run/notes 2>/dev/null || true").output


@pytest.fixture
def handled(pair, tmp_path):
    """handled(handlers, ...): both machines fresh with these handlers; {h} is where they are."""
    def prepare(handlers, disk="", net=""):
        configuration = conf.fast(pair.left, pair.right, disk=disk, net=net)
        call = CALL.format(binaries=pair.left.binaries)
        pair.fresh(configuration.replace("resource r0 {", "resource r0 {\n  handlers { " + handlers.replace("{h}", call) + " }"))
        for machine in pair.machines:
            machine.run("mkdir -p /etc/handlers /etc/played; rm -f /run/notes /run/snapshot /run/full /etc/handlers/*")
            for program, names in PROGRAMS.items():
                for name in names:
                    machine.run(f"ln -s {REPOSITORY}/packaging/handlers/{program} /etc/handlers/{name}")
            for name, text in PLAYED.items():
                machine.write_file(f"/etc/played/{name}", text.replace("{pipes}", str(tmp_path)))
            machine.run("chmod 755 /etc/played/*")
        pair.create_md()
        pair.up()
        pair.connected()
        pair.left.drbdadm("-- --overwrite-data-of-peer primary r0")
        pair.synced()
        return pair
    return prepare


def mail(machine, limit_s=20):
    return await_until(lambda: "See also /usr/share/doc" in notes(machine) and notes(machine), "the mail is written", limit_s)


def test_a_split_brain_is_told_by_mail(handled):
    pair = handled('split-brain "{h}notify-split-brain.sh admin@example.org root";')
    pair.left.unplug()
    pair.left.await_connection("WFConnection")
    pair.right.await_connection("WFConnection")
    pair.right.drbdadm("primary --force r0")
    pair.left.write(0, pattern("left", 4096))
    pair.right.write(0, pattern("right", 4096))
    pair.left.plug_in()
    for machine in pair.machines:
        text = mail(machine)
        assert "To: admin@example.org,root\n" in text
        assert f"Subject: DRBD split brain on resource r0/0 ({machine.name})\n" in text
        assert "    drbdadm -- --discard-my-data connect r0\n" in text and f"peer:     {pair.other(machine).name}" in text
        assert "r0 role:Primary" in text  # the state as it was
        machine.await_log("DRBD split brain on resource r0/0", 0)


def test_out_of_sync_blocks_are_told_by_mail(handled):
    pair = handled('out-of-sync "{h}notify-out-of-sync.sh root";', net="verify-alg md5;")
    primary, secondary = pair.machines
    secondary.drbdadm("down r0")
    secondary.disk.flush()
    secondary.run("printf different | dd of=/dev/sdb1 bs=4096 seek=100 conv=notrunc,fsync status=none")
    secondary.drbdadm("up r0")
    pair.synced()
    primary.drbdadm("verify r0")
    text = mail(primary)
    assert "Subject: DRBD verify found blocks of resource r0/0 out of sync" in text and "drbdadm disconnect r0" in text


@pytest.mark.parametrize("name", PROGRAMS["duplex-notify"])
def test_every_name_tells_something(handled_without_events, name):
    node = handled_without_events
    node.run("rm -f /run/notes")
    event = f"DRBD_RESOURCE=r0 DRBD_PEER=other DRBD_MINOR=0 DRBD_VOLUME=0 {CALL.format(binaries=node.binaries)}{name}"
    node.run(event)
    text = mail(node)
    subject = re.search(r"^Subject: (.*)$", text, re.M)[1]
    assert "r0/0" in subject and node.name in subject
    # Without a mail system it is in the log, and the handler says that nobody was written to.
    assert node.run(event.replace("/etc/played:", ""), check=False).status == 1
    node.await_log("no mail to root: neither mail nor sendmail is installed", 0)


@pytest.fixture
def handled_without_events(handled, pair):
    if not pair.left.running or "notify-pri-lost.sh" not in pair.left.run("ls /etc/handlers", check=False).output:
        handled('split-brain "{h}notify-split-brain.sh";')
    return pair.left


def test_a_name_that_tells_nothing(handled_without_events):
    node = handled_without_events
    node.run("ln -sf $(readlink /etc/handlers/notify-pri-lost.sh) /etc/handlers/notify-nonsense.sh")
    outcome = node.run("/etc/handlers/notify-nonsense.sh", check=False)
    assert outcome.status == 1 and "notify-split-brain.sh" in outcome.output


@pytest.fixture
def reach(pair, tmp_path):
    """reach(): from now on the second machine does what ssh is asked for."""
    servers = []

    def serve():
        pipes = f"{tmp_path}/question", f"{tmp_path}/answer"
        servers.append(pair.right.start(
            f"mkfifo {' '.join(pipes)}; while read -r command <{pipes[0]}; do output=$(sh -c \"$command\" 2>&1); "
            f"printf 'cat <<END\\n%s\\nEND\\nexit %s\\n' \"$output\" $? >{pipes[1]}; done"))
        await_until(lambda: os.path.exists(pipes[1]), "the pipes are there")

    yield serve
    for server in servers:
        kill_group(server)
        server.wait()


OUTDATE = 'fence-peer "{h}outdate-peer.sh on %s 192.168.22.11 192.168.23.11 on %s 192.168.22.12 192.168.23.12";'


def outdate_handler(pair):
    return OUTDATE % (pair.left.name, pair.right.name)


def test_the_peer_is_outdated_over_another_cable(handled, pair, reach):
    handled(outdate_handler(pair), disk="fencing resource-only;")
    reach()
    pair.left.unplug()
    pair.left.await_status("the peer is known as Outdated", lambda s: (s.cs, s.peer_disk) == ("WFConnection", "Outdated"), 40)
    pair.right.await_status("Outdated", lambda s: s.disk == "Outdated")
    assert "root@192.168.22.12 drbdadm outdate r0" in notes(pair.left)
    refused = pair.right.drbdadm("primary r0", check=False)
    assert refused.status == 17 and "Need access to UpToDate data" in refused.output
    pair.left.write(0, pattern("alone", 65536))
    pair.left.plug_in()
    pair.synced()
    pair.compare()


def test_a_peer_that_is_primary_is_not_outdated(handled, pair, reach):
    handled(outdate_handler(pair))
    reach()
    pair.left.unplug()
    pair.right.await_connection("WFConnection")
    pair.right.drbdadm("primary --force r0")
    outcome = pair.left.drbdadm("fence-peer r0", check=False)
    assert outcome.status == 6 and "is Primary and keeps its data" in outcome.output
    assert pair.right.status().disk == "UpToDate"
    pair.left.drbdadm("down r0")
    pair.right.drbdadm("down r0")


def test_a_peer_out_of_reach(handled, pair):
    handled(outdate_handler(pair))
    pair.left.unplug()
    outcome = pair.left.drbdadm("fence-peer r0", check=False)
    assert outcome.status == 5 and "cannot be reached" in outcome.output, outcome
    # Both addresses were tried, in their order, and none of this node's own.
    assert re.findall(r"root@(\S+)", notes(pair.left)) == ["192.168.22.12", "192.168.23.12"]
    wrong = f"DRBD_RESOURCE=r0 DRBD_PEER=stranger {CALL.format(binaries=pair.left.binaries)}outdate-peer.sh on a 10.0.0.1"
    outcome = pair.left.run(wrong, check=False)
    assert outcome.status == 1 and "no 'on stranger' with addresses" in outcome.output


SNAPSHOT = 'before-resync-target "{h}snapshot-resync-target-lvm.sh -p 15 -- -c 16k"; after-resync-target {h}unsnapshot-resync-target-lvm.sh;'
SNAPSHOT = SNAPSHOT.replace("{h}unsnapshot-resync-target-lvm.sh", '"{h}unsnapshot-resync-target-lvm.sh"')


def behind(pair):
    """4 MiB written while the peer was away."""
    pair.left.unplug()
    pair.left.await_connection("WFConnection")
    pair.left.write(0, pattern("behind", 4 << 20))
    pair.right.run("rm -f /run/notes /run/snapshot")


def test_a_snapshot_keeps_the_last_consistent_state(handled):
    pair = handled(SNAPSHOT)
    behind(pair)
    pair.left.plug_in()
    pair.synced()
    await_until(lambda: "lvremove" in notes(pair.right), "the snapshot is removed")
    size = 4096 + 65536 * 15 // 100 + 10240
    assert notes(pair.right) == (f"/etc/played/lvcreate --snapshot --size {size}k --name data-before-resync -c 16k vg/data\n"
                                 "/etc/played/lvremove --force vg/data-before-resync\n")
    assert notes(pair.left) == ""
    pair.compare()


def test_no_snapshot_no_resync(handled):
    pair = handled(SNAPSHOT)
    behind(pair)
    before = pair.right.disk.read(0, 4 << 20)
    pair.right.run("touch /run/full")
    pair.left.plug_in()
    pair.right.await_log("no snapshot, so no resync", 0)
    pair.right.await_status("no connection", lambda s: s.cs in ("StandAlone", "WFConnection"))
    assert pair.right.disk.read(0, 4 << 20) == before
    pair.right.run("rm /run/full")
    for machine in pair.machines:
        if machine.status().cs == "StandAlone":
            machine.drbdadm("connect r0")
    pair.synced()
    pair.compare()


def test_every_handler_of_the_package_is_tried_here():
    assert sorted(os.listdir(f"{REPOSITORY}/packaging/handlers")) == sorted(PROGRAMS)
    with open(f"{REPOSITORY}/packaging/debian/duplex.links", encoding="utf-8") as links:
        names = [line.split()[1].rsplit("/", 1)[1] for line in links if "usr/lib/drbd/" in line]
    assert sorted(names) == sorted(sum(PROGRAMS.values(), []))
