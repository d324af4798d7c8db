"""Scripts of the repository as modules: they are no package."""

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def load(name):
    """Return scripts/<name>.py."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]
