"""Tests import their shared targets and renderers by plain name."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bncheck.executors import child

sys.path.insert(0, str(Path(__file__).parent))

if "COVERAGE_PROCESS_CONFIG" in os.environ:
    # What a process has covered is written when it ends by itself: workers that are idle are given the time to.
    _kill_group = child._kill_group

    def _end_or_kill(process):
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):  # what does not end by itself is killed below
            process.stdin.close()
            process.wait(timeout=1.0)
        _kill_group(process)

    child._kill_group = _end_or_kill


@pytest.fixture(autouse=True)
def process_as_it_was():
    """Put back folder and environment: some tests call fixtures that change them, with nothing around the call."""
    folder, variables = os.getcwd(), dict(os.environ)
    yield
    os.chdir(folder)
    for name in {*os.environ, *variables} - {"PYTEST_CURRENT_TEST"}:
        if name not in variables:
            del os.environ[name]
        elif os.environ.get(name) != variables[name]:
            os.environ[name] = variables[name]
