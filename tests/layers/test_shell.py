"""Shell files: shellcheck finds nothing (.shellcheckrc says what is left out, and why)."""

import os
import re
import shutil
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHELL = re.compile(rb"#! ?/bin/(ba)?sh\b|# shellcheck shell=")


def shell_files():
    files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in files.stdout.splitlines():
        path = os.path.join(ROOT, name)
        if os.path.isfile(path) and not os.path.islink(path):
            with open(path, "rb") as file:
                if SHELL.match(file.read(40)):
                    yield name


def test_shellcheck_finds_nothing():
    if not shutil.which("shellcheck"):
        pytest.fail("shellcheck is not installed: scripts/setup")
    names = list(shell_files())
    assert "test" in names and "packaging/drbd.init" in names
    found = subprocess.run(["shellcheck", "--severity=warning", *names], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
