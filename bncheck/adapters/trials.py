"""Finding the layout by trying: which order of axes, and which parameter shape, a candidate works with.

A layout is recognised by how gamma and beta broadcast (change the gamma of one channel: which elements of y move?) and
by the shapes of the gradients. It is never recognised by the axis that gets normalised: else a layer norm would pass
for a features-first batch norm instead of being reported.
"""

from __future__ import annotations

import linecache
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from types import ModuleType

import numpy as np

from bncheck import guard
from bncheck.adapters.affine import OPTIONAL
from bncheck.adapters.construction import raised_making
from bncheck.adapters.fractions import settle_fraction
from bncheck.adapters.layouts import BY_AXES, Layout, layout, parameter_shapes
from bncheck.adapters.log import Log
from bncheck.adapters.meant import as_meant
from bncheck.adapters.mode_proof import tells_the_mode
from bncheck.adapters.plans import UnfilledError
from bncheck.adapters.probe import (
    FULL,
    LACKING,
    OF_BACKWARD,
    OF_FORWARD,
    PROBES,
    Fit,
    Found,
    RaisedError,
    Trial,
    attempt,
)
from bncheck.adapters.protocol import Candidate, Reading
from bncheck.adapters.settling import find_memory, settle
from bncheck.adapters.shared_state import shared_arrays
from bncheck.adapters.stated import as_stated
from bncheck.adapters.target import Way
from bncheck.adapters.ties import by_statistics, is_settled
from bncheck.adapters.words import Kind
from bncheck.errors import BackwardStubError, BrokenCodeError, StubError, TargetError
from bncheck.model import Declared
from bncheck.registry import did_you_mean

# More readings than any sensible signature has; beyond it, trying would take seconds.
_MAX_READINGS = 48
# What data of another number of axes must show to count beside (N, C).
_BESIDE = frozenset({"y", "gamma", "dgamma"})
_MIXED = "NCHW is assumed: data of four axes comes back in its shape, but gamma acts along none of its axes"


def examine(candidate: Candidate, declared: Declared, log: Log) -> Found:
    """Return how a candidate wants to be called, and with which layouts.

    Parameters
    ----------
    candidate : Candidate
        What an adapter found.
    declared : Declared
        What the user said: the one layout to try, the one parameter shape.
    log : Log
        Takes what is tried, and how it fares.

    Raises
    ------
    StubError
        If its forward or backward is not written yet.
    TargetError
        If its forward raised in every way it was tried.

    """
    best: Found | None = None
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for number, reading in enumerate(islice(candidate.readings(), _MAX_READINGS), 1):
            log.lines.append(f"{number}. {reading.spelled()}")
            found = _survey(reading, declared, log)
            better = bool(found.fits) and (best is None or score_of(found) > score_of(best))
            log.lines.append(f"  {'kept' if better else 'dropped'}: {_why(found, best)}")
            if better:
                best = _completed(found, candidate, declared, log)
                # What does without gamma is read as such at once where all else fits, not after all readings.
                best = best if score_of(best) == FULL else found
            if best is not None and score_of(best) == FULL:
                break
        if best is None:
            raise _failure(candidate, log, declared.layout)
        best = as_meant(best, lambda reading: _survey(reading, declared, log), log)
        best = _completed(best, candidate, declared, log)
        _settle_mode(best, declared.mode_switch or "", log)
    fit = next(iter(best.fits.values()))
    _understood(best, fit, candidate)
    return best


def _why(found: Found, best: Found | None) -> str:
    """Return why a reading is kept, or dropped for the best one so far."""
    if not found.fits:
        return "the forward ran in no layout"
    fit = max(found.fits.values(), key=lambda fit: fit.score)
    said = "everything fits" if fit.score == FULL else f"what fits: {', '.join(fit.held) or 'nothing'}"
    beaten = best is not None and score_of(found) <= score_of(best)
    return f"{said}, no more than before" if beaten else said


