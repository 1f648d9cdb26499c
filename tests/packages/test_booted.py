"""The units in a booted systemd (a container: no udev daemon, so rules are run by hand with udevadm test)."""

import os
import re
import time

import pytest

from lab.process import run_local
from packages import root as roots

CONF = """
resource r0 {
  startup { wfc-timeout 2; degr-wfc-timeout 1; outdated-wfc-timeout 1; become-primary-on node; }
  net { connect-int 1; }
  device /dev/drbd0; disk /dev/sdb1; meta-disk internal;
  on node { address 127.0.0.1:7788; }
  on other { address 127.0.0.2:7788; }
}
"""

# Every line must succeed; what fails is the last line of the output.
PRELUDE = r"""#!/bin/bash
set -euxo pipefail
await() { local i; for ((i = 0; i < 200; i++)); do "$@" && return; sleep 0.05; done; false; }
state() { systemctl show -P ActiveState "$1"; }
is_active() { [ "$(state "$1")" = active ]; }
pid() { systemctl show -P MainPID "duplexd@$1"; }
"""

FIRST_BOOT = PRELUDE + r"""
drbdadm create-md --force r0
systemctl enable --quiet duplex@r0

# A tool in a unit of its own: what it starts is not killed with it.
systemd-run --quiet --wait drbdadm up r0
is_active duplexd@r0
grep -q 'duplexd@r0.service' /proc/$(pid r0)/cgroup
drbdadm role r0 | grep -qx Secondary/Unknown
grep -q '0: cs:WFConnection' /run/duplex/proc/drbd
drbdadm -- --overwrite-data-of-peer primary r0
mkfs.ext4 -q /dev/drbd0
mount /dev/drbd0 /mnt
echo first >/mnt/file

# The init script's table.
/etc/init.d/drbd status >/root/table
grep -qE '^0:r0 +WFConnection +Primary/Unknown +UpToDate/DUnknown +C +/mnt +ext4$' /root/table

# udev's view of the loop device behind /dev/drbd0.
loop=loop$((0x$(stat -c %T /dev/drbd0)))
udevadm test --action=change /sys/block/$loop >/root/udev 2>&1 || true
grep -qE '^DEVLINKS=.*/dev/drbd/by-res/r0( |$)' /root/udev
grep -qE '^DEVLINKS=.*/dev/drbd/by-disk/sdb1( |$)' /root/udev
grep -qx 'SYSTEMD_ALIAS=/dev/drbd0' /root/udev
if grep -E '65-drbd\.rules:[0-9]+.*([Ii]nvalid|[Uu]nknown|[Ff]ailed|[Ii]gnoring)' /root/udev; then false; fi

# In use, it stays: also when its unit is told to stop, and when the package is to go.
if drbdadm down r0; then false; fi
if DEBIAN_FRONTEND=noninteractive dpkg --remove duplex-fuse duplex >/root/remove 2>&1; then false; fi
grep -q 'r0 is in use' /root/remove
dpkg --configure -a
before=$(pid r0)

# An upgrade leaves the process and the mounted file system alone.
(for ((i = 0; i < 100; i++)); do echo $i >>/mnt/written; sync -d /mnt/written; done) &
DEBIAN_FRONTEND=noninteractive dpkg -i /packages/duplex{,-fuse}_0.1.0-1+next1_amd64.deb
wait $!
[ "$(pid r0)" = "$before" ]
[ "$(wc -l </mnt/written)" = 100 ]
drbdadm status r0

# The new version takes over with the next start.
umount /mnt
drbdadm down r0
await test "$(state duplexd@r0)" = inactive
[ ! -e /dev/drbd0 ]
systemctl start duplex@r0
[ "$(pid r0)" != "$before" ]
readlink /proc/$(pid r0)/exe | grep -qx /usr/sbin/duplexd

# Down by hand: the unit knows.
drbdadm down r0
await test "$(state duplex@r0)" = inactive

# Its process dies: it is brought up again.
systemctl start duplex@r0
is_active duplex@r0
killed=$(pid r0)
kill -9 "$killed"
recovered() { local now; now=$(pid r0); [ "$now" != 0 ] && [ "$now" != "$killed" ] && is_active duplex@r0; }
await recovered
drbdadm role r0 | grep -qx Secondary/Unknown

# By the script: all resources.
systemctl stop duplex@r0
[ "$(state duplexd@r0)" = inactive ]
/etc/init.d/drbd start
is_active drbd.service
drbdadm role r0 | grep -qx Primary/Unknown # become-primary-on, after wfc-timeout
/etc/init.d/drbd reload
/etc/init.d/drbd stop
[ "$(state duplexd@r0)" = inactive ]
if /etc/init.d/drbd status; then false; fi
"""

# Nothing is started here: it was up when the system was.
SECOND_BOOT = PRELUDE + r"""
is_active duplex.target
is_active duplex@r0
is_active duplex-wait-connect@r0
drbdadm role r0 | grep -qx Primary/Unknown
mount /dev/drbd0 /srv
[ "$(cat /srv/file)" = first ]
# Left mounted: the shutdown takes it apart in order.
echo last >/srv/last
systemd-analyze --man=no verify duplex@r0.service duplexd@r0.service duplex-wait-connect@r0.service duplex-recover@r0.service duplex.target drbd.service
"""

THIRD_BOOT = PRELUDE + r"""
is_active duplex@r0
mount /dev/drbd0 /srv
[ "$(cat /srv/last)" = last ]
umount /srv
# Removal takes the resource down; nothing of it is left to run.
DEBIAN_FRONTEND=noninteractive apt-get -qq -y purge duplex
[ ! -e /dev/drbd0 ]
if pgrep -x duplexd; then false; fi
"""


@pytest.fixture
def disk(tmp_path_factory):
    path = f"/var/tmp/duplex-packages.{os.getpid()}.img"
    with open(path, "wb") as file:
        file.truncate(64 << 20)
    yield path
    os.unlink(path)


def succeeded(result):
    outcome, console = result
    assert outcome.status == 0, f"{outcome.output[-6000:]}\n--- console\n{console[-2000:]}"
    return console


def test_boots_with_a_resource(bootable, packages, disk):
    bootable.install(*packages["first"].node, "procps")
    bootable.write("/etc/drbd.d/r0.res", CONF)
    succeeded(bootable.boot(FIRST_BOOT, disk, limit_s=90))
    began = time.monotonic()
    succeeded(bootable.boot(SECOND_BOOT, disk, limit_s=90))
    # Up, waited for the peer, down again with a file system mounted: nothing ran into its time-out.
    assert time.monotonic() - began < 45
    succeeded(bootable.boot(THIRD_BOOT, disk, limit_s=90))
