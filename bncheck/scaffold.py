"""Files to begin with: settings, a test, and two ways to run it in CI. Plain texts; nothing is written here."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from bncheck.errors import UsageError

_TEST = '''"""Batch Normalization, verified by bncheck; [tool.bncheck] has an item for each check beside this."""

import pytest

TARGETS = {targets}


@pytest.mark.parametrize("target", TARGETS)
def test_batch_norm_is_right_in_float32(bncheck, target):
    assert bncheck.verify(target, dtype="float32", expected=bncheck.expected)
'''

_WORKFLOW = """name: bncheck
on: [push, pull_request]
jobs:
  batch-norm:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: "3.12"
      - run: pip install {bncheck}
      # - run: pip install -e .
      - run: pytest --bncheck-report bncheck.json
      - if: always()
        uses: actions/upload-artifact@v4
        with:
          name: bncheck
          path: bncheck.json
"""

_SHELL = """#!/bin/sh
# Verify Batch Normalization: for any CI that runs a shell. Exits with 1 if something is wrong.
set -eu
python -m pip install {bncheck}
python -m bncheck verify --output bncheck.json --format json
"""


@dataclass(frozen=True, slots=True)
class Piece:
    """A file to write: `text` is all of it, or what is added to it; where it stays as it is, `kept` tells why."""

    path: Path
    text: str
    added: bool = False
    kept: str = ""

    def write(self) -> None:
        """Write it; raise UsageError if that cannot be done."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a" if self.added else "x", encoding="utf-8") as file:
                file.write(self.text)
            if self.path.suffix == ".sh":
                self.path.chmod(0o755)
        except OSError as error:
            raise UsageError(f"{self.path} cannot be written: {error.strerror}") from None


def pieces(folder: Path, targets: Sequence[str]) -> list[Piece]:
    """Return the files of a project whose Batch Normalizations are `targets`, those that stay as they are included.

    Raises
    ------
    UsageError
        If there is a pyproject.toml that is not TOML.

    """
    listed = json.dumps(list(targets), ensure_ascii=False)
    new = {
        folder / "tests" / "test_batch_norm.py": _TEST.format(targets=listed),
        folder / ".github" / "workflows" / "bncheck.yml": _WORKFLOW.replace("{bncheck}", requirement()),
        folder / "bncheck-ci.sh": _SHELL.replace("{bncheck}", requirement()),
    }
    files = [Piece(path, text, kept="it is there already" if path.exists() else "") for path, text in new.items()]
    return [_settings(folder / "pyproject.toml", f"[tool.bncheck]\ntargets = {listed}\n"), *files]


def requirement() -> str:
    """Return what pip installs this bncheck by elsewhere: its name, or the address that it came from (PEP 610)."""
    try:
        origin = json.loads(metadata.distribution("bncheck").read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, ValueError):  # never installed, or the record is damaged
        origin = {}
    address, system = str(origin.get("url", "")), origin.get("vcs_info", {})
    if address.startswith("file:"):
        return "bncheck  # it came from a folder here: 'bncheck @ git+https://...' where it is not released"
    if system:
        address = f"{system['vcs']}+{address}@{system['commit_id']}"
    part = f"#subdirectory={origin['subdirectory']}" if "subdirectory" in origin else ""
    return f"'bncheck @ {address}{part}'" if address else "bncheck"


def _settings(path: Path, section: str) -> Piece:
    if not path.exists():
        return Piece(path, section)
    try:
        text = path.read_text(encoding="utf-8")
        known = tomllib.loads(text).get("tool", {}).get("bncheck")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{path}: {error}") from error
    more = ("\n" if text.endswith("\n") else "\n\n") + section
    if known is not None:
        missing = "" if "targets" in known else f", without targets: add {section.splitlines()[1]}"
        return Piece(path, more, added=True, kept=f"it has [tool.bncheck] already{missing}")
    try:
        tomllib.loads(text + more)
    except tomllib.TOMLDecodeError:
        raise UsageError(f"{path} has a [tool] that nothing can be added to; write into it: {section}") from None
    return Piece(path, more, added=True)
