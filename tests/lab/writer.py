#!/usr/bin/python3
"""A program for the machines: writes 4 KiB blocks past the page cache and says which ones were acknowledged.

usage: writer.py DEVICE RUN SPAN_BLOCKS THREADS [COUNT [LANE LANES]]
Of LANES writers on the same span each has blocks of its own.
Every block carries its run, its number and a rising sequence number, and a filler made from these, so that a reader can tell
a whole block from a torn one. Prints `P pid`, then `A block sequence` after each acknowledged write, and at the end (COUNT
writes, or SIGTERM) `D`. A write that fails prints `E block errno` and ends the program."""

import hashlib
import mmap
import os
import random
import signal
import struct
import sys
import threading

BLOCK = 4096
MAGIC = b"DUPLEXWR"
HEADER = struct.Struct("<8sQQQ")


def block_content(run, block, sequence):
    header = HEADER.pack(MAGIC, run, block, sequence)
    return header + hashlib.sha256(header).digest() * ((BLOCK - HEADER.size) // 32)


def decode(content):
    """(run, block, sequence), or None for anything that is not one whole block of a writer."""
    magic, run, block, sequence = HEADER.unpack_from(content)
    if magic != MAGIC or content != block_content(run, block, sequence):
        return None
    return run, block, sequence


def main(device, run, span, threads, count=0, lane=0, lanes=1):
    descriptor = os.open(device, os.O_WRONLY | os.O_DIRECT)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    lock = threading.Lock()
    state = {"sequence": 0, "failed": False}

    def say(text):
        os.write(1, text.encode())

    def work(index):
        # Each thread has its own blocks, so no block ever has two writes under way.
        draw = random.Random(run * 1000 + index)
        buffer = mmap.mmap(-1, BLOCK)
        while not stop.is_set():
            with lock:
                if count and state["sequence"] >= count:
                    return
                state["sequence"] += 1
                sequence = state["sequence"]
            block = draw.randrange(lane * threads + index, span, threads * lanes)
            buffer[:] = block_content(run, block, sequence)
            try:
                os.pwrite(descriptor, buffer, block * BLOCK)
            except OSError as error:
                say(f"E {block} {error.errno}\n")
                state["failed"] = True
                stop.set()
                return
            say(f"A {block} {sequence}\n")

    say(f"P {os.getpid()}\n")
    workers = [threading.Thread(target=work, args=(index,)) for index in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if not state["failed"]:
        say("D\n")
    return 1 if state["failed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *(int(argument) for argument in sys.argv[2:])))
