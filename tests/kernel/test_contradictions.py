"""Two nodes whose configurations contradict each other: the connection is refused, the log names the option, the disks stay as they
are, and with equal files an adjust and a connect mend it."""

import re

import pytest

from lab import conf
from lab.process import await_until

pytestmark = pytest.mark.feature("Connection: contradicting settings are refused")

# What the one file says and the other does not, and the words in the log.
SETTINGS = {
    "protocol": ({"protocol": "B"}, "incompatible protocol settings"),
    "after-sb-0pri": ({"net": "after-sb-0pri discard-zero-changes;"}, "incompatible after-sb-0pri settings"),
    "after-sb-1pri": ({"net": "after-sb-1pri consensus;"}, "incompatible after-sb-1pri settings"),
    "after-sb-2pri": ({"net": "after-sb-2pri call-pri-lost-after-sb;"}, "incompatible after-sb-2pri settings"),
    "allow-two-primaries": ({"net": "allow-two-primaries;"}, "incompatible allow-two-primaries settings"),
    "data-integrity-alg": ({"net": "data-integrity-alg md5;"}, "incompatible data-integrity-alg settings"),
    "cram-hmac-alg": ({"net": "cram-hmac-alg md5;"}, "Authentication of peer failed"),
}


@pytest.fixture
def meta_data(pair):
    pair.fresh()
    pair.create_md()
    pair.allow("incompatible", "Authentication", "expected Auth", "error receiving", "P_AUTH_CHALLENGE", "AuthChallenge", r"conn\(", "sock", "short read", "ProtocolError")
    return pair


def test_the_option_is_named(meta_data):
    pair = meta_data
    other = pair.left
    for name, (settings, words) in SETTINGS.items():
        marks = {machine: machine.log_mark() for machine in pair.machines}
        pair.configure(conf.fast(*pair.machines), [pair.other(other)])
        text = conf.fast(*pair.machines, **settings)
        pair.configure(text.replace("cram-hmac-alg sha1; ", "") if name == "cram-hmac-alg" else text, [other])
        pair.up()
        said = await_until(lambda: [machine for machine in pair.machines if re.search(words, machine.log_since(marks[machine]))],
                           lambda: f"the log of either says: {words}\n{pair.describe()}", 20)
        # Whoever has seen it gives up; the other one may have lost the connection before, and waits. Answers of unequal length to
        # a challenge are something to try again.
        for machine in said if name != "cram-hmac-alg" else []:
            machine.await_connection("StandAlone")
        for machine in pair.machines:
            status = machine.await_status(name, lambda s: s.cs in ("StandAlone", "WFConnection", "Unconnected", "NetworkFailure"))
            assert status.disk == "Inconsistent" and status.peer_disk in ("DUnknown", "Outdated"), name  # as before
            assert not re.search(r"-> Connected", machine.log_since(marks[machine])), name
        # As docs/recovery.md says.
        pair.configure(conf.fast(*pair.machines))
        for machine in pair.machines:
            machine.drbdadm("adjust r0")
            machine.drbdadm("connect r0", check=False)  # refused where the adjust has done that already
        pair.connected()
        pair.down()


def test_an_unequal_secret_or_none(meta_data):
    """One side asks for a proof and the other has none to give: refused on the side that asks, in both directions."""
    pair = meta_data
    without = re.sub(r'cram-hmac-alg sha1; shared-secret "[^"]*";', "", conf.fast(*pair.machines))
    for careless in pair.machines:
        careful = pair.other(careless)
        pair.configure(conf.fast(*pair.machines), [careful])
        pair.configure(without, [careless])
        mark = careful.log_mark()
        pair.up()
        careful.await_log("expected AuthChallenge|Authentication of peer failed", mark, 20)
        careful.await_connection("StandAlone")  # from here on the other one calls in vain
        for machine in pair.machines:
            assert machine.status().peer_disk == "DUnknown"
            assert not re.search(r"-> Connected", machine.log_since(mark)) or machine is careless
            machine.down()
