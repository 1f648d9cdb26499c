"""A program on a terminal of a machine, as somebody who sits there sees it."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time


class Terminal:
    """`output`: all that was read so far, as bytes, with colours and cursor moves."""

    def __init__(self, machine, command, columns=80, rows=24):
        self.master, self.slave = pty.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(self.slave)
        self.output = b""
        # A terminal's programs can be interrupted, whatever the caller of the tests ignores.
        argv = ["env", "--default-signal", "setsid", "--ctty", "--wait", "sh", "-c", f"{command}; echo \"ended with $?\""]
        self.process = subprocess.Popen(machine.enter_argv(argv),
                                        stdin=self.slave, stdout=self.slave, stderr=self.slave, env=machine.environment())

    def resize(self, columns, rows):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys):
        os.write(self.master, keys)

    def until(self, pattern, limit_s=20):
        """Until what is drawn from now on matches."""
        seen = b""
        deadline = time.monotonic() + limit_s
        while True:
            text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode("utf-8", "replace"))
            match = re.search(pattern, text)
            if match:
                return match
            if not select.select([self.master], [], [], max(0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"no /{pattern}/ in\n{text}")
            chunk = os.read(self.master, 65536)
            seen += chunk
            self.output += chunk

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)
