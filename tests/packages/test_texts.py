"""What the packages are made of, as Debian's checkers see it."""

import glob
import os
import subprocess

import pytest

from packages import root as roots


def check(argv):
    try:
        found = subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C.UTF-8"})
    except FileNotFoundError:
        pytest.fail(f"{argv[0]} is not installed: scripts/setup")
    return found.returncode, found.stdout + found.stderr


def test_lintian_finds_nothing(packages):
    files = [os.path.join(roots.PACKAGES, os.path.basename(path)) for path in packages["first"].all]
    status, output = check(["lintian", "--allow-root", "--fail-on", "error,warning", *files])
    # An override that hides nothing is left over from what has been mended.
    assert status == 0 and output == "", output


def test_man_pages_are_well_formed(packages):
    pages = sorted(glob.glob(os.path.join(roots.PACKAGES, "tree/man/*")))
    assert len(pages) >= 10
    status, output = check(["mandoc", "-Tlint", "-W", "warning", *pages])
    assert status == 0, output
    status, output = check(["groff", "-man", "-ww", "-z", *pages])
    assert (status, output) == (0, "")