def _settle_mode(found: Found, said: str, log: Log) -> None:
    """Find out by trying which of the ways of telling the mode acts; `said` is what the user named."""
    way = next(iter(found.fits.values())).way
    sizes = PROBES[len(way.layout.name)][0]
    fraction = settle_fraction(found.reading, way, sizes, said)
    log.lines += [fraction] * bool(fraction)
    trial, other = (Trial(found.reading, way, sizes, seed) for seed in (0, 1))
    how = settle(found.reading, trial.fresh, (trial.x, other.x), lambda one: tells_the_mode(one, way, sizes), said)
    find_memory(found.reading, trial.fresh, (trial.x, other.x))
    log.lines += [how] * bool(how)


def _completed(found: Found, candidate: Candidate, declared: Declared, log: Log) -> Found:
    """Return a candidate without gamma and beta, or without beta, read as such; any other as it is."""
    missing = frozenset(next(iter(found.fits.values())).missing)
    acting = any(fit.acting for fit in found.fits.values())
    if missing not in OPTIONAL or missing & candidate.mentions or acting:
        return found
    log.lines.append(f"no {' and no '.join(sorted(missing, reverse=True))} in it: tried as code that does without")
    bare = _survey(found.reading.without(missing), declared, log)
    return bare if bare.fits else found


def _understood(found: Found, fit: Fit, candidate: Candidate) -> None:
    """Raise StubError for code that is not written yet, and TargetError where there is nothing to judge.

    That is so for code that is no Batch Normalization, and where no way was found to gamma and beta or their gradients.
    """
    if fit.stub:
        raise BackwardStubError(f"not implemented yet: {candidate.backward_name} {fit.stub}", fit.stub)
    if candidate.kind is not Kind.BN or candidate.composite:
        if "y" not in fit.holds:
            raise TargetError(f"{candidate.forward_name} does not return an array of the shape of x: is it batch norm?")
        if not fit.holds & {"gamma", *(("beta", "dgamma", "dbeta") if not found.reading.absent else ())}:
            raise TargetError(f"{candidate.forward_name} does not respond to gamma or beta: is it batch norm?")
    if fit.missing:
        seen = f" y depends on its {fit.acting}, which bncheck does not take for either." if fit.acting else ""
        raise TargetError(
            f"{candidate.forward_name} runs, but no way was found to set {' and '.join(fit.missing)}.{seen} bncheck "
            "gives them as arguments of the forward or the constructor, or puts them where a layer keeps them: "
            "attributes (gamma, beta), entries of a dict or list (params), or objects with .data."
        )
    if fit.raised and fit.lacking:
        raise TargetError(f"{candidate.backward_name} cannot be run: {fit.lacking}")
    if fit.raised and found.reading.guess:
        raise TargetError(
            f"{candidate.backward_name} raised in every way it was tried: {fit.raised}. Whether that is its fault is "
            f"not known, because bncheck guessed {found.reading.guess}: an adapter tells (bncheck init --adapter)."
        )
    if fit.ran_dry:
        raise TargetError(
            f"{candidate.backward_name} runs, but the gradients of gamma and beta were not found: it hands over "
            f"{fit.returns or 'nothing that reads as one'}. Return them (dx, dgamma, dbeta), or keep them in the "
            "layer: attributes (dgamma, dbeta), entries of a dict or list (grads), or objects with .grad."
        )


def score_of(found: Found) -> int:
    """Return how much speaks for the best of the layouts that were found."""
    return max(fit.score for fit in found.fits.values())


