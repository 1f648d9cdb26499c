#!/usr/bin/python3
"""Passes Ethernet frames between two interfaces, each one late by a random time, in order.

usage: delay_frames.py INTERFACE INTERFACE MOST_MILLISECONDS
Frames keep their offload headers (PACKET_VNET_HDR): what a virtual interface sends need be neither checksummed nor cut yet.
Prints `ready` when frames pass."""

import collections
import random
import select
import socket
import sys
import time

SOL_PACKET = 263
PACKET_VNET_HDR = 15
PACKET_IGNORE_OUTGOING = 23
ETH_P_ALL = 3
LONGEST = 70000


def open_interface(name):
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    raw.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    raw.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 << 20)
    raw.bind((name, ETH_P_ALL))
    raw.setblocking(False)
    return raw


class Direction:
    def __init__(self, source, target, most_s, draw):
        self.source = source
        self.target = target
        self._most_s = most_s
        self._draw = draw
        self._late = collections.deque()
        self._last_due = 0.0

    def take(self):
        now = time.monotonic()
        while True:
            try:
                frame = self.source.recv(LONGEST)
            except BlockingIOError:
                return
            self._last_due = max(self._last_due, now + self._draw.uniform(0, self._most_s))
            self._late.append((self._last_due, frame))

    def give(self):
        """Seconds until the next frame is due, or None."""
        while self._late:
            wait_s = self._late[0][0] - time.monotonic()
            if wait_s > 0:
                return wait_s
            try:
                self.target.send(self._late[0][1])
            except BlockingIOError:
                return 0.001
            self._late.popleft()
        return None


def main(first, second, most_ms):
    sockets = [open_interface(first), open_interface(second)]
    draw = random.Random(1)
    directions = [Direction(*pair, float(most_ms) / 1000, draw) for pair in (sockets, sockets[::-1])]
    print("ready", flush=True)
    while True:
        waits = [wait_s for wait_s in (direction.give() for direction in directions) if wait_s is not None]
        readable, _, _ = select.select(sockets, [], [], min(waits) if waits else None)
        for direction in directions:
            if direction.source in readable:
                direction.take()


if __name__ == "__main__":
    main(*sys.argv[1:])
