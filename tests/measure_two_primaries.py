#!/usr/bin/python3
"""How often two Primaries that write the same MiB at the same time lose their connection.

usage: tests/measure_two_primaries.py ARRANGEMENT ROUNDS [SECONDS]      (kernel-kernel, duplex-kernel, duplex-duplex)
Each round begins with equal disks. Prints a line per round and the figures of docs/compatibility.md."""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lab import conf, overlap  # noqa: E402
from lab.pair import Pair  # noqa: E402
from lab.process import LabError  # noqa: E402


def one_round(pair, seconds):
    """(whether the connection held, MiB written, what came of it)"""
    pair.alike(conf.fast(pair.left, pair.right, net="allow-two-primaries; timeout 20; ko-count 3; ping-timeout 50;"))
    pair.both("drbdadm primary r0")
    marks = {machine: machine.log_mark() for machine in pair.machines}
    written = sum(overlap.written_kib(report) for report in pair.both(overlap.writers(seconds))) / 1024
    held = not any("conn( Connected" in machine.log_since(marks[machine]) for machine in pair.machines)
    if not held:
        for machine in pair.machines:
            machine.await_log("Split-Brain detected but unresolved", marks[machine], limit_s=20)
        return held, written, "lost, split brain reported by both"
    began = time.monotonic()
    pair.both("sync /dev/drbd0")
    flushed_s = time.monotonic() - began
    try:
        pair.compare()
    except LabError as error:
        return held, written, f"DIFFERENT WITHOUT A WORD: {error}"
    return held, written, f"held, equal; a flush took {flushed_s:.1f} s"


def main(arrangement, rounds, seconds=3):
    pair = Pair(*arrangement.split("-"))
    try:
        results = []
        for number in range(int(rounds)):
            results.append(one_round(pair, int(seconds)))
            print(f"{number + 1}: {results[-1][1]:.1f} MiB, {results[-1][2]}", flush=True)
        held = sum(result[0] for result in results)
        print(f"{arrangement}: the connection held in {held} of {len(results)} rounds of {seconds} s, "
              f"{sum(result[1] for result in results):.0f} MiB written")
    finally:
        pair.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
