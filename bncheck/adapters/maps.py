"""Maps, data of four axes, that code for (N, C) takes by lines of its own, and that were left out for not fitting.

Code for (N, C) often runs on four axes by accident, and then nothing is to be said. Where it runs through lines that
no (N, C) data reach, maps are meant: they are verified, or it is said that they are not.
"""

from __future__ import annotations

import linecache
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np

from bncheck import guard
from bncheck.adapters.layouts import layout, parameter_shapes
from bncheck.adapters.probe import OF_FORWARD, Fit, RaisedError, Trial, attempt
from bncheck.adapters.protocol import Reading
from bncheck.adapters.target import Way, as_array

# Sizes that no trial had: code that is compiled for each shape runs through its lines for these.
_ROWS, _MAPS = (5, 3), (5, 3, 4, 2)
_UNFIT = {
    "y": "y has another shape than x",
    "dgamma": "dgamma has another shape than gamma",
    "gamma": "gamma acts along none of its axes",
}
# Where gradients are not the code's own.
_MIXED = "the statistics are not those of whole channels"

Line = tuple[str, int]


def maps_left_out(reading: Reading, way: Way, shape: str | None) -> tuple[Fit | None, str]:
    """Return how maps fare in code that was found to be for (N, C), and what is to be said of that.

    Nothing is to be said, "", of code without lines for maps. Where its forward takes them as it takes (N, C), and its
    backward does not, the fit is returned: both are to be verified. Elsewhere the code may mean something else.

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
        _reached(rows, lambda: attempt(Trial(reading, way, _ROWS, 0), frozenset()))
    if not rows:  # nothing of it can be watched: a program, code in C
        return None, ""
    for one in (way.shape, *parameter_shapes(4, -1, shape)):
        outcome = _tried(reading, Way(layout("NCHW"), one, way.dtype))
        if outcome.fit is not None or one == way.shape:
            found, alike = outcome, one == way.shape
        if outcome.fit is not None:  # what came back tells more than what raised for want of another parameter shape
            break
    own = sorted(found.lines - rows)
    if not found.said or not own:
        return None, ""
    said = f"data of four axes take lines of their own (from {Path(own[0][0]).name}:{own[0][1]} on), and {found.said}"
    if alike and found.fit is not None and found.fit.holds >= {*OF_FORWARD} and not _is_derived(reading):
        return found.fit, said
    return None, f"{said}: only (N, C) is verified (--layout NCHW tells more)"


class _Outcome(NamedTuple):
    """How maps fare: what is wrong, "" if nothing is or the code refuses them, and the lines that they reach."""

    fit: Fit | None
    said: str
    lines: set[Line]


def _tried(reading: Reading, way: Way) -> _Outcome:
    lines: set[Line] = set()
    trial = Trial(reading, way, _MAPS, 0)
    try:
        fit = _reached(lines, lambda: attempt(trial, frozenset()))
        if fit is None:
            return _Outcome(None, "the forward returns None", lines)
        if _is_derived(reading) and fit.holds >= {*OF_FORWARD} and not _is_whole(trial):
            return _Outcome(fit, _MIXED, lines)
    except RaisedError as raised:
        return _Outcome(None, "" if _on_purpose(raised.error) else f"the forward raises {_told(raised.error)}", lines)
    if fit.raised or fit.stub:
        error = _of_backward(trial)
        return _Outcome(
            fit, "" if error is None or _on_purpose(error) else f"the backward raises {_told(error)}", lines
        )
    return _Outcome(fit, next((told for what, told in _UNFIT.items() if what not in fit.holds), ""), lines)


def _is_derived(reading: Reading) -> bool:
    """Tell whether gradients, if any, are a library's, and have their shapes whatever the code does with maps."""
    return getattr(reading, "differentiated", False) or getattr(reading, "forward_only", False)


def _is_whole(trial: Trial) -> bool:
    """Tell whether statistics are those of whole channels."""
    y = as_array(trial.run(trial.gamma, trial.beta)[1])
    return y is not None and trial.mixes_own_channel(y)


def _of_backward(trial: Trial) -> BaseException | None:
    """Return what the backward raises."""
    run, _ = trial.run(trial.gamma, trial.beta)
    try:
        with guard.user_code("backward"):
            run.backward(trial.dy.copy())
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return error
    return None


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
