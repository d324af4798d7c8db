"""Scripts and benchmarks of the repository as modules: they are no packages."""

import importlib.util
import os
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent


def load(name):
    """Return scripts/<name>.py."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@cache
def benchmark(name):
    """Return benchmarks/<name>.py.

    What it imports from beside it is not left among the modules, whose names are plain, nor what it sets for processes.
    """
    folder = str(ROOT / "benchmarks")
    before, environment = set(sys.modules), dict(os.environ)
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(folder)
        os.environ.clear()
        os.environ.update(environment)
        for new in set(sys.modules) - before:
            if (getattr(sys.modules[new], "__file__", None) or "").startswith(folder):
                del sys.modules[new]