def _survey(reading: Reading, declared: Declared, log: Log) -> Found:
    """Try every layout with one reading, and keep those that it takes."""
    log.shape = declared.parameter_shape
    if declared.layout is not None:
        fit = _best([layout(declared.layout)], reading, log)
        return Found(reading, {len(declared.layout): fit} if fit else {})
    fits: dict[int, Fit] = {}
    for ndim in (2, 4):
        needed = _BESIDE if 2 in fits and "y" in fits[2].holds and fits[2].holds & {*OF_BACKWARD} else frozenset()
        fit = _best([layout(name) for name in BY_AXES[ndim]], reading, log, needed)
        if fit:
            fits[ndim] = fit
    fits = _taken(fits, reading)
    if not any(fit.score == FULL for fit in fits.values()):
        return Found(reading, _unusual(fits, reading, log))
    # Code for maps of any number of axes is offered the others too; of code for (N, C) alone only layers that a library
    # differentiates are: torch's BatchNorm1d takes (N, C, L), and no more axes.
    if 4 in fits or getattr(reading, "differentiated", False):
        first = 4 not in fits or fits[4].way.layout.channel_axis == 1
        for ndim in (3, 5):
            fit = _best([layout(BY_AXES[ndim][not first])], reading, log, _BESIDE)
            if fit and fit.score == FULL:
                fits[ndim] = fit
    return Found(reading, dict(sorted(as_stated(fits, getattr(reading, "layouts", ())).items())))


def _unusual(fits: dict[int, Fit], reading: Reading, log: Log) -> dict[int, Fit]:
    """Return the fit with three or five axes alone, if it is better than those with two and four."""
    score = max((fit.score for fit in fits.values()), default=-1)
    for ndim in (3, 5):
        fit = _best([layout(name) for name in BY_AXES[ndim]], reading, log)
        if fit and fit.score > score:
            fits, score = {ndim: fit}, fit.score
    return fits


def _taken(fits: dict[int, Fit], reading: Reading) -> dict[int, Fit]:
    """Return the numbers of axes that are really meant, of 2 and 4.

    A function for (N, C) often runs on four axes by accident, and one for four axes on two. Four count beside two only
    if gamma acts along the channels and dgamma has its shape; two count beside four only if their backward works too.
    """
    if len(fits) < 2:
        return fits
    if not reading.absent and _mixes_channels(fits[4]):
        return {2: fits[2], 4: replace(fits[4], note=_MIXED)} if fits[2].holds >= {"y", "dgamma"} else {4: fits[4]}
    if not fits[4].holds >= _BESIDE:
        return {2: fits[2]} if fits[2].score >= fits[4].score or "y" in fits[2].holds else {4: fits[4]}
    return fits if fits[2].holds >= {"y", "dgamma"} else {4: fits[4]}


def _mixes_channels(fit: Fit) -> bool:
    """Tell code that takes maps apart, but into the wrong channels, from code for (N, C) that survives four axes.

    The latter sums over one axis only, so that its dgamma has not the shape of gamma.
    """
    meant = fit.holds >= {"y", "dx", "dgamma", "dbeta"} and fit.way.layout.channel_axis == 1
    return meant and "gamma" not in fit.holds


def _best(layouts: list[Layout], reading: Reading, log: Log, needed: frozenset[str] = frozenset()) -> Fit | None:
    """Return the best fit among layouts of the same number of axes, with a note if another layout fits as well."""
    found: list[Fit] = []
    for place in layouts:
        found += _fits(place, reading, log, needed)
        if is_settled(found, reading):
            break
    if not found:
        return None
    best = by_statistics(max(found, key=lambda fit: fit.score), found, reading)
    name = best.way.layout.name
    tied = {fit.way.layout.name for fit in found if fit.score == best.score and "y" in fit.holds} - {name}
    if not tied:
        return best
    others = " and ".join(sorted(tied))
    note = f"by the shapes {others} would fit as well as {name}; {name} is assumed (--layout overrides it)"
    return replace(best, note=note)


def _fits(place: Layout, reading: Reading, log: Log, needed: frozenset[str]) -> Iterator[Fit]:
    """Yield how each parameter shape fares in one layout; those with which the forward raises are left out."""
    ndim = len(place.name)
    for shape in parameter_shapes(ndim, -1, log.shape):
        way = Way(place, None if shape == (-1,) else shape, log.dtypes[-1])
        fit: Fit | None = None
        try:
            for seed, sizes in enumerate(PROBES[ndim]):
                one = attempt(Trial(reading, way, sizes, seed), needed)
                fit = one if fit is None or one is None else _both(fit, one)
                if fit is None or not fit.holds >= needed:
                    break
        except RaisedError as raised:
            log.add(raised.error, unmade=getattr(reading, "unmade", False))
            log.tried(place, shape, _raised(raised.error))
            continue
        if fit is None:
            log.stubs.append("returns None")
            log.tried(place, shape, "the forward returned None")
            continue
        log.of_backward += [fit.raised] * bool(fit.raised)
        log.tried(place, shape, "all fit" if fit.score == FULL else f"fitting: {', '.join(fit.held) or 'nothing'}")
        yield fit
        if fit.score == FULL:
            break


