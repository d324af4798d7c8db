"""Wheels and source distributions: built, or taken from where ``make release`` has built them."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
# The folder with what is to be released; set by ``make release``.
RELEASE = os.environ.get("BNCHECK_RELEASE")


def build(source, folder, *kinds):
    """Build from a source tree with the hatchling that is installed here, which needs no network."""
    command = [sys.executable, "-m", "build", "--no-isolation", *(f"--{kind}" for kind in kinds)]
    done = subprocess.run([*command, "--outdir", folder, source], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def released(folder):
    """Return the wheel and the source distribution of a folder, which holds nothing else."""
    (wheel,), (sdist,) = Path(folder).glob("*.whl"), Path(folder).glob("*.tar.gz")
    assert sorted(Path(folder).iterdir()) == sorted([wheel, sdist])
    return wheel, sdist
