"""Tests import their shared targets and renderers by plain name."""

import ast
import contextlib
import functools
import inspect
import os
import re
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


_NEEDS_FRAMEWORK = re.compile(r"""importorskip\((?:"(?:torch|jax|flax|keras)"|library)""")


def pytest_itemcollected(item):
    """Give a test that is skipped without PyTorch, JAX, Flax or Keras the word by which `make` selects those."""
    asking = _asking(item.module) if isinstance(item, pytest.Function) else ()
    own = inspect.getsource(item.function) if asking else ""
    if any(name in ("", item.originalname, *item.fixturenames) or f"{name}(" in own for name in asking):
        item.extra_keyword_matches.add("framework")


@functools.cache
def _asking(module):
    """Return the functions of a module that skip without a framework, and "" where all of it is skipped."""
    text = inspect.getsource(module)
    asking = [node for node in ast.parse(text).body if _NEEDS_FRAMEWORK.search(ast.get_source_segment(text, node))]
    return {node.name if isinstance(node, ast.FunctionDef) else "" for node in asking}


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