def _raised(error: BaseException) -> str:
    """Return what a trial ended with."""
    who = "constructor" if raised_making(error) else "forward"
    how = "not called" if isinstance(error, UnfilledError) else f"raised {type(error).__name__}"
    return f"{who} {how}: {guard.one_line(error)}"


def _both(one: Fit, other: Fit) -> Fit:
    """Return what holds on two probes; a backward that raised on one of them is judged by the other."""
    ran = [fit for fit in (one, other) if fit.returns] or [one]
    backward = frozenset.intersection(*(fit.holds for fit in ran)) & {*OF_BACKWARD}
    holds = one.holds & other.holds & {*OF_FORWARD} | backward
    dry, raised, lacking = one.ran_dry and other.ran_dry, one.raised and other.raised, one.lacking and other.lacking
    stub, returns = one.stub and other.stub, ran[0].returns
    return replace(one, holds=holds, returns=returns, stub=stub, ran_dry=dry, raised=raised, lacking=lacking)


def _failure(candidate: Candidate, log: Log, only: str | None) -> TargetError:
    """Return what to say when no reading of a candidate worked."""
    if log.stubs:
        return StubError(f"not implemented yet: {candidate.forward_name} {log.stubs[0]}")
    if not log.errors and not log.of_unmade:
        return TargetError(f"{candidate.forward_name} could not be called.")
    error = log.telling()
    place = f" ({where})" if (where := guard.where(error)) else ""
    name = candidate.forward_name
    if raised_making(error) and "." in name:
        name = f"{name.rpartition('.')[0]}.__init__"
    if isinstance(error, LACKING):  # these tell their story themselves
        return TargetError(f"{name} cannot be run: {guard.one_line(error)}{place}")
    said = f"{name} raised in every way it was tried: {type(error).__name__}: {guard.one_line(error)}{place}."
    if isinstance(error, _NO_CALL_HELPS) or _of_a_module(error) or _of_a_keyword(error):
        return BrokenCodeError(said)
    if only is None and log.all_alike():
        log.merge_layouts()
        return TargetError(said)
    layouts = f"layout {only}" if only else "layouts NC, CN, NCHW, NHWC"
    shapes = f"shape {log.shape}" if log.shape else "shape (C,), (1, C), (C, 1) and with more ones"
    advice = " Is the layout another one? Then give it (--layout)." if only is None else ""
    if only is not None and only not in BY_AXES[len(only)]:  # any order of axes may be meant, and is a slip more often
        advice = f" {did_you_mean(only, BY_AXES[len(only)])}"
    shared = shared_arrays(error)
    advice = f" {shared}" if shared else advice
    arrays = " and ".join(log.dtypes)
    return TargetError(f"{said} Tried: {arrays} arrays in the {layouts}, gamma and beta of {shapes}.{advice}")


# What is raised for want of a name, a module or memory, or on purpose, is not for want of another layout or an adapter.
_NO_CALL_HELPS = (NameError, SystemExit, MemoryError)


def _of_a_module(error: BaseException) -> bool:
    """Tell whether it is that a module has no such function: ``np.prodigal``."""
    return isinstance(error, AttributeError) and isinstance(error.obj, ModuleType)


def _of_a_keyword(error: BaseException) -> bool:
    """Tell whether the code itself writes a keyword that what it calls does not have: ``np.mean(x, axes=0)``."""
    said = re.search(r"unexpected keyword argument '(\w+)'", str(error)) if isinstance(error, TypeError) else None
    line = "".join(linecache.getline(file, number) for file, number in [*guard.user_lines(error)][-1:])
    return said is not None and re.search(rf"\b{said[1]}\s*=", line) is not None
