"""Finding the convention of the running statistics: how they are updated, from which variance, and where they start.

Three forwards in training mode on small batches, read before and after each. An update is linear in what it mixes,
``rm_new = k rm + (1 - k) mu``: k follows from the running mean, channel by channel, and says whether momentum is the
fraction that stays or the one that comes in, once the same is done with another momentum. What the running variance
takes in follows from the same k: the biased variance, or ``m / (m - 1)`` times it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from bncheck.adapters.protocol import Parameters, Reading, Run
from bncheck.adapters.target import Way, as_array, running_of
from bncheck.adapters.words import Kind, kind
from bncheck.model import Declared

# Both far from 1/2, from each other and from each other's complement.
_MOMENTA = (0.7, 0.2)
# Statistics kept in float32 inside float64 code err by some 1e-7; conventions differ by a per cent at least.
_ACCURACY = 1e-5
# Four rows: the unbiased variance is 4/3 of the biased one for (N, C) data, 16/15 for four axes.
_SIZES = {2: (4, 3), 3: (4, 3, 2), 4: (4, 3, 2, 2), 5: (4, 3, 2, 2, 1)}


class Statistics(NamedTuple):
    """The convention, in the words of :class:`bncheck.model.Conventions`; `kept` as its momentum.

    `places` say where the statistics are among what the code keeps, if their names do not.
    """

    sense: str = ""
    kept: float | None = None
    var: str = ""
    start: str = ""
    note: str = ""
    places: tuple[str, str] | None = None


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
    sense = wanted[0] if found.sense == "fixed" and wanted[0] in ("kept", "new") else found.sense
    return all(want in ("", got) for want, got in zip(wanted, (sense, found.var, found.start), strict=True))


class _Step(NamedTuple):
    """What one forward in training mode met: the batch's mean and variance, its m, and the statistics after it."""

    mu: Any
    var: Any
    m: int
    running: tuple[Any, Any]


class _Walk(NamedTuple):
    """The statistics before the first forward, where there are any, and what three forwards met."""

    before: tuple[Any, Any] | None
    steps: list[_Step]
    numbers: frozenset[float]


