"""nbdkit plugin: a file as a disk, with faults that come and go.

Parameters: file=PATH, faults=PATH. The second has a line `WHAT FIRST_BYTE END_BYTE` for each fault, WHAT being read or write
(requests that touch the range fail with EIO) or hang-read or hang-write (they get no answer while the line is there)."""

import builtins
import errno
import os
import time

import nbdkit

API_VERSION = 2
_paths = {}


def config(key, value):
    if key not in ("file", "faults"):
        raise RuntimeError(f"no parameter {key}")
    _paths[key] = value


def config_complete():
    for key in ("file", "faults"):
        if key not in _paths:
            raise RuntimeError(f"{key}= is missing")


def thread_model():
    return nbdkit.THREAD_MODEL_PARALLEL


def open(readonly):
    return os.open(_paths["file"], os.O_RDONLY if readonly else os.O_RDWR)


def close(disk):
    os.close(disk)


def get_size(disk):
    return os.fstat(disk).st_size


def can_multi_conn(disk):
    return True


def pread(disk, buffer, offset, flags):
    _meet_faults("read", offset, len(buffer))
    if os.preadv(disk, [buffer], offset) != len(buffer):
        raise OSError(errno.EIO, "short read")


def pwrite(disk, buffer, offset, flags):
    _meet_faults("write", offset, len(buffer))
    if os.pwrite(disk, buffer, offset) != len(buffer):
        raise OSError(errno.EIO, "short write")


def flush(disk, flags):
    os.fdatasync(disk)


def _meet_faults(direction, offset, length):
    while True:
        faults = _faults_at(offset, length)
        if direction in faults:
            nbdkit.set_error(errno.EIO)
            raise OSError(errno.EIO, f"{direction} of {length} bytes at {offset} fails on purpose")
        if "hang-" + direction not in faults:
            return
        time.sleep(0.02)


def _faults_at(offset, length):
    with builtins.open(_paths["faults"], encoding="ascii") as file:
        faults = [line.split() for line in file]
    return {what for what, first, end in faults if int(first) < offset + length and offset < int(end)}
