#!/usr/bin/env python3
"""timeline.gz of a capture: in which order the bytes of its streams crossed the cable, and when.

usage: make_timeline.py FOLDER PCAP.GZ

A line is "MICROSECONDS STREAM o|a BYTES": from that moment on BYTES more bytes of that direction of streamN (o: from
the opener, a: from the acceptor) had been seen. Neighbouring segments of one direction are one line.
"""
import gzip
import json
import pathlib
import struct
import sys


def packets(data):
    at = 24
    while at < len(data):
        seconds, micros, length, _ = struct.unpack_from("<IIII", data, at)
        yield seconds * 1_000_000 + micros, data[at + 16 : at + 16 + length]
        at += 16 + length


def tcp(frame):
    if frame[12:14] != b"\x08\x00" or frame[23] != 6:
        return None
    ip = 14
    header = (frame[ip] & 15) * 4
    total = struct.unpack_from(">H", frame, ip + 2)[0]
    at = ip + header
    source, target, sequence = struct.unpack_from(">HHI", frame, at)
    payload = total - header - (frame[at + 12] >> 4) * 4
    name = lambda offset, port: ".".join(map(str, frame[offset : offset + 4])) + f":{port}"
    return name(ip + 12, source), name(ip + 16, target), sequence, frame[at + 13], payload


def main(folder, pcap):
    folder = pathlib.Path(folder)
    streams = json.loads((folder / "streams.json").read_text())
    directions = {}
    for stream in streams:
        directions[stream["opener"], stream["acceptor"]] = (stream["stream"], "o")
        directions[stream["acceptor"], stream["opener"]] = (stream["stream"], "a")
    first_byte, seen, lines, start = {}, {}, [], None
    for time, frame in packets(gzip.decompress(pathlib.Path(pcap).read_bytes())):
        segment = tcp(frame)
        if segment is None or segment[:2] not in directions:
            continue
        key = directions[segment[:2]]
        sequence, flags, payload = segment[2:]
        if flags & 2:
            first_byte[key] = (sequence + 1) & 0xFFFFFFFF
        if payload == 0:
            continue
        start = time if start is None else start
        end = ((sequence - first_byte[key]) & 0xFFFFFFFF) + payload
        new = end - seen.get(key, 0)
        if new <= 0:
            continue
        seen[key] = end
        if lines and lines[-1][1] == key and time - start - lines[-1][0] < 1000:
            lines[-1][2] += new
        else:
            # In the order of the capture, whose clock is a few microseconds off now and then.
            lines.append([max(time - start, lines[-1][0] + 1 if lines else 0), key, new])
    for stream in streams:
        for file, direction in zip(stream["files"], "oa"):
            assert seen.get((stream["stream"], direction), 0) == file["bytes"], (folder, stream, seen)
    text = "".join(f"{time} {key[0]} {key[1]} {count}\n" for time, key, count in lines)
    (folder / "timeline.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))


main(*sys.argv[1:])
