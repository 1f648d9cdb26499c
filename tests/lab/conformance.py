"""Prints docs/conformance.md from what the suites have written with --features.

usage: conformance.py FILE..."""

import json
import sys

ARRANGEMENTS = {"duplex-duplex": "Duplex–Duplex", "duplex-kernel": "Duplex–kernel", "kernel-duplex": "kernel–Duplex", "alone": "alone"}
HEAD = """# What has been shown, between which nodes

Written by `./test exports system kernel`; not by hand. Each ✓ is at least one test that has passed in that run.
The kernel's node is {kernels}. A Primary's users work on
`/dev/drbdN` over FUSE and a loop device where nothing else is said. Duplex–kernel and kernel–Duplex are the same tests with
the two nodes exchanged; alone: no peer, a volume in memory.

| | export | {arrangements} | tests |
|---|---|{rules}---|"""


def document(parts):
    kernels = sorted({kernel for part in parts for kernel in part["kernels"]})
    rows = {}
    for shown in (shown for part in parts for shown in part["shown"]):
        rows.setdefault((shown["feature"], shown["export"] or ""), []).append(shown)
    lines = [HEAD.format(kernels=" and ".join(kernels), arrangements=" | ".join(ARRANGEMENTS.values()), rules=":-:|" * len(ARRANGEMENTS))]
    for (feature, export), tests in sorted(rows.items()):
        cells = ["✓" if any(test["arrangement"] == arrangement for test in tests) else "" for arrangement in ARRANGEMENTS]
        files = sorted({test["file"].removeprefix("tests/") for test in tests})
        lines.append(f"| {feature} | {export} | {' | '.join(cells)} | {', '.join(f'`{file}`' for file in files)} |")
    return "\n".join(lines) + "\n"


def main(paths):
    parts = []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            parts.append(json.load(file))
    sys.stdout.write(document(parts))


if __name__ == "__main__":
    main(sys.argv[1:])