class _Trying(NamedTuple):
    """Code to walk with, in one way, with one eps."""

    reading: Reading
    way: Way
    eps: float

    def walk(self, momentum: float, places: tuple[str, str] | None) -> _Walk | None:
        """Train on three batches; return what the statistics at `places` did, None if they cannot be read."""
        before, steps = None, []
        for run, batch in self._batches(momentum):
            found = _read(running_of(run, places), self.channels)
            if batch is None:
                before = found
            elif found is None:
                return None
            else:
                steps.append(_Step(*batch, found))
        numbers = [float(value) for value in run.keeping().values() if isinstance(value, int | float)]
        return _Walk(before, steps, frozenset(numbers))

    def places(self) -> tuple[str, str] | None:
        """Return where running mean and variance are kept, told by what they do in training; None if nowhere."""
        kept, batches = [], []
        for run, batch in self._batches(_MOMENTA[0]):
            if batch is not None:
                found = {place: _per_channel(value, self.channels) for place, value in run.keeping().items()}
                kept.append({place: array.copy() for place, array in found.items() if array is not None})
                batches.append(batch)
        shared = [place for place in kept[0] if all(place in later for later in kept)]
        for mean in shared:
            k = _fraction([one[mean] for one in kept], [batch[0] for batch in batches])
            # With k = 0 it is the batch's own mean, which a cache holds; with k = 1 nothing moves.
            if k is None or not 0.01 < k < 0.999:
                continue
            for place in shared:
                if _averages_spread(place, kept, batches, k):
                    return mean, place
            # Beside a mean in a list or a dict stands its variance, whatever the rule that it follows.
            inside = [place for place in shared if place != mean and _holder(place) == _holder(mean) != ""]
            if len(inside) == 1:
                return mean, inside[0]
        return None

    @property
    def channels(self) -> int:
        return _SIZES[len(self.way.layout.name)][1]

    def _batches(self, momentum: float) -> Iterator[tuple[Run, tuple[Any, Any, int] | None]]:
        """Yield a run before any forward (with None), and after each: with the batch's mean, variance and m."""
        sizes = _SIZES[len(self.way.layout.name)]
        random = np.random.default_rng(11)
        shape = self.way.shape or (-1,)
        ones, zeros = np.ones(sizes[1]).reshape(shape), np.zeros(sizes[1]).reshape(shape)
        run = self.reading.start(Parameters(ones, zeros, self.eps, momentum))
        yield run, None
        axes = (0, *range(2, len(sizes)))
        for scale in (1.0, 2.0, 3.0):
            x = random.normal(0.7 * scale, scale, sizes)
            run.forward(np.ascontiguousarray(self.way.layout.user(x)), True)
            yield run, (x.mean(axis=axes), x.var(axis=axes), x.size // sizes[1])


def find_statistics(reading: Reading, way: Way, eps: float | None) -> Statistics:
    """Return the convention of the running statistics of code that works with `way`; ``NONE`` if it keeps none."""
    trying = _Trying(reading, way, 1e-5 if eps is None else eps)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            places = None
            first = trying.walk(_MOMENTA[0], places)
            if first is None:
                places = trying.places()
                first = None if places is None else trying.walk(_MOMENTA[0], places)
            second = None if first is None else trying.walk(_MOMENTA[1], places)
        except KeyboardInterrupt:
            raise
        except BaseException:
            return NONE  # statistics that cannot be read on three batches in a row say nothing
    if first is None or second is None:
        return NONE
    return _convention(first, second)._replace(places=places)


# Whose layer a class is built on, by the root module of a base that is called a batch norm.
_OWNERS = {"torch": "pytorch", "keras": "keras", "tf_keras": "keras", "flax": "flax"}


def base_profile(cls: type) -> str:
    """Return whose Batch Normalization a class derives from, "" if nobody's or if it is that one itself."""
    owners = [
        _OWNERS.get(base.__module__.split(".")[0], "")
        for base in cls.__mro__
        if kind(base.__name__.lstrip("_")) is Kind.BN
    ]
    return next(filter(None, owners), "") if cls.__module__.split(".")[0] not in _OWNERS else ""


def misfit(found: Statistics, declared: Declared, base: str = "") -> str | None:
    """Return how statistics depart from the profile to be held, "" if they do not, None if there is none.

    That is the profile which the user declared, else that of the library whose layer the code is built on (`base`).
    """
    profile, said = declared.profile, ""
    if profile == "auto":
        profile, said = base, ", on whose BatchNorm it is built"
    if not profile or found == NONE:
        return None
    if fits_profile(found, profile):
        return ""
    wanted = _PROFILES[profile]
    names = ("momentum is the fraction", "running variance", "start of mean and variance")
    sense = wanted[0] if found.sense == "fixed" else found.sense  # a literal fraction has no sense of its own
    pairs = zip(names, wanted, (sense, found.var, found.start), strict=True)
    return f"not as in {profile}{said}: " + "; ".join(
        f"{name} {got or 'unknown'}, and {profile} has {want}" for name, want, got in pairs if want not in ("", got)
    )


def declared_statistics(found: Statistics, declared: Declared) -> Statistics:
    """Return the convention with what the user declared in the place of what was found."""
    if found == NONE:
        return found
    return found._replace(sense=declared.momentum_sense or found.sense, var=declared.running_var or found.var)


def _read(found: tuple[Any, Any] | None, channels: int) -> tuple[Any, Any] | None:
    """Return copies of running statistics as (C,)."""
    if found is None:
        return None
    mean, var = (_per_channel(value, channels) for value in found)
    return None if mean is None or var is None else (mean.copy(), var.copy())


def _per_channel(value: Any, channels: int) -> Any:
    """Return numbers as (C,), one number standing for every channel; None of what is nothing of the kind."""
    array = as_array(value)
    if array is None or array.size not in (1, channels):
        return None
    return np.broadcast_to(np.asarray(array, dtype=float).reshape(-1), (channels,))


def _fraction(values: list[Any], taken: list[Any]) -> float | None:
    """Return the one k with ``values[i] = k values[i - 1] + (1 - k) taken[i]`` at every step; None if there is none."""
    found = [_kept(values[i - 1], values[i], taken[i]) for i in range(1, len(values))]
    if any(k is None for k in found):
        return None
    first = found[0]
    cumulative = np.allclose(found, [1 / 2, 2 / 3], atol=_ACCURACY)  # type: ignore[arg-type]
    return first if cumulative or np.allclose(found, first, atol=_ACCURACY) else None  # type: ignore[arg-type]


def _holder(place: str) -> str:
    """Return what precedes the last key or index of a place: "running" of "running[0]", "" of a plain attribute."""
    return place.rpartition("[")[0] if place.endswith("]") else ""


def _averages_spread(place: str, kept: list[dict[str, Any]], batches: list[Any], k: float) -> bool:
    """Tell whether a place averages the batches' variance in some form (or, wrongly, their deviation) with k."""
    values = [one[place] for one in kept]
    for power in (1.0, 0.5):
        for unbiased in (False, True):
            taken = [(var * (m / (m - 1) if unbiased else 1.0)) ** power for _, var, m in batches]
            found = _fraction(values, taken)
            if found is not None and abs(found - k) < _ACCURACY:
                return True
    return False


def _convention(walk: _Walk, other: _Walk) -> Statistics:
    before, steps, numbers = walk
    kept, later = (_kept(steps[i - 1].running[0], steps[i].running[0], steps[i].mu) for i in (1, 2))
    if kept is None or later is None or min(kept, later) > 1 - _ACCURACY:
        moved = not np.allclose(steps[0].running[0], steps[1].running[0])
        return Statistics("unknown", note=f"the running statistics {_UNKNOWN if moved else _STILL}")
    others = _kept(other.steps[0].running[0], other.steps[1].running[0], other.steps[1].mu)
    sense, momentum = _sense(kept, later, others, numbers)
    if sense == "changing":
        return Statistics(sense, note="the fraction that stays in the running statistics changes from batch to batch")
    variance = _variance(steps, kept)
    if not variance and _variance(
        [step._replace(running=(step.running[0], step.running[1] ** 2)) for step in steps], kept
    ):
        return NONE  # the root of a running variance: as good, and no check of the variance itself is meant for it
    note = "" if variance else "the running variance follows neither the biased nor the unbiased variance of the batch"
    if not variance and abs(kept - 0.5) > _ACCURACY and _variance(steps, 1 - kept):
        note = "the running variance has momentum on the other side than the running mean"
    return Statistics(sense, momentum, variance, _start(steps[0], kept, sense, before), note)


_UNKNOWN = "fit no known update rule"
_STILL = "do not change in training"


def _kept(old: Any, new: Any, taken: Any) -> float | None:
    """Return the fraction k of the old in the new, ``new = k old + (1 - k) taken``; None if the channels disagree."""
    k = (new - taken) / (old - taken)
    one = float(np.median(k))
    return one if np.allclose(k, one, rtol=0.0, atol=_ACCURACY) and -_ACCURACY < one < 1 + _ACCURACY else None


def _sense(kept: float, later: float, other: float | None, numbers: frozenset[float]) -> tuple[str, float | None]:
    """Return the momentum's sense, and the fraction that stays where no momentum is listened to.

    A fraction that cannot be set has the sense of the number that the code keeps for it, ``self.rate = 0.1``.
    """

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
    if not near(kept, later):
        return "changing", None
    said = {number for number in numbers if near(number, kept) or near(1 - number, kept)}
    if len(said) == 1:  # a number that the code keeps for it tells the sense, ``self.rate = 0.1``
        (number,) = said
        return ("kept", number) if near(number, kept) else ("new", 1 - number)
    # One that is written into the formula has no sense of its own, and is a round number, or as good as was measured.
    round_ones = (round(kept, digits) for digits in range(1, 7))
    return "fixed", next((number for number in round_ones if abs(number - kept) < 1e-9), kept)


def _start(step: _Step, kept: float, sense: str, before: tuple[Any, Any] | None) -> str:
    """Return where the statistics start, in words: the first step must have come out of it."""
    averaged = sense in ("last", "cumulative")  # their first step leaves nothing of the start
    if not averaged and np.allclose(step.running[0], step.mu, rtol=_ACCURACY, atol=0.0):
        return "first batch"
    if before is None and averaged:
        return ""
    first = before if before is not None else _before(step, kept)
    uniform = all(np.allclose(value, value[0], atol=_ACCURACY) for value in first)
    return ", ".join(f"{round(float(value[0]), 4) + 0.0:g}" for value in first) if uniform else "differs by channel"


def _before(step: _Step, kept: float) -> tuple[Any, Any]:
    """Return the start of statistics that the first forward creates: the first step solved for it."""
    mean = (step.running[0] - (1 - kept) * step.mu) / kept
    factors = (1.0, step.m / (step.m - 1))
    options = [(step.running[1] - (1 - kept) * factor * step.var) / kept for factor in factors]
    whole = [option for option in options if np.allclose(option, np.round(option), atol=_ACCURACY)]
    return mean, (whole or options)[0]


def _variance(steps: list[_Step], kept: float) -> str:
    """Return which variance the running variance takes in, "" if none that is known."""
    old, new = steps[0].running[1], steps[1]
    taken = (new.running[1] - kept * old) / (1 - kept)
    # Statistics in float32 are off by 6e-8 each; where little comes in, much of that is in what was taken.
    allowed = 5e-7 * (np.abs(old) + np.abs(new.running[1])) / (1 - kept) + 10 * _ACCURACY * new.var
    if np.any(allowed > new.var / (4 * new.m)):
        return "undecided"
    for name, factor in (("biased", 1.0), ("unbiased", new.m / (new.m - 1))):
        if np.all(np.abs(taken - factor * new.var) <= allowed):
            return name
    return ""
