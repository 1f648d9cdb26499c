"""Byte-by-byte comparison of two machines' data areas, from outside."""

import mmap
import os
import struct

from .process import LabError

SECTOR = 512
CHUNK = 4 << 20
# Superblock of meta data format v08 (meta data 5.1): la_size_sect at 0, magic at 60.
_MAGICS = (0x8374026B, 0x8374026C)


def superblock_sector(size_bytes):
    """Internal meta data: the last 4 KiB-aligned block of the device (meta data 3.2)."""
    return ((size_bytes // SECTOR) & ~7) - 8


def data_area_bytes(path):
    """Size of the replicated device as the internal meta data on this disk has it."""
    size = os.stat(path).st_size
    with open(path, "rb") as file:
        file.seek(superblock_sector(size) * SECTOR)
        block = file.read(4096)
    sectors, = struct.unpack_from(">Q", block, 0)
    magic, = struct.unpack_from(">I", block, 60)
    if magic not in _MAGICS or sectors == 0:
        raise LabError(f"{path}: no internal meta data with an agreed size (magic {magic:#x}, {sectors} sectors)")
    return sectors * SECTOR


def _chunks(path, length):
    """The first `length` bytes, read past the page cache: what is on the disk and not what some cache says."""
    buffer = mmap.mmap(-1, CHUNK)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        offset = 0
        while offset < length:
            got = os.preadv(descriptor, [buffer], offset)
            if got <= 0:
                raise LabError(f"{path}: ends at {offset}, before {length}")
            got = min(got, length - offset)
            yield offset, buffer[:got]
            offset += got
    finally:
        os.close(descriptor)
        buffer.close()


def read_direct(path, offset, length):
    """`length` bytes at a sector-aligned offset, past the page cache."""
    buffer = mmap.mmap(-1, (length + 4095) & ~4095)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        with memoryview(buffer) as view, view[:length] as part:
            got = os.preadv(descriptor, [part], offset)
        if got != length:
            raise LabError(f"{path}: read of {length} bytes at {offset} gave {got}")
        return buffer[:length]
    finally:
        os.close(descriptor)
        buffer.close()


def read_data_area(path):
    return b"".join(chunk for _, chunk in _chunks(path, data_area_bytes(path)))


def compare_data_areas(path_a, path_b):
    """The number of bytes compared. A difference is a LabError that names the first sector and how many differ."""
    length = data_area_bytes(path_a)
    if data_area_bytes(path_b) != length:
        raise LabError(f"{path_a} has {length} bytes of data, {path_b} has {data_area_bytes(path_b)}")
    first = None
    different = 0
    for (offset, a), (_, b) in zip(_chunks(path_a, length), _chunks(path_b, length)):
        if a == b:
            continue
        for at in range(0, len(a), SECTOR):
            if a[at:at + SECTOR] != b[at:at + SECTOR]:
                different += 1
                if first is None:
                    first = ((offset + at) // SECTOR, a[at:at + 48], b[at:at + 48])
    if first:
        raise LabError(f"{path_a} and {path_b} differ in {different} of {length // SECTOR} sectors; first at sector {first[0]} "
                       f"(bit {first[0] // 8}):\n  {first[1].hex(' ')}\n  {first[2].hex(' ')}")
    return length


def same(found, expected, where=""):
    """An error that says where two pieces of data differ first. (pytest's own comparison takes minutes with a MiB.)"""
    if found == expected:
        return
    if len(found) != len(expected):
        raise LabError(f"{where}: {len(found)} bytes, not {len(expected)}")
    offset = next(at for at in range(0, len(found), SECTOR) if found[at:at + SECTOR] != expected[at:at + SECTOR])
    raise LabError(f"{where}: sector at {offset} of {len(found)} bytes has {found[offset:offset + 16].hex()}..., "
                   f"not {expected[offset:offset + 16].hex()}...")
