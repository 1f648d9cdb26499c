"""Running programs on this machine, and waiting for conditions with a limit."""

import os
import signal
import subprocess
import time

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARIES = os.environ.get("DUPLEX_BIN_DIR", os.path.join(REPOSITORY, "build/release/bin"))
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
POLL_INTERVAL_S = 0.02


class LabError(Exception):
    """Something the lab itself needed did not work."""


class WaitExpired(LabError):
    """A condition did not come true within its limit."""


class CommandFailed(LabError):
    def __init__(self, where, command, outcome):
        super().__init__(f"{where}: `{command}` ended with {outcome.status}\n{outcome.output}")
        self.outcome = outcome


class Outcome:
    """How a command ended: exit status (negative: the signal), and everything it printed, as bytes and as text."""

    def __init__(self, status, raw):
        self.status = status
        self.raw = raw

    @property
    def output(self):
        return self.raw.decode("utf-8", "replace")

    def __repr__(self):
        return f"Outcome(status={self.status}, output={self.output!r})"


def await_until(condition, what, limit_s=10.0, interval_s=POLL_INTERVAL_S):
    """Polls until condition() is true and returns its value; WaitExpired names `what` after limit_s.

    `what` may be a function, called only on expiry, so that the message can show the state that was seen instead."""
    deadline = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            text = what() if callable(what) else what
            raise WaitExpired(f"not within {limit_s:g} s: {text}")
        time.sleep(interval_s)


def run_local(argv, check=True, limit_s=60.0, env=None, pass_fds=()):
    """Runs a program of this machine; output and errors come back together."""
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               start_new_session=True, env=env, pass_fds=pass_fds)
    try:
        raw, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        kill_group(process)
        raw, _ = process.communicate()
        raise WaitExpired(f"`{' '.join(argv)}` still ran after {limit_s:g} s\n{raw.decode('utf-8', 'replace')}") from None
    outcome = Outcome(process.returncode, raw)
    if check and outcome.status != 0:
        raise CommandFailed("here", " ".join(argv), outcome)
    return outcome


def kill_group(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def alive(pid):
    """Whether the process exists and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rsplit(b")", 1)[1].split()[0] not in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return False
