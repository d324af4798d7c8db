"""Shrinks a failing case to the simplest one that still fails, and finds the values at which failing begins.

One parameter after the other is moved to its simplest value, or as near to it as the case still fails, until nothing
moves any more. Nothing is assumed about what fails: every claim of a :class:`Boundary` was tried.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from bncheck.case import CaseSpec
from bncheck.cases.boundaries import Boundary, Value
from bncheck.cases.fit import fit, least_eps

# Two neighbouring values of a real parameter are near enough: closer ones say no more in one significant digit.
NEAR = 1.5
# N = 2 is simpler than N = 1, where var = 0 and most formulas agree.
LEAST = {"n": 2, "c": 1, "constant": 0}
STEPS_UP = ("n", "c")
# Sizes of blocks, in which code is unrolled or vectorised.
BLOCKS = (4, 8, 16, 32, 64)
# Where the search in logarithms begins when the passing value is 0 (or the failing one, for eps and sd): below it the
# parameter cannot be told from 0 beside a spread of 1 and an ordinary eps.
TINY = {"mean": 1e-3, "sd": 1e-9, "dy_scale": 1e-9, "eps": 1e-15}
# Tries kept back to check the boundaries of a search that ran out of tries: one for each parameter, but at most a
# quarter of all.
KEPT_BACK = 12


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The simplest failing case found, the boundaries around it, and how many different cases were tried."""

    spec: CaseSpec
    boundaries: tuple[Boundary, ...]
    tries: int


