"""What the meta data tests share: images, loop devices, and a drbdmeta that keeps its files in the test's directory."""
import os
import pathlib
import pty
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
GOLDEN = HERE / "metadata"
sys.path.insert(0, str(GOLDEN))
sys.dont_write_bytecode = True

BIN = pathlib.Path(os.environ.get("DUPLEX_BIN", HERE.parent.parent / "build/release/bin"))
MINOR = "930"
MIB = 1 << 20

needs_loop = pytest.mark.skipif(os.geteuid() != 0 or not os.path.exists("/dev/loop-control"),
                                reason="needs root and loop devices")


class Tool:
    """Runs drbdmeta on one device. `force` adds --force, which plain files need."""

    def __init__(self, directory, device, force=False, program=None):
        self.directory = pathlib.Path(directory)
        self.device = str(device)
        self.force = force
        self.program = str(program or BIN / "drbdmeta")
        self.env = dict(os.environ, DUPLEX_LOCK_DIR=str(directory), DUPLEX_STATE_DIR=str(directory),
                        DUPLEX_RUN_DIR=str(directory / "run"), LC_ALL="C")

    def argv(self, index, *words, minor=MINOR):
        options = ["--force"] if self.force else []
        return [self.program, *options, minor, "v08", self.device, str(index), *map(str, words)]

    def run(self, index, *words, code=0, stdin=None, **kw):
        p = subprocess.run(self.argv(index, *words, **kw), env=self.env, capture_output=True, text=True,
                           input=stdin if stdin is not None else "")
        # Said for every plain file; not what any test is about.
        p.stderr = "".join(line for line in p.stderr.splitlines(True) if "assuming hard_sect_size" not in line)
        if code is not None:
            assert p.returncode == code, (p.args, p.returncode, p.stdout, p.stderr)
        return p

    def answer(self, index, *words, answer):
        """With a terminal, whose user types `answer` once asked; the text on the terminal and the exit code."""
        pid, fd = pty.fork()
        if pid == 0:
            os.execve(self.program, self.argv(index, *words), self.env)
        text, answered = b"", False
        while True:
            try:
                chunk = os.read(fd, 4096)
            except OSError:  # the terminal's other side is gone
                break
            if not chunk:
                break
            text += chunk
            if not answered and text.endswith(b"[need to type 'yes' to confirm] "):
                os.write(fd, answer.encode() + b"\n")
                answered = True
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(fd)
        return text.decode().replace("\r\n", "\n"), status

    def last_known(self):
        path = self.directory / f"drbd-minor-{MINOR}.lkbd"
        return path.read_text() if path.exists() else None


def unpack(name, directory):
    subprocess.run(["tar", "-C", str(directory), "-xzf", str(GOLDEN / f"{name}.img.tgz")], check=True)
    return pathlib.Path(directory) / f"{name}.img"


def golden(name):
    return (GOLDEN / name).read_text()


def from_version(text):
    """A dump without its header of time, host and command line."""
    assert 'version "v08";' in text, text
    return text[text.index('version "v08";'):]


def sparse(path, size):
    with open(path, "wb") as f:
        f.truncate(size)
    return path


def put(path, offset, data):
    with open(path, "r+b") as f:
        f.seek(offset)
        f.write(data)


def get(path, offset, length):
    with open(path, "rb") as f:
        f.seek(offset)
        return f.read(length)


class Loop:
    def __init__(self, path):
        self.path = path
        self.device = subprocess.run(["losetup", "-f", "--show", str(path)], check=True, capture_output=True,
                                     text=True).stdout.strip()
        # A killed user of this number may have left it read-only; the kernel remembers that.
        subprocess.run(["blockdev", "--setrw", self.device], check=True)

    def reread(self):
        subprocess.run(["losetup", "-c", self.device], check=True)

    def close(self):
        subprocess.run(["losetup", "-d", self.device], check=True)
