"""Tests import their shared targets and renderers by plain name."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


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
