"""Finding the convention of the running statistics: how they are updated, from which variance, and where they start.

Two forwards in training mode on small batches, read before, between and after. An update is linear in what it mixes,
``rm_new = k rm + (1 - k) mu``: k follows from the running mean, channel by channel, and says whether momentum is the
fraction that stays or the one that comes in, once the same is done with another momentum. What the running variance
takes in follows from the same k: the biased variance, or ``m / (m - 1)`` times it.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from bncheck.adapters.protocol import Parameters, Reading
from bncheck.adapters.target import Way, as_array
from bncheck.model import Declared

# Both far from 1/2, from each other and from each other's complement.
_MOMENTA = (0.7, 0.2)
# Statistics kept in float32 inside float64 code err by some 1e-7; conventions differ by a per cent at least.
_ACCURACY = 1e-5
# Four rows: the unbiased variance is 4/3 of the biased one for (N, C) data, 16/15 for four axes.
_SIZES = {2: (4, 3), 3: (4, 3, 2), 4: (4, 3, 2, 2), 5: (4, 3, 2, 2, 1)}


class Statistics(NamedTuple):
    """The convention, in the words of :class:`bncheck.model.Conventions`; `kept` as its momentum."""

    sense: str = ""
    kept: float | None = None
    var: str = ""
    start: str = ""
    note: str = ""


NONE = Statistics()
# Sense, variance and start of the usual conventions, as their documentation gives them; "" fits any.
_PROFILES = {
    "pytorch": ("new", "unbiased", "0, 1"),
    "cs231n": ("kept", "biased", "0, 0"),
    "keras": ("kept", "biased", "0, 1"),
    "flax": ("kept", "biased", "0, 1"),
    "chainer": ("kept", "unbiased", ""),
    "paper": ("cumulative", "unbiased", ""),
}
KERAS_EPS = 1e-3


def profile_of(found: Statistics, eps: float | None) -> str:
    """Return whose convention the statistics follow, "" if nobody's. Keras and Flax differ by the value of eps only."""
    fitting = [name for name in _PROFILES if fits_profile(found, name)]
    if fitting == ["keras", "flax"]:
        return "keras" if eps == KERAS_EPS else "flax"
    return fitting[0] if fitting else ""


def fits_profile(found: Statistics, name: str) -> bool:
    """Tell whether the statistics follow a convention; where they start is a part of it."""
    wanted = _PROFILES[name]
    return all(want in ("", got) for want, got in zip(wanted, (found.sense, found.var, found.start), strict=True))


class _Step(NamedTuple):
    """What one forward in training mode met: the batch's mean and variance, its m, and the statistics after it."""

    mu: Any
    var: Any
    m: int
    running: tuple[Any, Any] | None


