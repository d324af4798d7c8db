"""Eval mode of code whose running statistics are not known: whether there are any, told by what eval mode answers."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from bncheck import guard
from bncheck.adapters.given import BY_DESIGN, RETURNED
from bncheck.adapters.protocol import Parameters, Reading
from bncheck.adapters.rules import DEVIATIONS, Statistics
from bncheck.adapters.target import Way, as_array

_MOMENTUM = 0.7
# What float32 rounds by is less, and what a batch of another size changes in an average is more.
_SAME = 1e-5

# What is said of statistics that are known, and not judged, by the note on them.
_KNOWN = {
    DEVIATIONS[0]: "a standard deviation, and no variance: not judged",
    DEVIATIONS[1]: "the inverse of a standard deviation, and no variance: not judged",
    BY_DESIGN: "kept by the caller of the forward, not judged",
    RETURNED: "returned by the forward, not judged",
}
_HIDDEN = "kept where bncheck does not find them"
_NONE = "none that bncheck finds"
_UNVERIFIED = "eval mode was not verified"
_ADVICE = "an adapter tells where they are (bncheck init --adapter)"


class Unjudged(NamedTuple):
    """Why eval mode is not verified: in short, what is known of the statistics; and a note."""

    statistics: str = ""
    note: str = ""


def unjudged(reading: Reading, way: Way, eps: float | None, kept: Statistics) -> Unjudged:
    """Return why eval mode of code that is told the mode is not verified; empty where it is, or where none acts."""
    if kept.sense or not reading.mode_switch:
        return Unjudged()
    if kept.note in _KNOWN:
        return Unjudged(_KNOWN[kept.note])
    asked = _Asked(reading, way, 1e-5 if eps is None else eps)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            usual, in_training = asked.y(1.0), asked.y(1.0, train=True)
            if usual is None or in_training is None or _same(usual, in_training):
                return Unjudged()
            other = asked.y(3.0)
    except KeyboardInterrupt:  # the user's, and not the code's
        raise
    except BaseException as error:  # what the user's code raises in eval mode no check will meet
        return Unjudged(_NONE, f"{_UNVERIFIED}: {type(error).__name__}: {guard.one_line(error)}")
    if other is None or _same(usual, other):
        why = "y changes with the mode, and no running statistics were found"
        return Unjudged(_NONE, f"{_UNVERIFIED}: {why}; if there are some, {_ADVICE}")
    why = "its y depends on earlier batches, and where the running statistics are kept was not found"
    return Unjudged(_HIDDEN, f"{_UNVERIFIED}: {why}; {_ADVICE}")


class _Asked(NamedTuple):
    """Code to ask, in one way, with one eps."""

    reading: Reading
    way: Way
    eps: float

    def y(self, scale: float, *, train: bool = False) -> Any:
        """Return y of one and the same batch after steps on two others of that scale; None if it is no array."""
        sizes = self.way.layout.few
        random, ones = np.random.default_rng(14), np.ones(sizes[1])
        gamma, beta = self.way.parameter(ones), self.way.parameter(0 * ones)
        parameters = Parameters(gamma, beta, self.eps, _MOMENTUM, axis=self.way.layout.channel_axis)
        x = self.way.batch(random.normal(0.5, 1.5, sizes))
        with guard.user_code():
            run = self.reading.start(parameters)
            for _ in range(2):
                batch = self.way.batch(random.normal(0.7 * scale, scale, sizes))
                run.forward(batch, True)
                if not getattr(self.reading, "forward_only", False):
                    run.backward(batch.copy())
            y = as_array(run.forward(x.copy(), train))
        return None if y is None or y.shape != x.shape else np.array(y, float)


def _same(one: Any, other: Any) -> bool:
    return bool(np.allclose(one, other, rtol=_SAME, atol=_SAME, equal_nan=True))
