"""A factor, told from its values: a constant times powers of gamma, of standard deviations and of counts.

Found and right values of one term differ by a factor in every channel of every case. Which one it is, is searched for
among the products of few things that stand in the formulas, the simplest first. Cases whose counts, gammas and
variances are far apart leave one answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bncheck.bugs.steps import Array, Steps, absolute

Value = Callable[[Steps], float | Array]

_GAMMA: dict[str, Value] = {
    "gamma": lambda s: s.gamma,
    "abs(gamma)": lambda s: absolute(s.gamma),
    "sign(gamma)": lambda s: np.sign(np.real(s.gamma)),
}
_STD: dict[str, Value] = {"std": lambda s: np.sqrt(s.var + s.eps)}
_OTHER_STD: dict[str, Value] = {
    "sqrt(var)": lambda s: np.sqrt(s.var),
    "(sqrt(var) + eps)": lambda s: np.sqrt(s.var) + s.eps,
    "sqrt(var + 2 eps)": lambda s: np.sqrt(s.var + 2 * s.eps),
    "sqrt(var - eps)": lambda s: np.sqrt(s.var - s.eps),
    "sqrt(var + 1e-5)": lambda s: np.sqrt(s.var + 1e-5),
    "sqrt(var + 1e-8)": lambda s: np.sqrt(s.var + 1e-8),
    "(std + eps)": lambda s: np.sqrt(s.var + s.eps) + s.eps,
    "sqrt(m var / (m - 1) + eps)": lambda s: np.sqrt(s.var * s.m / (s.m - 1) + s.eps),
}
_M: dict[str, Value] = {
    "m": lambda s: s.m,
    "(m/(m - 1))": lambda s: s.m / (s.m - 1),
    "(m/(m + 1))": lambda s: s.m / (s.m + 1),
    "H W": lambda s: s.m // s.n,
    "W": lambda s: s.x.shape[-1] if s.x.ndim > 3 else 1,
    "H": lambda s: s.x.shape[-2] if s.x.ndim > 3 else 1,
    "N": lambda s: s.n,
    "(N - 1)": lambda s: s.n - 1,
    "(m - 1)": lambda s: s.m - 1,
}
_C: dict[str, Value] = {"C": lambda s: s.c}
_CONSTANTS = {
    1.0: "",
    -1.0: "-",
    2.0: "2",
    0.5: "1/2",
    -2.0: "-2",
    -0.5: "-1/2",
    4.0: "4",
    0.25: "1/4",
    3.0: "3",
    1.5: "3/2",
}


class _Feature(NamedTuple):
    text: str
    value: Value
    power: int


@dataclass(frozen=True, slots=True)
class Factor:
    """A constant times powers; `cost` grows with what stands in it."""

    constant: float
    features: tuple[_Feature, ...]

    @property
    def is_one(self) -> bool:
        """Whether it changes nothing."""
        return self.constant == 1 and not self.features

    @property
    def cost(self) -> float:
        """How much is written down."""
        plain = 0.0 if self.constant == 1 else 0.5 if self.constant in _CONSTANTS else 1.5
        return plain + sum(0.6 + 0.4 * abs(f.power) for f in self.features)

    @property
    def text(self) -> str:
        """The factor as it is written: "2 gamma / m", "-1", "std**2"."""
        sign = "-" if self.constant < 0 else ""
        size = abs(self.constant)
        number = "" if size == 1 else _CONSTANTS.get(size, f"{size:.4g}")
        above = [number] if number else []
        for f in self.features:
            if f.power > 0 or f.text in _INVERSE:
                above.append(_power(f.text if f.power > 0 else _INVERSE[f.text], abs(f.power)))
        below = [_power(f.text, -f.power) for f in self.features if f.power < 0 and f.text not in _INVERSE]
        head, under = _product(above) or "1", _product(below)
        under = f"({under})" if len(below) > 1 else under
        return f"{sign}{head}{f' / {under}' if below else ''}"

    def value(self, s: Steps) -> Array:
        """Return the factor per channel, as it broadcasts against x."""
        found = self.constant * np.ones_like(s.gamma)
        with np.errstate(all="ignore"):
            for feature in self.features:
                found = found * (1.0 * np.asarray(feature.value(s))) ** feature.power
        return found


# Quotients that are read the other way round below a line.
_INVERSE = {"(m/(m - 1))": "((m - 1)/m)", "(m/(m + 1))": "((m + 1)/m)"}


def _product(factors: list[str]) -> str:
    """Return a product as it is written by hand, with signs where it has brackets or broken numbers."""
    plain = all(re.fullmatch(r"\d+|[A-Za-z]\w*(\*\*\d+)?", factor) for factor in factors)
    return (" " if plain else " * ").join(factors)


def _power(text: str, power: int) -> str:
    return text if power == 1 else f"{text}**{power}"


# Fewer values than this are met by some product of powers whatever they are.
FEWEST = 6


class Factors:
    """The products of powers on some cases, in an order in which one is found at once by its values.

    The logarithms of a product's values, less their first, tell it whatever constant stands before it. One number made
    of them is the key; what has a near key is compared value by value.
    """

    def __init__(self, steps: Sequence[Steps]) -> None:
        self.size = sum(s.gamma.size for s in steps)
        powers = self._rows(steps, _GAMMA, (1, -1, 2, -2)), self._rows(steps, _STD, (1, -1, 2, -2, 3, -3, 4, -4, 5, -5))
        counts = self._rows(steps, _M, (1, -1, 2, -2)), self._rows(steps, _C, (1, -1))
        # What is the deviation itself on these cases, because eps is 0 or just that number, is no other one.
        others = self._rows(steps, {**_STD, **_OTHER_STD}, (1, -1, 2, -2, 3, -3))
        others = [row for row in others if row[0].text not in _STD]
        # Another standard deviation and another count are two faults, and not of one line.
        self._blocks = [(*powers, *counts), *([(*powers, others[1:])] if others[1:] else [])]
        logs = []
        for rows in self._blocks:
            values = np.zeros((1, self.size))
            for row in rows:
                values = (values[:, None] + np.stack([numbers for _, numbers in row])).reshape(-1, self.size)
            logs.append(values)
        self._logs = np.concatenate(logs)
        self._logs = self._logs - self._logs[:, :1]
        # Any fixed weights do that are not all alike.
        self._weights = np.cos(np.arange(self.size) * 1.7 + 0.3)
        keys = self._logs @ self._weights
        self._order = np.argsort(keys)
        self._keys = keys[self._order]
        self._steps = steps

    @staticmethod
    def _rows(
        steps: Sequence[Steps], values: dict[str, Value], powers: tuple[int, ...]
    ) -> list[tuple[_Feature, Array]]:
        """Return every power of every value as a feature with its logarithms; nothing at all is one of them."""
        size = sum(s.gamma.size for s in steps)
        found = [(_Feature("", lambda s: 1.0, 0), np.zeros(size))]
        seen: list[Array] = []
        for text, value in values.items():
            with np.errstate(all="ignore"):
                of_cases = [np.asarray(value(s), dtype=np.float64) for s in steps]
                if any(a.size not in (1, s.c) for a, s in zip(of_cases, steps, strict=True)):
                    continue  # a user's variance that differs within a channel
                spread = zip(of_cases, steps, strict=True)
                numbers = np.concatenate([np.ravel(np.broadcast_to(a.squeeze(), (s.c,))) for a, s in spread])
                logs = np.log(np.abs(numbers))
            # N is m where there are no spatial axes; of two names for one number the first is taken.
            known = any(np.array_equal(numbers, others) for others in seen)
            if np.isfinite(logs).all() and not np.all(numbers == 1) and not known:
                seen.append(numbers)
                signs = (1,) if text.startswith("sign") else powers
                found += [(_Feature(text, value, power), power * logs) for power in signs]
        return found

    def of(self, ratios: Sequence[Array], tolerance: float) -> Factor | None:
        """Return the simplest factor that equals these ratios in every channel of every case; None if none does.

        Parameters
        ----------
        ratios : sequence of array
            Found over right values, for each case, of the shape of gamma as it broadcasts against x.
        tolerance : float
            How far a ratio may be off, relative to itself.

        """
        values = np.concatenate([np.ravel(ratio) for ratio in ratios])
        return next((factor for _, factor in self.among(values[None], tolerance)), None)

    def among(self, ratios: Array, tolerance: float) -> Iterator[tuple[int, Factor]]:
        """Yield the number of each row of ratios that is a factor, and the simplest factor that it is."""
        if self.size < FEWEST or ratios.shape[1] != self.size:
            return
        # 0 / 0 says nothing: a channel whose gamma is 0 in both.
        told = ~np.isnan(ratios)
        with np.errstate(all="ignore"):
            logs = np.log(np.abs(ratios))
        usable = (told.sum(axis=1) >= FEWEST) & (np.isfinite(logs) | ~told).all(axis=1)
        for row in np.flatnonzero(usable):
            near = self._near(logs[row], told[row], tolerance)
            factors = [f for place in near if (f := self._factor(int(place), ratios[row], told[row], tolerance))]
            best = min(factors, key=lambda factor: factor.cost, default=None)
            if best is not None:
                yield int(row), best

    def _near(self, logs: Array, told: NDArray[np.bool_], tolerance: float) -> NDArray[np.intp]:
        """Return the places of the products whose logarithms differ from these by a constant."""
        if told.all():
            moved = logs - logs[0]
            # Each logarithm is off by its value's tolerance, and the first one's.
            width = 2 * tolerance * float(np.abs(self._weights).sum())
            key = float(moved @ self._weights)
            low, high = np.searchsorted(self._keys, (key - width, key + width))
            near: NDArray[np.intp] = self._order[low:high]
            off = np.abs(self._logs[near] - moved).max(axis=1, initial=0.0)
            return np.compress(off <= 2 * tolerance, near)
        apart = self._logs[:, told] - logs[told]
        return np.flatnonzero(np.ptp(apart, axis=1) <= 4 * tolerance)

    def _features(self, place: int) -> tuple[_Feature, ...]:
        """Return what the product at a place is made of: blocks of every choice of one in each row."""
        for rows in self._blocks:
            shape = tuple(len(row) for row in rows)
            if place < prod(shape):
                chosen = np.unravel_index(place, shape)
                return tuple(row[at][0] for row, at in zip(rows, chosen, strict=True) if row[at][0].power)
            place -= prod(shape)
        raise IndexError(place)

    def _factor(self, place: int, values: Array, told: NDArray[np.bool_], tolerance: float) -> Factor | None:
        features = self._features(place)
        plain = Factor(1.0, features)
        rest = (values / np.concatenate([np.ravel(plain.value(s)) for s in self._steps]))[told]
        constant = float(np.median(rest))
        if np.abs(rest - constant).max() > 2 * tolerance * abs(constant):
            return None
        near = min(_CONSTANTS, key=lambda known: abs(known - constant))
        constant = near if abs(near - constant) <= 2 * tolerance * abs(near) else constant
        return Factor(constant, features)
