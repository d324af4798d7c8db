"""An argument whose name says nothing may be a fraction: that of the new in an average.

Numbers tell: y of training takes no notice of it, and at one half the running statistics lie half way between where 0
and 1 put them. A flag knows no half.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Any, Self

import numpy as np

from bncheck import guard
from bncheck.adapters.mode_values import is_mode_key
from bncheck.adapters.probe import EPS
from bncheck.adapters.protocol import Parameters
from bncheck.adapters.runs import Calling
from bncheck.adapters.target import Way
from bncheck.adapters.tested import giving
from bncheck.adapters.words import Role, argument_role

_SAME = 1e-5  # single precision rounds by less


class Blending:
    """What readings by call plans have in common: one argument may be a fraction, and eps may be left out."""

    _calling: Calling

    def spelled(self) -> str:
        """Return how the code is called, in one line."""
        raise NotImplementedError

    def blending(self) -> Self | None:
        """Return the same reading with a momentum for the one argument that was filled by guessing."""
        plan = self._calling.forward
        guessed = [name for name, key in plan.bound if _is_guess(name, key)]
        if len(guessed) != 1 or "momentum" in plan.keys:
            return None
        other = copy(self)
        other._calling = replace(self._calling, forward=giving(plan, guessed[0], "momentum"))
        return other

    def untold(self) -> Self | None:
        """Return the same reading that tells eps to neither call; None if one of them is never told it."""
        calling, eps = self._calling, frozenset({Role.EPS.value})
        keys = tuple((name, key) for name, key in calling.dict_keys if key not in eps)
        forward, backward = calling.forward.without(eps), calling.backward.without(eps)
        other = copy(self)
        other._calling = replace(calling, forward=forward, backward=backward, dict_keys=keys)
        return other if eps <= calling.backward.keys & calling.given else None


def _is_guess(name: str, key: str) -> bool:
    role = argument_role(name)
    return role is not Role.MODE if is_mode_key(key) else key == "eps" and role is None


def settle_fraction(reading: Any, way: Way, sizes: tuple[int, ...], said: str) -> str:
    """Let a reading give a momentum where numbers show that it is one; return what was found out.

    `said` is what the user named as the mode, "" if nothing.
    """
    other = reading.blending() if isinstance(reading, Blending) and not said else None
    if other is None or not _is_fraction(other, way, sizes):
        return ""
    reading.adopt(other)
    return f"a fraction: {other.spelled()}: y does not follow it, and the running statistics are an average by it"


def _is_fraction(reading: Any, way: Way, sizes: tuple[int, ...]) -> bool:
    random = np.random.default_rng(7)
    x = random.normal(0.7, 2.0, sizes)
    gamma, beta, mean, var = (random.uniform(0.5, 2.0, sizes[1]).astype(way.dtype) for _ in range(4))
    gamma, beta, mean, var = map(way.parameter, (gamma, beta, mean, var))

    def at(fraction: float) -> tuple[Any, Any]:
        with guard.user_code():
            own = gamma.copy(), beta.copy()
            held = mean.copy(), var.copy()
            run = reading.start(Parameters(*own, EPS, fraction, held, way.layout.channel_axis))
            y = run.forward(way.batch(x), True)
        return np.array(y, dtype=float), np.array(run.running(), dtype=float)

    try:
        (y, old), (half_y, half), (new_y, new) = (at(fraction) for fraction in (0.0, 0.5, 1.0))
    except KeyboardInterrupt:
        raise
    except BaseException:  # a forward that cannot be called so has no fraction there
        return False
    still = all(_alike(y, other) for other in (half_y, new_y))
    return still and not _alike(old, new) and _alike(half, (old + new) / 2)


def _alike(one: Any, other: Any) -> bool:
    return np.shape(one) == np.shape(other) and np.allclose(one, other, rtol=_SAME, atol=_SAME)
