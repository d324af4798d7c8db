"""Which of several calls that fit by shape is meant: the one under which more of the numbers are right.

Shapes cannot tell a cache from other arrays that a forward returns, nor gamma from a factor that may be left out
(``backward(dy, scale=1.0)``). Numbers can: nobody's cache is right by accident. A call counts only where everything
that is right under the present one is right under it too, and something more; or more things, y among them, where y
was wrong. Else the present one stays, and what is wrong under both is reported. The order of the gradients is never
changed, and neither is a cache that has the name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from itertools import product
from typing import Any, Protocol, runtime_checkable

import numpy as np

from bncheck import guard
from bncheck.adapters.log import Log
from bncheck.adapters.plans import Plan, arguments
from bncheck.adapters.probe import EPS, MOMENTUM, PROBES, Found
from bncheck.adapters.protocol import Parameters, Reading
from bncheck.adapters.runs import Calling
from bncheck.adapters.target import Way, per_channel
from bncheck.adapters.words import clarity
from bncheck.core import reference

_PARAMETERS = ("gamma", "beta")
_CLEAR = 3  # how clearly "gamma" says what it is, unlike "scale" and "weight"
# How far x spreads: no eps that anybody hard-codes shows beside a variance of a million.
_SPREAD = 1e3
# Rounding is far below, and what another array gives in place of the right one far above.
_SAME = {"float64": 1e-6, "float32": 1e-3}


@runtime_checkable
class Varying(Protocol):
    """A reading that knows what else its code may mean."""

    def variants(self) -> Iterator[Reading]:
        """Yield the same reading with another cache, or without an argument that may be left out."""


def variants(
    calling: Calling, caches: list[tuple[str, int]], factors: frozenset[str] = frozenset()
) -> Iterator[Calling]:
    """Yield other ways of calling the same code.

    Parameters
    ----------
    calling : Calling
        The present one.
    caches : list of (str, int)
        What the cache may be: how it is found, and its place.
    factors : frozenset of str
        Arguments of the forward that it may do without, because gamma and beta may live in an object.

    """
    present = calling.cache, calling.cache_place
    kept = calling.cache == "named" or "cache" not in calling.backward.keys
    chosen = [present] if kept else list(dict.fromkeys([present, *caches]))
    backwards = _shorter(calling.backward, {name for name, _ in calling.backward.bound})
    for forward, backward, (cache, place) in product(_shorter(calling.forward, factors), backwards, chosen):
        if (forward, backward, (cache, place)) != (calling.forward, calling.backward, present):
            yield replace(calling, forward=forward, backward=backward, cache=cache, cache_place=place)


def _shorter(plan: Plan, names: Collection[str]) -> list[Plan]:
    """Return the plan, and those without what may be something else than gamma or beta, of some arguments."""
    vague = [key for name, key in plan.bound if name in names and key in _PARAMETERS and clarity(name) < _CLEAR]
    less = [frozenset(vague), *(frozenset({key}) for key in vague)]
    return [plan, *(plan.without(keys) for keys in dict.fromkeys(less) if keys)]


def factors(forward: Callable[..., Any]) -> frozenset[str]:
    """Return the arguments of a forward that are numbers where they are left out: 1, or 0, and no array to be found."""
    return frozenset(a.name for a in arguments(forward) or () if type(a.default) in (int, float) and not a.required)


def without_factor(plan: Plan, optional: set[str]) -> list[Plan]:
    """Return the plan of a layer's forward without a factor or an offset that it may do without, if it takes but one.

    Who hands over parameters hands over both: a lone ``scale=1.0`` or ``weight=None`` may be for something else.
    """
    lone = [(name, key) for name, key in plan.bound if key in _PARAMETERS]
    if len(lone) != 1 or lone[0][0] not in optional or clarity(lone[0][0]) >= _CLEAR:
        return []
    return [plan.without(frozenset({lone[0][1]}))]


def as_meant(best: Found, survey: Callable[[Reading], Found], log: Log) -> Found:
    """Return the best reading of a candidate, or a variant of it under which more of the numbers are right.

    `survey` tries the layouts with a reading.
    """
    if not isinstance(best.reading, Varying):
        return best
    others = list(best.reading.variants())
    most = _right(best) if others else frozenset()
    for other in others:
        if most == frozenset(_WANTED):
            break
        log.lines.append(f"or {other.spelled()}")
        found = survey(other)
        right = _right(found) if found.fits else frozenset()
        better = right > most or (len(right) > len(most) and "y" in right - most)
        log.lines.append(f"  {'kept' if better else 'dropped'}: right: {_said(right)}; before: {_said(most)}")
        if better:
            best, most = found, right
    return best


_WANTED = ("y", "dx", "dgamma", "dbeta")


def _said(right: frozenset[str]) -> str:
    return ", ".join(name for name in _WANTED if name in right) or "nothing"


def _right(found: Found) -> frozenset[str]:
    """Return what is right on every probe with the fewest axes that fit."""
    way = found.fits[min(found.fits)].way
    probes = enumerate(PROBES[len(way.layout.name)])
    return frozenset.intersection(*(_right_on(found.reading, way, sizes, seed) for seed, sizes in probes))


def _right_on(reading: Reading, way: Way, sizes: tuple[int, ...], seed: int) -> frozenset[str]:
    random = np.random.default_rng(seed)
    x, dy = (random.normal(shift, 1.0, sizes).astype(way.dtype) for shift in (0.3, 0.2))
    x *= _SPREAD
    gamma, beta = (random.uniform(0.5, 2.0, sizes[1]).astype(way.dtype) for _ in _PARAMETERS)
    axes = (0, *range(2, len(sizes)))
    forward = reference.forward(x, gamma, beta, EPS, axes)
    wanted = {"y": forward.y, **reference.backward(dy, forward, gamma, axes)._asdict()}
    given = way.parameter(gamma), way.parameter(beta)
    parameters = Parameters(*given, EPS, MOMENTUM, axis=way.layout.channel_axis)
    found = _results(reading, way, (x, dy), parameters)
    # Some code means the gradients of its parameters as means over m; whether it may is not decided here.
    scales = {"dgamma": (1, forward.m), "dbeta": (1, forward.m)}
    same = _SAME[way.dtype]
    return frozenset(
        name
        for name, value in found.items()
        if any(_alike(value, wanted[name] / scale, same) for scale in scales.get(name, (1,)))
    )


def _results(reading: Reading, way: Way, given: tuple[Any, Any], parameters: Parameters) -> dict[str, Any]:
    """Return y and the gradients in the canonical layout, as far as the code comes."""
    found: dict[str, Any] = {}
    x, dy = (way.batch(array) for array in given)
    try:
        with guard.user_code("forward"):
            run = reading.start(parameters)
            found["y"] = way.layout.canonical(np.array(run.forward(x, True), dtype=float))
        with guard.user_code("backward"):
            dx, dgamma, dbeta = run.backward(dy)
            found["dgamma"], found["dbeta"] = (per_channel(one, parameters.gamma.size) for one in (dgamma, dbeta))
            found["dx"] = way.layout.canonical(np.array(dx, dtype=float))
    except KeyboardInterrupt:  # the user's, and not the code's
        raise
    except BaseException:  # what raises, or has another shape, is not right
        return found
    return found


def _alike(value: Any, wanted: Any, same: float) -> bool:
    try:
        value = np.asarray(value, dtype=float)
    except (TypeError, ValueError):  # None, or what is no array
        return False
    return value.shape == wanted.shape and bool(np.all(np.abs(value - wanted) <= same * np.max(np.abs(wanted))))
