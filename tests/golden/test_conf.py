"""drbdadm against the recorded behaviour of the reference: conf/README.md says how that was made.

A run that differs on purpose is listed in conf/known-differences.json; it fails here as soon as it matches."""
import importlib.util
import json
import os
import pty
import subprocess

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
BIN = os.environ.get('DUPLEX_BIN', os.path.join(HERE, '../../build/release/bin'))
DRBDADM = os.path.abspath(os.path.join(BIN, 'drbdadm'))

spec = importlib.util.spec_from_file_location('golden_conf', os.path.join(HERE, 'conf/run.py'))
golden = importlib.util.module_from_spec(spec)
spec.loader.exec_module(golden)

with open(os.path.join(HERE, 'conf/known-differences.json')) as known_file:
    KNOWN = {(each['case'], each['run']): each['reason'] for each in json.load(known_file)}

RUNS = [pytest.param(case, number, id='%s-%d' % (case['name'], number))
        for case in golden.cases() for number in range(len(case['runs']))]


def test_there_are_cases():
    assert len(RUNS) >= 553


def test_known_differences_name_runs_that_exist():
    assert set(KNOWN) <= {(p.values[0]['name'], p.values[1]) for p in RUNS}


@pytest.mark.parametrize('case, number', RUNS)
def test_run(case, number, tmp_path):
    assert os.path.exists(DRBDADM), 'not built: ' + DRBDADM
    differing = golden.compare(case, case['runs'][number], DRBDADM, more_env={'DUPLEX_RUN_DIR': str(tmp_path / 'run')})
    text = ''.join(golden.difference_text(*each) for each in differing)
    reason = KNOWN.get((case['name'], number))
    if reason is None:
        assert not differing, '\n' + text
    else:
        assert differing, 'matches now, although listed as differing: ' + reason


def test_running_objects_are_registered(tmp_path):
    """Handlers and udev find the configuration through links in the run directory (cli 30.1)."""
    case = next(c for c in golden.cases() if c['name'] == 'exec-up')
    up = next(r for r in case['runs'] if r['argv'][-2:] == ['up', 'r0'] and r['exit'] == 0)
    run_dir = tmp_path / 'run'
    assert not golden.compare(case, up, DRBDADM, more_env={'DUPLEX_RUN_DIR': str(run_dir)})
    links = sorted(os.listdir(run_dir))
    assert links == ['drbd-minor-0.conf', 'drbd-minor-1.conf', 'drbd-resource-r0.conf']
    assert all(os.readlink(run_dir / link).endswith('/exec-up.conf') for link in links)
    assert os.stat(run_dir).st_mode & 0o777 == 0o700


def call_on_terminal(args, environment, typed=b'', typed_after=b''):
    """Runs drbdadm on a pseudo terminal, types when a text has appeared; its status and output."""
    master, slave = pty.openpty()
    process = subprocess.Popen(['drbdadm', *args], executable=DRBDADM, stdin=slave, stdout=slave,
                               stderr=subprocess.DEVNULL, env=environment)
    os.close(slave)
    output = b''
    while True:
        try:
            data = os.read(master, 4096)
        except OSError:  # the other side is closed
            break
        if not data:
            break
        output += data
        if typed and typed_after in output:
            os.write(master, typed)
            typed = b''
    os.close(master)
    return process.wait(timeout=60), output.decode()


@pytest.mark.parametrize('seconds, typed, banner', [(1, b'', False), (3600, b'yes\n', True), (3600, b'\x03' * 3, True)])
def test_waiting_can_be_ended(tmp_path, seconds, typed, banner):
    """wait-con-int ends when all connections are there, or when somebody says so (cli 16)."""
    setup = tmp_path / 'drbdsetup'
    setup.write_text('#!/bin/sh\nexec sleep %d\n' % seconds)
    setup.chmod(0o755)
    environment = {'PATH': '%s:/usr/bin:/bin' % tmp_path, '__DRBD_NODE__': 'alpha'}
    status, output = call_on_terminal(['-c', os.path.join(HERE, 'conf/minimal.conf'), 'wait-con-int'], environment,
                                      typed, b"enter 'yes'")
    assert status == 0
    assert ("startup script waits for the peer" in output) == banner


@pytest.mark.parametrize('there, kept', [('00000000000000AB', True), ('0000000000000000', False)])
def test_meta_data_keep_their_identity(tmp_path, there, kept):
    """create-md stores a random identity where there was none (meta data 15.5)."""
    log = tmp_path / 'calls'
    meta = tmp_path / 'drbdmeta'
    meta.write_text('#!/bin/sh\necho "$5 $6" >>%s\n[ $5 != read-dev-uuid ] || echo %s\n' % (log, there))
    meta.chmod(0o755)
    environment = {'PATH': '%s:/usr/bin:/bin' % tmp_path, '__DRBD_NODE__': 'alpha'}
    subprocess.run(['drbdadm', '-c', os.path.join(HERE, 'conf/minimal.conf'), 'create-md', 'r0'], executable=DRBDADM,
                   env=environment, check=True, stderr=subprocess.DEVNULL)
    calls = [line.split() for line in log.read_text().splitlines()]
    assert [call[0] for call in calls] == ['read-dev-uuid', 'create-md', 'write-dev-uuid']
    written = calls[2][1]
    assert len(written) == 16 and int(written, 16) != 0
    assert (written == there) == kept
