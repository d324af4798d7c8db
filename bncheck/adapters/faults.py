"""Exceptions of user code, told in one line: what was raised, and on which of the user's lines."""

from __future__ import annotations

import os
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bncheck.model import Fault

_OWN = str(Path(__file__).resolve().parents[1]) + os.sep
# The samples that bncheck ships stand for user code.
_SAMPLES = str(Path(_OWN) / "samples") + os.sep
_NUMPY = str(Path(np.__file__).resolve().parent) + os.sep
_STDLIB = str(Path(sysconfig.get_paths()["stdlib"]).resolve()) + os.sep
_LONGEST = 200


def describe(error: BaseException, stage: str) -> Fault:
    """Return an exception that came out of user code as a Fault.

    Parameters
    ----------
    error : BaseException
        What was raised (SystemExit too).
    stage : str
        "forward" or "backward".

    """
    return Fault(stage, type(error).__name__, one_line(error), where(error))


def one_line(error: BaseException) -> str:
    """Return the first line of an exception's message, at most 200 characters long."""
    try:
        text = str(error)
    except Exception:
        return "(its message cannot be shown)"
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."


def where(error: BaseException) -> str:
    """Return "file.py:12" of the innermost frame that is in user code, "" if there is none."""
    found = list(user_lines(error))
    return f"{Path(found[-1][0]).name}:{found[-1][1]}" if found else ""


def user_lines(error: BaseException) -> Iterator[tuple[str, int]]:
    """Yield (file, line) of every frame of an exception that is in user code, outermost first."""
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if is_user_file(file):
            yield file, line


def is_user_file(file: str) -> bool:
    """Tell the user's files from those of bncheck, NumPy and Python itself."""
    if file.startswith("<frozen"):
        return False
    path = os.path.realpath(file) if os.path.isabs(file) else file
    if path.startswith(_OWN):
        return path.startswith(_SAMPLES)
    if path.startswith(_NUMPY):
        return False
    return not path.startswith(_STDLIB) or "site-packages" in path
