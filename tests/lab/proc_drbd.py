"""The text of /proc/drbd as values (cli 26)."""

import re

# On the way from a lost peer to the next attempt, or in a handshake: a disconnect is refused (states 2.3, 2.4 b).
TRANSIENT = ("Disconnecting", "Unconnected", "Timeout", "BrokenPipe", "NetworkFailure", "ProtocolError", "TearDown", "WFReportParams")
_STATE = re.compile(r"^ ?(?P<minor>\d+): cs:(?P<cs>\S+)(?: ro:(?P<role>\w+)/(?P<peer_role>\w+)"
                    r" ds:(?P<disk>\w+)/(?P<peer_disk>\w+) (?P<protocol>[ABC ]) (?P<flags>\S+))?")
COUNTERS = ("ns", "nr", "dw", "dr", "al", "bm", "lo", "pe", "ua", "ap", "ep", "oos")
_COUNTER = re.compile(r"\b(" + "|".join(COUNTERS) + r"):(\d+)")
_PERCENT = re.compile(r"(?:sync'ed|verified): *([\d.]+)%")
_SPEED = re.compile(r"finish: (\S+) speed: ([\d,]+) \(([\d,]+)\)")


class Minor:
    """One device: cs, role, peer_role, disk, peer_disk, protocol, flags; counters as ns, nr, ... oos (KiB);
    percent and speed_kib while a resync or verify runs, else None."""

    def __init__(self, text, match):
        self.text = text
        self.percent = None
        self.finish = None
        self.speed_kib = None
        for name, value in match.groupdict().items():
            setattr(self, name, value)
        for name in COUNTERS:
            setattr(self, name, None)
        for name, value in _COUNTER.findall(text):
            setattr(self, name, int(value))
        percent = _PERCENT.search(text)
        if percent:
            self.percent = float(percent.group(1))
        speed = _SPEED.search(text)
        if speed:
            self.finish = speed.group(1)
            self.speed_kib = int(speed.group(2).replace(",", ""))

    def __repr__(self):
        return self.text.strip()


def parse(text):
    """{minor: Minor}; a minor without `ro:` (Unconfigured) has None for roles and disks."""
    minors = {}
    block = []
    for line in text.splitlines() + [" 0:"]:
        if re.match(r"^ ?\d+:", line):
            if block:
                match = _STATE.match(block[0])
                if match:
                    minors[int(match["minor"])] = Minor("\n".join(block), match)
            block = [line]
        elif block:
            block.append(line)
    return minors
