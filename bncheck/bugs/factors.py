"""A factor, told from its values: a constant times powers of gamma, of a standard deviation and of a count.

Found and right values of one term differ by a factor in every channel of every case. Which one it is, is searched for
among the products of few things that stand in the formulas, the simplest first. Cases whose counts, gammas and
variances are far apart leave one answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bncheck.bugs.steps import Array, Steps

Value = Callable[[Steps], float | Array]

# What may be raised to which powers. One of each row at most is in a factor.
_GAMMA = {"gamma": lambda s: s.gamma}
_SPREADS: dict[str, Value] = {
    "std": lambda s: np.sqrt(s.var + s.eps),
    "sqrt(var)": lambda s: np.sqrt(s.var),
    "(sqrt(var) + eps)": lambda s: np.sqrt(s.var) + s.eps,
}
_COUNTS: dict[str, Value] = {
    "m": lambda s: s.m,
    "N": lambda s: s.n,
    "C": lambda s: s.c,
    "(m - 1)": lambda s: s.m - 1,
    "(m/(m - 1))": lambda s: s.m / (s.m - 1),
    "(N - 1)": lambda s: s.n - 1,
    "H W": lambda s: s.m // s.n,
    "m C": lambda s: s.m * s.c,
    "(m + 1)": lambda s: s.m + 1,
}
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
        above += [_power(f.text, f.power) for f in self.features if f.power > 0]
        below = [_power(f.text, -f.power) for f in self.features if f.power < 0]
        head = " ".join(above) or "1"
        under = f"({' '.join(below)})" if len(below) > 1 else "".join(below)
        return f"{sign}{head}{f' / {under}' if below else ''}"

    def value(self, s: Steps) -> Array:
        """Return the factor per channel, as it broadcasts against x."""
        found = self.constant * np.ones_like(s.gamma)
        for feature in self.features:
            found = found * np.asarray(feature.value(s), dtype=np.float64) ** feature.power
        return found


def _power(text: str, power: int) -> str:
    return text if power == 1 else f"{text}**{power}"


def factor_of(steps: Sequence[Steps], ratios: Sequence[Array], tolerance: float) -> Factor | None:
    """Return the simplest factor that equals these ratios in every channel of every case; None if none does.

    Parameters
    ----------
    steps : sequence of Steps
        One for each case.
    ratios : sequence of array
        Found over right values, of the shape of gamma as it broadcasts against x.
    tolerance : float
        How far a ratio may be off, relative to itself.

    """
    found = np.concatenate([np.ravel(ratio) for ratio in ratios])
    if not np.isfinite(found).all() or (found == 0).any() or found.size < _FEWEST:
        return None

    def column(value: Value) -> Array:
        return np.concatenate([np.ravel(np.broadcast_to(value(s), s.gamma.shape)) for s in steps]).astype(np.float64)

    rows = [
        _rows(_GAMMA, (1, -1, 2, -2), column),
        _rows(_SPREADS, (1, -1, 2, -2, 3, -3, 4, -4), column),
        _rows(_COUNTS, (1, -1, 2, -2), column),
    ]
    gammas, spreads, counts = (np.stack([np.broadcast_to(values, found.shape) for _, values in row]) for row in rows)
    rest = found / (gammas[:, None, None] * spreads[:, None] * counts)
    middle = np.median(rest, axis=-1)
    fits = np.abs(rest - middle[..., None]).max(axis=-1) <= tolerance * np.abs(middle)
    factors = []
    for places in np.argwhere(fits):
        features = tuple(row[place][0] for row, place in zip(rows, places, strict=True))
        constant = float(middle[tuple(places)])
        near = min(_CONSTANTS, key=lambda known: abs(known - constant))
        constant = near if abs(near - constant) <= tolerance * abs(near) else constant
        factors.append(Factor(constant, tuple(f for f in features if f.power)))
    return min(factors, key=lambda factor: factor.cost, default=None)


# Fewer values than this are met by some product of powers whatever they are.
_FEWEST = 6


def _rows(
    values: dict[str, Value], powers: tuple[int, ...], column: Callable[[Value], Array]
) -> list[tuple[_Feature, Array]]:
    """Return every power of every value as a feature with its numbers; nothing at all is one of them."""
    found = [(_Feature("", lambda s: 1.0, 0), np.ones(1))]
    for text, value in values.items():
        numbers = column(value)
        if np.all(numbers == 1) or not np.all(numbers):
            continue
        found += [(_Feature(text, value, power), numbers**power) for power in powers]
    return found
