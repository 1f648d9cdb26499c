"""Handlers that write down when they are called and with which environment."""

import os
import re

from .process import await_until

SCRIPT = """# Called as: sh /etc/record-handler NAME [EXIT_STATUS]
called=$({ echo "[$1]"; env | grep '^DRBD_' | grep -v WARN_ON_VERSION | sort; })
echo "$called" >>/var/log/handlers
exit ${2:-0}
"""
LOG = "var-log/handlers"


def recording(names, status=0):
    """A handlers section for drbd.conf; the machines need install(), too."""
    return "handlers { " + " ".join(f'{name} "sh /etc/record-handler {name} {status}";' for name in names) + " }"


def install(pair):
    for machine in pair.machines:
        machine.write_file("/etc/record-handler", SCRIPT)
        forget(machine)


def forget(machine):
    try:
        os.truncate(os.path.join(machine.state, LOG), 0)
    except FileNotFoundError:
        pass


def calls(machine):
    """[(handler, {variable: value})] in the order of the calls."""
    try:
        with open(os.path.join(machine.state, LOG), encoding="utf-8") as log:
            text = log.read()
    except FileNotFoundError:
        return []
    parts = re.split(r"^\[([\w-]+)\]$", text, flags=re.M)[1:]
    return [(name, dict(line.split("=", 1) for line in lines.split("\n") if line)) for name, lines in zip(parts[::2], parts[1::2])]


def names(machine):
    return [name for name, _ in calls(machine)]


def await_call(machine, name, limit_s=15):
    """The environment of the first call of `name`."""
    return await_until(lambda: next((environment for called, environment in calls(machine) if called == name), None),
                       lambda: f"{machine.name} ({machine.kind}) calls handler {name}; it called {names(machine)}", limit_s)


def environment_of_device_handler(machine, peer):
    """What a handler of volume 0 of the lab's resource is given."""
    return {"DRBD_RESOURCE": "r0", "DRBD_MINOR": "0", "DRBD_VOLUME": "0", "DRBD_LL_DISK": "/dev/sdb1", "DRBD_CONF": "/etc/drbd.conf",
            "DRBD_PEER": peer.name, "DRBD_PEERS": peer.name, "DRBD_PEER_AF": "ipv4", "DRBD_PEER_ADDRESS": peer.address}