def find_statistics(reading: Reading, way: Way, eps: float | None) -> Statistics:
    """Return the convention of the running statistics of code that works with `way`; ``NONE`` if it keeps none."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            steps = [_steps(reading, way, momentum, 1e-5 if eps is None else eps) for momentum in _MOMENTA]
        except KeyboardInterrupt:
            raise
        except BaseException:
            return NONE  # statistics that cannot be read on two batches in a row say nothing
    if any(step.running is None for _, walk in steps for step in walk):
        return NONE
    return _convention(*steps[0], steps[1][1])


def misfit(found: Statistics, declared: Declared) -> str | None:
    """Return how statistics depart from the profile that the user declared, "" if they do not, None if none was."""
    if declared.profile == "auto" or found == NONE:
        return None
    if fits_profile(found, declared.profile):
        return ""
    wanted = _PROFILES[declared.profile]
    names = ("momentum is the fraction", "running variance", "start of mean and variance")
    pairs = zip(names, wanted, found[:1] + found[2:4], strict=True)
    return f"not as in {declared.profile}: " + "; ".join(
        f"{name} {got or 'unknown'}, and {declared.profile} has {want}"
        for name, want, got in pairs
        if want not in ("", got)
    )


def declared_statistics(found: Statistics, declared: Declared) -> Statistics:
    """Return the convention with what the user declared in the place of what was found."""
    if found == NONE:
        return found
    return found._replace(sense=declared.momentum_sense or found.sense, var=declared.running_var or found.var)


def _steps(reading: Reading, way: Way, momentum: float, eps: float) -> tuple[tuple[Any, Any] | None, list[_Step]]:
    """Return the statistics before the first forward, where there are any, and what three forwards met."""
    sizes = _SIZES[len(way.layout.name)]
    random = np.random.default_rng(11)
    shape = way.shape or (-1,)
    run = reading.start(Parameters(np.ones(sizes[1]).reshape(shape), np.zeros(sizes[1]).reshape(shape), eps, momentum))
    before = _read(run.running(), sizes[1])
    walk = []
    for scale in (1.0, 2.0, 3.0):
        x = random.normal(0.7 * scale, scale, sizes)
        given = np.ascontiguousarray(way.layout.user(x))
        run.forward(given, True)
        axes = (0, *range(2, len(sizes)))
        walk.append(_Step(x.mean(axis=axes), x.var(axis=axes), x.size // sizes[1], _read(run.running(), sizes[1])))
    return before, walk


def _read(found: tuple[Any, Any] | None, channels: int) -> tuple[Any, Any] | None:
    """Return copies of running statistics as (C,); a number stands for every channel."""
    if found is None:
        return None
    arrays = [as_array(value) for value in found]
    if any(array is None or array.size not in (1, channels) for array in arrays):
        return None
    mean, var = (np.broadcast_to(np.asarray(a, dtype=float).reshape(-1), (channels,)).copy() for a in arrays)
    return mean, var


def _convention(before: tuple[Any, Any] | None, walk: list[_Step], other: list[_Step]) -> Statistics:
    kept = [_kept(walk[i - 1], walk[i]) for i in (1, 2)]
    others = _kept(other[0], other[1])
    if kept[0] is None or kept[1] is None:
        moved = not np.allclose(walk[0].running[0], walk[1].running[0])  # type: ignore[index]
        how = "fit no known update rule" if moved else "do not change in training"
        return Statistics("unknown", note=f"the running statistics {how}")
    sense, momentum = _sense(kept[0], kept[1], others)
    variance = _variance(walk, kept[0])
    note = "" if variance else "the running variance follows neither the biased nor the unbiased variance of the batch"
    return Statistics(sense, momentum, variance, _start(walk[0], kept[0], sense, before), note)


def _kept(old: _Step, new: _Step) -> float | None:
    """Return the fraction k of the old mean in the new one; None if the channels do not agree on one."""
    assert old.running is not None
    assert new.running is not None
    k = (new.running[0] - new.mu) / (old.running[0] - new.mu)
    one = float(np.median(k))
    return one if np.allclose(k, one, rtol=0.0, atol=_ACCURACY) and -_ACCURACY < one < 1 + _ACCURACY else None


def _sense(kept: float, later: float, other: float | None) -> tuple[str, float | None]:
    """Return the momentum's sense, and the fraction that stays where no momentum is listened to."""

    def near(one: float, two: float) -> bool:
        return abs(one - two) < _ACCURACY

    if near(kept, 0.0) and near(later, 0.0):
        return "last", 0.0
    if near(kept, 1 / 2) and near(later, 2 / 3):
        return "cumulative", None
    if other is not None and near(kept, _MOMENTA[0]) and near(other, _MOMENTA[1]):
        return "kept", None
    if other is not None and near(kept, 1 - _MOMENTA[0]) and near(other, 1 - _MOMENTA[1]):
        return "new", None
    # A fraction that is hard-coded has no sense of its own: more than half of it stays in all that is usual.
    fraction = round(kept, 6)
    return ("kept" if fraction >= 1 / 2 else "new"), fraction


def _start(step: _Step, kept: float, sense: str, before: tuple[Any, Any] | None) -> str:
    """Return where the statistics start, in words: the first step must have come out of it."""
    assert step.running is not None
    averaged = sense in ("last", "cumulative")  # their first step leaves nothing of the start
    if not averaged and np.allclose(step.running[0], step.mu, rtol=_ACCURACY, atol=0.0):
        return "first batch"
    if before is None and averaged:
        return ""
    first = before if before is not None else _before(step, kept)
    uniform = all(np.allclose(value, value[0], atol=_ACCURACY) for value in first)
    return ", ".join(f"{round(float(value[0]), 4):g}" for value in first) if uniform else "differs by channel"


def _before(step: _Step, kept: float) -> tuple[Any, Any]:
    """Return the start of statistics that the first forward creates: the first step solved for it."""
    assert step.running is not None
    mean = (step.running[0] - (1 - kept) * step.mu) / kept
    factors = (1.0, step.m / (step.m - 1))
    options = [(step.running[1] - (1 - kept) * factor * step.var) / kept for factor in factors]
    whole = [option for option in options if np.allclose(option, np.round(option), atol=_ACCURACY)]
    return mean, (whole or options)[0]


def _variance(walk: list[_Step], kept: float) -> str:
    """Return which variance the running variance takes in, "" if none that is known."""
    old, new = walk[0].running, walk[1]
    assert old is not None
    assert new.running is not None
    if abs(1 - kept) < _ACCURACY:
        return ""
    taken = (new.running[1] - kept * old[1]) / (1 - kept)
    for name, factor in (("biased", 1.0), ("unbiased", new.m / (new.m - 1))):
        if np.allclose(taken, factor * new.var, rtol=_ACCURACY * 10, atol=0.0):
            return name
    return ""
