"""Maps, data of four axes, that code for (N, C) takes by lines of its own, and that were left out for not fitting.

Code for (N, C) often runs on four axes by accident, and then nothing is to be said. Where it runs through lines that
no (N, C) data reach, maps are meant: they are verified, or it is said that they are not.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from opcode import opmap
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, TypeVar

import numpy as np

from bncheck import guard
from bncheck.adapters.layouts import layout, parameter_shapes
from bncheck.adapters.probe import EPS, MOMENTUM, OF_FORWARD, Fit, RaisedError, Trial, attempt
from bncheck.adapters.protocol import Parameters, Reading
from bncheck.adapters.target import Way, as_array

# Sizes that no trial had: code that is compiled for each shape runs through its lines for these. Rows with as many
# elements as the maps are among them, of no larger a batch: what code does for its size is no matter of axes.
_ROWS, _MAPS = ((3, 5), (4, 30)), (3, 4, 2, 5)
_UNFIT = {
    "y": "y has another shape than x",
    "dgamma": "dgamma has another shape than gamma",
    "gamma": "gamma acts along none of its axes",
}
# Where gradients are not the code's own.
_MIXED = "the statistics are not those of whole channels"

Line = tuple[str, int]
T = TypeVar("T")


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
    found = _tried(reading, replace(way, layout=layout("NCHW")))
    alike = found.fit is not None
    others = [other for other in parameter_shapes(4, -1, shape) if other != (way.shape or (-1,))]
    for other in () if alike else others:
        outcome = _tried(reading, Way(layout("NCHW"), other, way.dtype))
        if outcome.fit is not None:  # what came back tells more than what raised for want of another parameter shape
            found = outcome
            break
    own = sorted(found.lines - _of_rows(reading, way)) if found.said else []
    if not own or _is_per_activation(reading, way):
        return None, ""
    said = f"data of four axes take lines of their own (from {Path(own[0][0]).name}:{own[0][1]} on), and {found.said}"
    if alike and found.fit is not None and found.fit.holds >= {*OF_FORWARD} and not _is_derived(reading):
        return found.fit, f"{said}; they are verified beside (N, C)"
    return None, f"{said}: only (N, C) is verified (--layout NCHW tells more)"


def _of_rows(reading: Reading, way: Way) -> set[Line]:
    """Return the lines that (N, C) data reach."""
    lines: set[Line] = set()
    for sizes in _ROWS:
        with suppress(RaisedError):  # what it reached until then counts
            _reached(lines, partial(_of_backward, Trial(reading, way, sizes, 0)))
    return lines


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
        whole = fit is None or not _is_derived(reading) or _is_whole(trial)
        error = None if fit is None or not fit.raised else _of_backward(trial)
    except RaisedError as raised:
        return _Outcome(None, "" if _on_purpose(raised.error) else f"the forward raises {_told(raised.error)}", lines)
    if fit is None:
        return _Outcome(None, "the forward returns None", lines)
    unfit = [told for what, told in _UNFIT.items() if what not in fit.holds]
    said = _MIXED if not whole and "y" in fit.holds else unfit[0] if unfit else ""
    if "y" in fit.holds and error is not None:
        said = "" if _on_purpose(error) else f"the backward raises {_told(error)}"
    elif "y" in fit.holds and fit.stub:
        said = "the backward returns None" if fit.stub == "returns None" else ""
    return _Outcome(fit, said, lines)


def _is_derived(reading: Reading) -> bool:
    """Tell whether gradients, if any, are a library's, and have their shapes whatever the code does with maps."""
    return getattr(reading, "differentiated", False) or getattr(reading, "forward_only", False)


def _is_whole(trial: Trial) -> bool:
    """Tell whether statistics are those of whole channels."""
    y = as_array(trial.run(trial.gamma, trial.beta)[1])
    return y is not None and trial.mixes_own_channel(y)


def _of_backward(trial: Trial) -> BaseException | None:
    """Return what the backward raises; raise RaisedError if the forward does."""
    run, _ = trial.run(trial.gamma, trial.beta)
    try:
        with guard.user_code("backward"):
            run.backward(trial.dy.copy())
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever it is, it is judged, and told
        return error
    return None


def _is_per_activation(reading: Reading, way: Way) -> bool:
    """Tell whether it takes maps with a gamma for each of their C H W activations: as rows, the paper's first case."""
    batch = np.random.default_rng(0).normal(size=_MAPS)
    ones, zeros = (way.parameter(make(batch[0].size)) for make in (np.ones, np.zeros))
    try:
        with guard.user_code():
            y = as_array(reading.start(Parameters(ones, zeros, EPS, MOMENTUM)).forward(batch, True))
    except KeyboardInterrupt:
        raise
    except BaseException:  # it wants a gamma for each channel, as it has been given
        return False
    return y is not None and y.size == batch.size


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {guard.one_line(error)}"


def _on_purpose(error: BaseException) -> bool:
    """Tell whether it is the code itself that refuses: ``raise ValueError("expects (N, C)")``.

    The last instruction of the user's own tells: RAISE_VARARGS, with something to raise. Without, it raises again what
    was caught.
    """
    if isinstance(error, AssertionError | NotImplementedError | SystemExit):
        return True
    last, step = None, error.__traceback__
    while step is not None:
        last, step = step if _is_user_code(step.tb_frame) else last, step.tb_next
    if last is None:
        return False
    instruction, argument = last.tb_frame.f_code.co_code[last.tb_lasti : last.tb_lasti + 2]
    return instruction == opmap["RAISE_VARARGS"] and argument > 0


def _is_user_code(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    return file != "<string>" and guard.is_written_file(file)


def _reached(lines: set[Line], call: Callable[[], T]) -> T:
    """Return what a call returns; note the lines of the user's files that it reaches, also where it raises."""

    def begin(frame: FrameType, event: str, _: Any) -> Any:
        return step if _is_user_code(frame) else None

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
