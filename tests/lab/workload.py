"""The writer program running on a machine, and what its acknowledgements promise."""

import os
import threading
import time

from . import draw, writer
from .process import LabError, await_until

PROGRAM = os.path.abspath(writer.__file__)
BLOCK = writer.BLOCK


class Workload:
    """Writes on `machine` until stopped (or `count` writes). `acknowledged`: {block: highest sequence acknowledged}."""

    def __init__(self, machine, run, span_blocks, threads=None, count=0, device="/dev/drbd0", lane=0, lanes=1):
        threads = threads or draw.in_this_test("threads", 4, range(1, 9))
        self.machine = machine
        self.run = run
        self.span_blocks = span_blocks
        self.acknowledged = {}
        self.writes = 0
        self.error = None
        self.done = False
        self._pid = None
        self._process = machine.start(f"exec /usr/bin/python3 {PROGRAM} {device} {run} {span_blocks} {threads} {count} {lane} {lanes} 2>&1")
        self._unknown = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        try:
            for line in self._process.stdout:
                # A machine that dies can end its output in the middle of a line.
                if not line.endswith(b"\n"):
                    break
                self._take(line.decode("utf-8", "replace").split())
        except (OSError, ValueError):
            pass

    def _take(self, words):
        match words:
            case ["A", block, sequence]:
                self.acknowledged[int(block)] = max(int(sequence), self.acknowledged.get(int(block), 0))
                self.writes += 1
            case ["P", pid]:
                self._pid = int(pid)
            case ["E", block, number]:
                self.error = f"write of block {block} failed: {os.strerror(int(number))}"
            case ["D"]:
                self.done = True
            case [] | [_] if self.done:
                pass
            case _:
                self._unknown.append(" ".join(words))

    def await_writes(self, count, limit_s=60.0):
        """Until `count` more writes have been acknowledged."""
        count *= draw.in_this_test("writes", 1, range(1, 5))
        goal = self.writes + count

        def reached():
            if self.error or (not self._reader.is_alive() and self.writes < goal):
                raise LabError(f"{self.machine.name}: the writer stopped after {self.writes} writes: {self.error} {self._unknown}")
            return self.writes >= goal

        await_until(reached, lambda: f"{count} writes on {self.machine.name}; had {self.writes - goal + count}", limit_s)

    def await_standstill(self, limit_s=20.0):
        """The number of writes acknowledged, once it has not grown for a second."""
        seen = [self.writes, time.monotonic()]

        def still():
            if self.writes != seen[0]:
                seen[:] = [self.writes, time.monotonic()]
            return time.monotonic() - seen[1] >= 1.0

        await_until(still, lambda: f"the writes on {self.machine.name} come to a standstill", limit_s)
        return self.writes

    def reading(self):
        """Whether more may still be heard of the writer."""
        return self._reader.is_alive()

    def stop(self, limit_s=60.0):
        """Lets the writes under way finish. Any failed write is an error here."""
        self.machine.run(f"kill -TERM {self._pid}")
        self.join(limit_s)

    def join(self, limit_s=60.0):
        """Waits for the writer's own end."""
        await_until(lambda: self.done or self.error or not self._reader.is_alive(), f"the writer on {self.machine.name} ends", limit_s)
        if not self.done:
            raise LabError(f"{self.machine.name}: the writer did not finish: {self.error} {self._unknown}")
        self._reader.join(limit_s)
        self._close()

    def lost_power(self, limit_s=20.0):
        """After the machine's power failure: takes in what it had said before."""
        if hasattr(self._process, "hang_up"):
            self._process.hang_up()
        self._reader.join(limit_s)
        self._close()

    def _close(self):
        if hasattr(self._process, "wait"):
            self._process.stdout.close()
            self._process.wait()
        else:
            self._process.close()

    def check(self, content, base=None):
        """Every acknowledged write is in `content` (the device's first bytes) or has been followed by a later one of this run."""
        problems = []
        for block in range(self.span_blocks):
            bytes_here = content[block * BLOCK:(block + 1) * BLOCK]
            sequence = self.acknowledged.get(block, 0)
            found = writer.decode(bytes_here)
            if found is None or found[0] != self.run:
                if sequence == 0 and (base is None or bytes_here == base[block * BLOCK:(block + 1) * BLOCK] or found):
                    continue
                problems.append(f"block {block}: write {sequence} was acknowledged, found {found or bytes_here[:32].hex()}")
            elif found[1] != block:
                problems.append(f"block {block}: holds block {found[1]}")
            elif found[2] < sequence:
                problems.append(f"block {block}: write {sequence} was acknowledged, found the older write {found[2]}")
        if problems:
            raise LabError(f"{len(problems)} acknowledged writes lost or damaged, of {self.writes}:\n  " + "\n  ".join(problems[:8]))
        return len(self.acknowledged)
