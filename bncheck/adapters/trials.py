"""Finding the layout by trying: which order of axes and which parameter shape does a candidate work with?

A layout is recognised by how gamma and beta broadcast (change the gamma of one channel: which elements of y move?) and
by the shapes of the gradients. It is never recognised by the axis that gets normalised: else a layer norm would pass
for a features-first batch norm instead of being reported.

Probes are small and asymmetric: all sizes differ, none is 1, and there are once more and once fewer channels than rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from bncheck.adapters import faults
from bncheck.adapters.layouts import BY_AXES, Layout, layout, parameter_shapes, spell_shape
from bncheck.adapters.protocol import Candidate, Parameters, Reading, Run
from bncheck.adapters.target import Way, as_array, per_channel
from bncheck.adapters.words import Kind
from bncheck.errors import StubError, TargetError

_PROBES = {
    2: ((5, 3), (4, 7)),
    3: ((5, 3, 4), (2, 5, 3)),
    4: ((5, 3, 4, 2), (2, 5, 3, 4)),
    5: ((5, 3, 4, 2, 6), (2, 5, 3, 4, 6)),
}
# More readings than any sensible signature has; beyond it, trying would take seconds.
_MAX_READINGS = 48
# An element counts as moved above this share of the largest movement: code that adds noise must not hide the channel.
_MOVED = 0.05
EPS, MOMENTUM = 1e-5, 0.9


@dataclass(frozen=True)
class Fit:
    """How one reading fares with one layout and one parameter shape.

    Attributes
    ----------
    way : Way
        The layout, and the parameter shape with -1 for C.
    y_fits, along : bool
        Whether y has x's shape; whether gamma moves the elements of its own channel and no others.
    dgamma_fits : bool
        Whether dgamma has the parameters' shape.
    score : int
        How much speaks for it; a right implementation gets ``FULL``.
    parameter_shape, returns : str
        What the report says about them.
    stub : str
        "returns None" or the like for a backward that is not written yet, "" otherwise.

    """

    way: Way
    y_fits: bool
    along: bool
    dgamma_fits: bool
    score: int
    parameter_shape: str = ""
    returns: str = ""
    stub: str = ""


# What speaks for a fit, by weight: each outweighs all that follow it.
_WEIGHTS = {"y": 32, "gamma along": 16, "dgamma": 8, "beta along": 4, "dbeta": 2, "dx": 1}
FULL = sum(_WEIGHTS.values())


@dataclass
class Log:
    """What went wrong in trials, for the message that says so when nothing works."""

    errors: list[BaseException] = field(default_factory=list)
    stubs: list[str] = field(default_factory=list)

    def add(self, error: BaseException) -> None:
        """Keep an exception; NotImplementedError says "stub"."""
        if isinstance(error, NotImplementedError):
            self.stubs.append("raises NotImplementedError")
        self.errors.append(error)

    def telling(self) -> BaseException:
        """Return the exception that tells most: one that is not about shapes, or else the one that got furthest."""
        shapes = (ValueError, TypeError, IndexError, AssertionError)
        others = [e for e in self.errors if not isinstance(e, shapes)]
        return max(others or self.errors, key=lambda e: max((line for _, line in faults.user_lines(e)), default=0))


@dataclass(frozen=True)
class Found:
    """The best reading of a candidate, and how it fits, by number of axes."""

    reading: Reading
    fits: dict[int, Fit]
    notes: tuple[str, ...]


def examine(candidate: Candidate, only: str | None) -> Found:
    """Return how a candidate wants to be called, and with which layouts.

    Parameters
    ----------
    candidate : Candidate
        What an adapter found.
    only : str or None
        The one layout to try, where the user gave it.

    Raises
    ------
    StubError
        If its forward or backward is not written yet.
    TargetError
        If its forward raised in every way it was tried.

    """
    log = Log()
    best: Found | None = None
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for reading in islice(candidate.readings(), _MAX_READINGS):
            found = _survey(reading, only, log)
            if found.fits and (best is None or _score(found) > _score(best)):
                best = found
            if best is not None and _score(best) == FULL:
                break
    if best is None:
        raise _failure(candidate, log, only)
    fit = next(iter(best.fits.values()))
    if fit.stub:
        raise StubError(f"not implemented yet: {candidate.backward_name} {fit.stub}")
    if not fit.y_fits and candidate.kind is not Kind.BN:
        raise TargetError(f"{candidate.forward_name} does not return an array of the shape of x: is it batch norm?")
    return best


def _score(found: Found) -> int:
    return max(fit.score for fit in found.fits.values())


def _survey(reading: Reading, only: str | None, log: Log) -> Found:
    """Try every layout with one reading, and keep those that it takes."""
    if only is not None:
        fit, _ = _best([layout(only)], reading, log)
        return Found(reading, {len(only): fit} if fit else {}, ())
    fits: dict[int, Fit] = {}
    notes: list[str] = []
    for ndim in (2, 4):
        fit, note = _best([layout(name) for name in BY_AXES[ndim]], reading, log)
        if fit:
            fits[ndim] = fit
            notes += [note] if note else []
    fits = _taken(fits)
    # Code for maps of any number of axes is offered the others too; code for (N, C) alone is not.
    family = [fits[4].way.layout.channel_axis == 1] if 4 in fits else [] if fits else [True, False]
    for ndim in (3, 5) if family else ():
        names = [name for name, first in zip(BY_AXES[ndim], (True, False), strict=True) if first in family]
        fit, _ = _best([layout(name) for name in names], reading, log)
        if fit and (4 not in fits or fit.score == FULL):
            fits[ndim] = fit
    return Found(reading, dict(sorted(fits.items())), tuple(notes))


def _taken(fits: dict[int, Fit]) -> dict[int, Fit]:
    """Return the numbers of axes that are really meant, of 2 and 4.

    A function for (N, C) often runs on four axes by accident, and one for four axes on two. Four count beside two only
    if gamma acts along the channels and dgamma has its shape; two count beside four only if they fit as well as these.
    """
    if len(fits) < 2 or not fits[2].y_fits:
        return fits if len(fits) < 2 or not fits[4].y_fits else {4: fits[4]}
    four = fits[4]
    if not (four.y_fits and four.along and four.dgamma_fits):
        return {2: fits[2]}
    return fits if fits[2].score >= four.score or fits[2].dgamma_fits else {4: four}


def _best(layouts: list[Layout], reading: Reading, log: Log) -> tuple[Fit | None, str]:
    """Return the best fit among layouts of the same number of axes, and a note if it is tied with another layout."""
    found = [fit for place in layouts for fit in _fits(place, reading, log)]
    if not found:
        return None, ""
    best = max(found, key=lambda fit: fit.score)  # the first of several
    tied = {fit.way.layout.name for fit in found if fit.score == best.score and fit.y_fits} - {best.way.layout.name}
    if not tied:
        return best, ""
    name = best.way.layout.name
    return best, f"{' and '.join(sorted(tied))} would fit as well as {name}; {name} is assumed (--layout overrides it)"


def _fits(place: Layout, reading: Reading, log: Log) -> Iterator[Fit]:
    """Yield how each parameter shape fares in one layout; those with which the forward raises are left out."""
    ndim = len(place.name)
    for shape in parameter_shapes(ndim, -1):
        way = Way(place, None if shape == (-1,) else shape)
        try:
            fits = [_try(Trial(reading, way, sizes, seed), log) for seed, sizes in enumerate(_PROBES[ndim])]
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            log.add(error)
            continue
        if None not in fits:
            yield min((fit for fit in fits if fit is not None), key=lambda fit: fit.score)


class Trial:
    """One probe: generic numbers, and fresh runs on them."""

    def __init__(self, reading: Reading, way: Way, sizes: tuple[int, ...], seed: int) -> None:
        random = np.random.default_rng(seed)
        self.reading, self.way = reading, way
        self.channels = sizes[1]
        self.x = np.ascontiguousarray(way.layout.user(random.normal(0.3, 1.0, sizes)))
        self.dy = np.ascontiguousarray(way.layout.user(random.normal(0.2, 1.0, sizes)))
        self.gamma = random.uniform(0.5, 2.0, self.channels)
        self.beta = random.uniform(0.5, 2.0, self.channels)

    def run(self, gamma: Any, beta: Any) -> tuple[Run, Any]:
        """Return a fresh run after its forward, and its y."""
        shape = self.way.shape or (-1,)
        run = self.reading.start(Parameters(gamma.reshape(shape).copy(), beta.reshape(shape).copy(), EPS, MOMENTUM))
        return run, run.forward(self.x.copy(), True)

    def moves_own_channel(self, y: Any, gamma_too: bool) -> bool:
        """Tell whether changing one entry of gamma (or else of beta) moves its own channel of y and nothing else."""
        seen = False
        axis = self.way.layout.channel_axis
        for channel in range(self.channels):
            change = np.zeros(self.channels)
            change[channel] = 1.0
            gamma, beta = (self.gamma + change, self.beta) if gamma_too else (self.gamma, self.beta + change)
            moved = np.abs(_array(self.run(gamma, beta)[1]) - y)
            moved = moved > max(_MOVED * float(np.max(moved, initial=0.0)), 1e-9)
            if np.delete(moved, channel, axis).any():
                return False
            seen = seen or bool(moved.any())
        return seen


def _array(y: Any) -> Any:
    return np.asarray(y, dtype=float)


def _try(trial: Trial, log: Log) -> Fit | None:
    """Return how one probe fares; None if the forward returned nothing. What the forward raises passes through."""
    run, y = trial.run(trial.gamma, trial.beta)
    if y is None:
        log.stubs.append("returns None")
        return None
    array = as_array(y)
    holds = {"y": array is not None and array.shape == trial.x.shape}
    if holds["y"]:
        kept = _array(y).copy()
        holds["gamma along"] = trial.moves_own_channel(kept, gamma_too=True)
        holds["beta along"] = trial.moves_own_channel(kept, gamma_too=False)
    stub = _try_backward(trial, run, holds)
    score = sum(weight for what, weight in _WEIGHTS.items() if holds.get(what))
    spelled = spell_shape(np.shape(run.gamma), trial.channels)
    along, dgamma = holds.get("gamma along", False), holds.get("dgamma", False)
    return Fit(trial.way, holds["y"], along, dgamma, score, spelled, run.returns, stub)


def _try_backward(trial: Trial, run: Run, holds: dict[str, bool]) -> str:
    """Note which gradients have the right shape; return what makes a stub of the backward, "" if nothing does."""
    try:
        results = run.backward(trial.dy.copy())
    except KeyboardInterrupt:
        raise
    except NotImplementedError:
        return "raises NotImplementedError"
    except BaseException:
        return ""  # the forward works, so that this backward is the user's error: the experiments will meet it
    if results == (None, None, None):
        return "returns None"
    dx = as_array(results.dx)
    holds["dx"] = dx is not None and dx.shape == trial.x.shape
    for name, value in (("dgamma", results.dgamma), ("dbeta", results.dbeta)):
        holds[name] = np.shape(per_channel(value, trial.channels)) == (trial.channels,) if value is not None else False
    return ""


def _failure(candidate: Candidate, log: Log, only: str | None) -> TargetError:
    """Return what to say when no reading of a candidate worked."""
    if log.stubs and len(log.stubs) >= len(log.errors):
        return StubError(f"not implemented yet: {candidate.forward_name} {log.stubs[0]}")
    if not log.errors:
        return TargetError(f"{candidate.forward_name} could not be called.")
    error = log.telling()
    place = f" ({where})" if (where := faults.where(error)) else ""
    tried = only or "NC, CN, NCHW, NHWC"
    return TargetError(
        f"{candidate.forward_name} raised in every way it was tried: {type(error).__name__}: "
        f"{faults.one_line(error)}{place}. Tried: float64 arrays in the layouts {tried}, gamma and beta of shape (C,), "
        "(1, C), (C, 1) and with more ones. Is the layout another one? Then give it (--layout)."
    )