def shrink(
    spec: CaseSpec, fails: Callable[[CaseSpec], bool | None], ranks: tuple[int, ...], eps_fixed: bool, limit: int = 200
) -> Shrunk:
    """Return the simplest case that fails like `spec`.

    Parameters
    ----------
    spec : CaseSpec
        A failing case.
    fails : callable
        Whether a case fails; None if it neither fails like that nor passes. It is never asked twice about a case.
    ranks : tuple of int
        Numbers of spatial axes that the target takes.
    eps_fixed : bool
        Whether the target's eps is fixed, so that cases cannot vary it.
    limit : int
        At most how many cases to try, the first one included.

    Raises
    ------
    ValueError
        If `spec` does not fail, or `limit` is below 1.

    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, not {limit}")
    search = _Search(spec, fails, ranks, spec.eps if eps_fixed else None)
    search.allowed = limit
    if not search.failing(spec):
        raise ValueError(f"{spec.id} does not fail")
    search.allowed = limit - min(KEPT_BACK, limit // 4)
    parameters = [p for p in _SIMPLIFY if not (eps_fixed and p == "eps")]
    try:
        before = None
        while before != search.spec:
            before = search.spec
            search.passed.clear()
            for parameter in parameters:
                _SIMPLIFY[parameter](search, parameter)
    except _OutOfTries:
        pass  # what has been found so far is the answer
    search.allowed = limit
    boundaries = search.boundaries(parameters)
    return Shrunk(search.spec, boundaries, search.tries)


class _OutOfTries(Exception):  # noqa: N818 (a signal, not an error)
    """No tries are left."""


class _Search:
    """The failing case found so far, what was tried, and the passing values next to the failing ones."""

    def __init__(
        self, spec: CaseSpec, fails: Callable[[CaseSpec], bool | None], ranks: tuple[int, ...], eps: float | None
    ) -> None:
        self.spec = spec
        self.ranks = ranks
        self.allowed = 0
        self.passed: list[tuple[str, Value]] = []
        self._fails = fails
        self._known: dict[CaseSpec, bool | None] = {}
        self._eps = eps
        # float16 overflows in correct code, too, if a case is not fit for it.
        self._keep_fit = spec.dtype == "float16" and self._fit(spec)

    @property
    def tries(self) -> int:
        return len(self._known)

    def asked(self, spec: CaseSpec) -> bool | None:
        """Return whether `spec` fails, from memory if it was asked before; None if it neither fails nor passes."""
        if spec not in self._known:
            if self.tries >= self.allowed:
                raise _OutOfTries
            self._known[spec] = self._fails(spec)
        return self._known[spec]

    def failing(self, spec: CaseSpec) -> bool:
        """Return whether `spec` fails."""
        return bool(self.asked(spec))

    def move(self, **changes: Value) -> bool:
        """Take the changes over if the case still fails, else note a single one as passing; return whether it does."""
        changed = replace(self.spec, **changes)  # type: ignore[arg-type]  # each value came from the field it goes to
        if self._keep_fit and not self._fit(changed):
            return False
        if self.failing(changed):
            self.spec = changed
            return True
        if len(changes) == 1:
            self.passed += changes.items()
        return False

    def boundaries(self, parameters: Iterable[str]) -> tuple[Boundary, ...]:
        """Return, for each parameter, the last value noted as passing that does pass with the case as it is now.

        Where the case fails at the simplest n or c, one step up is tried instead: some fail at C = 1 or even N only.
        """
        found = []
        # That another seed passes says nothing about the target.
        for parameter in (p for p in parameters if p != "seed"):
            now = getattr(self.spec, parameter)
            noted = [value for name, value in reversed(self.passed) if name == parameter]
            if now == LEAST.get(parameter) and parameter in STEPS_UP:
                noted.append(now + 1)
            value = next((value for value in noted if self._fails_at(parameter, value) is False), None)
            if value is not None:
                found.append(Boundary(parameter, value, now))
        # Only now: tries may run out, and boundaries are worth more.
        return tuple(replace(b, nearby=self._nearby(b)) if b.parameter in STEPS_UP else b for b in found)

    def _nearby(self, boundary: Boundary) -> tuple[tuple[int, bool], ...]:
        """Try further sizes: what fails from one on, and what fails for odd ones or beside whole blocks, differ there.

        Three in a row show odd and even; multiples of the blocks that code is unrolled or vectorised by show the block,
        and three times such a one that it need be no power of two.
        """
        at = getattr(self.spec, boundary.parameter)
        tried: dict[int, bool] = {}

        def passing(size: int) -> bool:
            failed = self._fails_at(boundary.parameter, size)
            if failed is not None and size != boundary.passes:
                tried[size] = failed
            return failed is False

        for size in range(at + 1, at + 4):
            passing(size)
        whole = [size for size in (block * (at // block + 1) for block in BLOCKS) if passing(size)]
        if whole:
            passing(3 * min(whole))
        return tuple(sorted(tried.items()))

    def _fit(self, spec: CaseSpec) -> bool:
        return fit(spec, spec.dtype, self.ranks, self._eps) == spec

    def _fails_at(self, parameter: str, value: Value) -> bool | None:
        """Return whether the case fails with this value; None where that is open, or may not be tried."""
        changed = replace(self.spec, **{parameter: value})  # type: ignore[arg-type]
        if self._keep_fit and not self._fit(changed):
            return None
        try:
            return self.asked(changed)
        except _OutOfTries:  # the smallest case so far is what there is
            return None


def _try_simplest(search: _Search, parameter: str) -> None:
    """Move to the simplest value of a parameter that has nothing in between."""
    search.move(**{parameter: _DEFAULTS[parameter]})


def _lower_integer(search: _Search, parameter: str) -> None:
    """Move towards the least value; from N = 1 up to it."""
    least, start = LEAST[parameter], getattr(search.spec, parameter)
    if start < least:
        search.move(**{parameter: least})
    else:
        _lower(least, start, lambda value: search.move(**{parameter: value}))


def _lower_channels(search: _Search, parameter: str) -> None:
    """Move to one channel, if need be to one whose gamma is negative: among those of many channels some are."""
    if search.spec.c == 1 or search.move(c=1):
        return
    if search.spec.gamma != "random" or not search.move(c=1, gamma="negative"):
        _lower_integer(search, parameter)


def _lower(least: int, start: int, move: Callable[[int], bool]) -> None:
    """Move from `start` down towards `least`, to a value next to one that passes.

    From below, at 2**k and 2**k + 1: small values are cheap to try, and even and odd ones are met early. Then bisection
    between the last that passes and the first that fails. Where only odd or only even ones fail, that may end anywhere:
    if the second next below fails, too, it goes on in steps of two.
    """
    near_powers = {2**k + d for k in range(start.bit_length()) for d in (0, 1)}
    passes, failing = None, start
    for value in sorted(v for v in near_powers | {least} if least <= v < start):
        if move(value):
            failing = value
            break
        passes = value
    while passes is not None and failing - passes > 1:
        middle = (passes + failing) // 2
        if move(middle):
            failing = middle
        else:
            passes = middle
    if passes is not None and failing - 2 >= least and move(failing - 2):
        failing -= 2
        steps = (failing - least) // 2 + 1  # so many times two below, nothing is to be tried
        while steps > 1:
            half = steps // 2
            if move(failing - 2 * half):
                failing, steps = failing - 2 * half, steps - half
            else:
                steps = half
    if passes is not None and failing - 1 >= least:
        move(failing - 1)  # known by now: the neighbour is what is told of


def _lower_real(search: _Search, parameter: str) -> None:
    """Move to the simplest value; if that passes, bisect in logarithms with values of one significant digit."""
    simplest = max(_DEFAULTS[parameter], least_eps(search.spec.dtype)) if parameter == "eps" else _DEFAULTS[parameter]
    start = getattr(search.spec, parameter)
    if search.move(**{parameter: simplest}):
        return
    if start < 0:
        search.move(**{parameter: -start})
    sign = math.copysign(1.0, getattr(search.spec, parameter))
    passes, fails = simplest or TINY[parameter], abs(start) or TINY[parameter]
    while (middle := _between(passes, fails)) is not None:
        if search.move(**{parameter: sign * middle}):
            fails = middle
        else:
            passes = middle


def _between(a: float, b: float) -> float | None:
    """Return a number of one significant digit between two positive ones, or None if they are near enough."""
    low, high = min(a, b), max(a, b)
    if high / low <= NEAR:
        return None
    middle = float(f"{math.sqrt(low) * math.sqrt(high):.0e}")
    return middle if low < middle < high else None


def _lower_spatial(search: _Search, parameter: str) -> None:
    """Try fewer axes (their elements dropped, or moved into the batch), then smaller sizes, axis by axis."""
    spatial = search.spec.spatial
    for rank in sorted(r for r in search.ranks if r < len(spatial)):
        fewer = spatial[:rank]
        if search.move(spatial=fewer) or search.move(spatial=fewer, n=search.spec.n * math.prod(spatial[rank:])):
            break
    for axis in range(len(search.spec.spatial)):
        _lower(1, search.spec.spatial[axis], partial(_resize, search, axis))


def _resize(search: _Search, axis: int, size: int) -> bool:
    sizes = search.spec.spatial
    return search.move(spatial=(*sizes[:axis], size, *sizes[axis + 1 :]))


def by_hand(spec: CaseSpec) -> list[CaseSpec]:
    """Return cases like a shrunk one that can be followed with a pencil, the plainest first.

    At N = 2 xhat is 1 and -1 and dx is 0 but for eps: of three values a reader sees more.
    """
    if spec.dtype == "float16" or spec.m * spec.c > _MOST_BY_HAND:
        return []
    plain = replace(spec, numbers="plain")
    return [replace(plain, n=3), plain] if spec.m == 2 and not spec.spatial else [plain]


# More numbers than these nobody works out by hand.
_MOST_BY_HAND = 24

_SCHEMA = CaseSpec()
_DEFAULTS: dict[str, Any] = {
    name: getattr(_SCHEMA, name) for name in ("seed", "gamma", "memory", "eps", "momentum", "mean", "sd", "dy_scale")
}
# In this order: the seed first, because every boundary found under another one would have to be found again; then what
# makes the rest cheaper to try.
_SIMPLIFY: dict[str, Callable[[_Search, str], None]] = {
    "seed": _try_simplest,
    "spatial": _lower_spatial,
    "c": _lower_channels,
    "n": _lower_integer,
    "constant": _lower_integer,
    "mean": _lower_real,
    "sd": _lower_real,
    "gamma": _try_simplest,
    "dy_scale": _lower_real,
    "memory": _try_simplest,
    "eps": _lower_real,
    "momentum": _try_simplest,
}
