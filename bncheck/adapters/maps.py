"""Maps, data of four axes, that code for (N, C) takes by lines of its own, and that were left out because they do not fit.

Code for (N, C) often runs on four axes by accident, and then nothing is to be said. Where it runs through lines that
no (N, C) data reach, maps are meant: that these were not verified has to be said.
"""

from __future__ import annotations

import linecache
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from bncheck import guard
from bncheck.adapters.layouts import layout, parameter_shapes
from bncheck.adapters.probe import Fit, RaisedError, Trial, attempt
from bncheck.adapters.protocol import Reading
from bncheck.adapters.target import Way
from bncheck.adapters.trials import BESIDE

# Sizes that no trial had: code that is compiled for each shape runs through its lines for these.
_ROWS, _MAPS = (5, 3), (5, 3, 4, 2)
_UNFIT = {
    "y": "y has another shape than x",
    "dgamma": "dgamma has another shape than gamma",
    "gamma": "gamma acts along none of its axes",
}
# Where dgamma is not the code's own.
_MIXED = "the statistics are not those of whole channels"

Line = tuple[str, int]


def note_of_maps(reading: Reading, way: Way, shape: str | None) -> str:
    """Return what is to be said of maps in code that was found to be for (N, C); "" if it has no lines for them.

    Parameters
    ----------
    reading : Reading
        How the code is called.
    way : Way
        How it takes (N, C) data.
    shape : str or None
        The parameter shape that the user gave.

    """
    rows: set[Line] = set()
    with suppress(RaisedError):
        _reached(rows, lambda: attempt(Trial(reading, way, _ROWS, 0), BESIDE))
    if not rows:  # nothing of it can be watched: a program, code in C
        return ""
    tried = [_tried(reading, Way(layout("NCHW"), s, way.dtype)) for s in parameter_shapes(4, -1, shape)]
    # What came back tells more than what raised for want of another parameter shape.
    said, lines = next((found for found in tried if found[1] and not found[0].startswith("the forward")), tried[0])
    own = sorted(lines - rows)
    if not said or not own:
        return ""
    place = f"{Path(own[0][0]).name}:{own[0][1]}"
    return (
        f"data of four axes take lines of their own (from {place} on), and {said}: "
        "only (N, C) is verified (--layout NCHW tells more)"
    )


def _tried(reading: Reading, way: Way) -> tuple[str, set[Line]]:
    """Return what is wrong with maps, "" if they are refused on purpose or nothing is, and the lines that they reach."""
    lines: set[Line] = set()
    try:
        fit = _reached(lines, lambda: attempt(Trial(reading, way, _MAPS, 0), BESIDE))
    except RaisedError as raised:
        error = raised.error
        return "" if _on_purpose(error) else f"the forward raises {_told(error)}", lines
    if fit is None:
        return "the forward returns None", lines
    if fit.raised:
        return f"the backward raises {fit.raised}", lines
    unfit = next((what for what in _UNFIT if what not in fit.holds), "")
    derived = getattr(reading, "differentiated", False) or getattr(reading, "forward_only", False)
    return _MIXED if derived and unfit == "dgamma" else _UNFIT.get(unfit, ""), lines


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {guard.one_line(error)}"


def _on_purpose(error: BaseException) -> bool:
    """Tell whether it is the code itself that refuses: ``raise ValueError("expects (N, C)")``."""
    if isinstance(error, AssertionError | NotImplementedError):
        return True
    places = list(guard.user_lines(error))
    return bool(places) and linecache.getline(*places[-1]).lstrip().startswith("raise")


def _reached(lines: set[Line], call: Callable[[], Fit | None]) -> Fit | None:
    """Return what a call returns; note the lines of the user's files that it reaches, also where it raises."""

    def begin(frame: FrameType, event: str, _: Any) -> Any:
        file = frame.f_code.co_filename
        return step if "site-packages" not in file and guard.is_user_file(file) else None

    def step(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            lines.add((frame.f_code.co_filename, frame.f_lineno))
        return step

    earlier = sys.gettrace()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        sys.settrace(begin)
        try:
            return call()
        finally:
            sys.settrace(earlier)
