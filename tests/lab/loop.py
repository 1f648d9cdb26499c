"""Loop devices that free themselves when their last holder is gone."""

import ctypes
import errno
import fcntl
import os
import time

from .process import LabError, await_until

LOOP_CONFIGURE = 0x4C0A
LOOP_CTL_GET_FREE = 0x4C82
BLKROSET = 0x125D
LO_FLAGS_AUTOCLEAR = 4
LO_FLAGS_DIRECT_IO = 16
LOOP_MAJOR = 7


class _LoopInfo64(ctypes.Structure):
    _fields_ = [("device", ctypes.c_uint64), ("inode", ctypes.c_uint64), ("rdevice", ctypes.c_uint64),
                ("offset", ctypes.c_uint64), ("size_limit", ctypes.c_uint64), ("number", ctypes.c_uint32),
                ("encrypt_type", ctypes.c_uint32), ("encrypt_key_size", ctypes.c_uint32), ("flags", ctypes.c_uint32),
                ("file_name", ctypes.c_uint8 * 64), ("crypt_name", ctypes.c_uint8 * 64),
                ("encrypt_key", ctypes.c_uint8 * 32), ("init", ctypes.c_uint64 * 2)]


class _LoopConfig(ctypes.Structure):
    _fields_ = [("fd", ctypes.c_uint32), ("block_size", ctypes.c_uint32), ("info", _LoopInfo64),
                ("reserved", ctypes.c_uint64 * 8)]


class Loop:
    """A loop device over `path`, direct I/O, 512-byte sectors. `fd` holds it: once every holder of that file
    description and every opener of the device is gone, the kernel frees the number."""

    def __init__(self, path, limit_s=10.0):
        deadline = time.monotonic() + limit_s
        while True:
            self.number = self._free_number()
            self.fd = self._configure(path)
            if self.fd is not None:
                break
            if time.monotonic() > deadline:
                raise LabError(f"no loop device for {path} within {limit_s:g} s: others took each free one first")
        self.path = path

    @staticmethod
    def _free_number():
        control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
        try:
            return fcntl.ioctl(control, LOOP_CTL_GET_FREE)
        finally:
            os.close(control)

    def _configure(self, path):
        """The open loop device, or None if another process took the number between GET_FREE and here."""
        device = f"/dev/loop{self.number}"
        try:
            os.mknod(device, 0o600 | 0o060000, os.makedev(LOOP_MAJOR, self.number))
        except FileExistsError:
            pass
        backing = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
        config = _LoopConfig(fd=backing, block_size=512)
        config.info.flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO
        try:
            fcntl.ioctl(fd, LOOP_CONFIGURE, config)
            # The number's last user may have left it read-only; the kernel remembers that.
            fcntl.ioctl(fd, BLKROSET, ctypes.c_int(0))
            return fd
        except OSError as error:
            os.close(fd)
            if error.errno == errno.EBUSY:
                return None
            raise
        finally:
            os.close(backing)

    def release(self):
        """Drops our hold; the device lives on for as long as somebody else holds it."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    @property
    def device_number(self):
        return os.makedev(LOOP_MAJOR, self.number)


def await_unused(path, limit_s=20.0):
    """Until no loop device of this kernel has `path` behind it."""
    await_until(lambda: not users(path), lambda: f"{path} free of loop devices; still used by {users(path)}", limit_s)


def users(path):
    """Names of the loop devices with `path` behind them."""
    found = []
    for name in os.listdir("/sys/block"):
        if not name.startswith("loop"):
            continue
        try:
            with open(f"/sys/block/{name}/loop/backing_file", encoding="utf-8", errors="replace") as backing:
                if backing.read().strip() == path:
                    found.append(name)
        except OSError:
            continue
    return found
