"""A coefficient in words: a factor times a quantity, and the bug that it comes to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from bncheck.bugs.catalogue import BUGS, Choice, Sample, Version
from bncheck.bugs.factors import Factor, Factors
from bncheck.bugs.quantities import Quantity
from bncheck.bugs.steps import Array, Steps


class Part(NamedTuple):
    """A coefficient in words: a factor times a quantity."""

    quantity: Quantity
    factor: Factor

    @property
    def cost(self) -> float:
        """How much stands in it."""
        return self.quantity.cost + self.factor.cost

    def value(self, s: Steps) -> Array:
        """Return it per channel."""
        with np.errstate(all="ignore"):
            return self.factor.value(s) * self.quantity.value(s)

    def times(self, array: str) -> str:
        """Return it as it is written before an array."""
        factor = "" if self.factor.is_one else self.factor.text
        parts = [part for part in (factor, self.quantity.text, array) if part and part != "1"]
        if parts[:1] == ["-1"] and len(parts) > 1:
            parts = [f"-{parts[1]}", *parts[2:]]
        return " * ".join(f"({part})" if "/ " in part and len(parts) > 1 else part for part in parts) or "1"


def _per_channel(value: Array, s: Steps) -> Array:
    """Return one value for each channel; a number that is none where a user's statistic differs within a channel."""
    value = np.asarray(value, dtype=np.float64)
    return np.broadcast_to(value.squeeze(), (s.c,)) if value.size in (1, s.c) else np.full(s.c, np.inf)


class Quantities:
    """Quantities with their values on some samples, to look coefficients up among."""

    def __init__(self, samples: Sequence[Sample], quantities: Sequence[Quantity]) -> None:
        self.quantities = quantities
        with np.errstate(all="ignore"):
            rows = [[_per_channel(q.value(a.steps), a.steps) for a in samples] for q in quantities]
        self.values = np.stack([np.concatenate(row) for row in rows])

    def part(self, values: Sequence[Array], factors: Factors, tolerance: float) -> Part | None:
        """Return the simplest factor times quantity that equals these values on every sample; None if none does."""
        found = np.concatenate([np.ravel(value) for value in values])
        with np.errstate(all="ignore"):
            ratios = found / self.values
        parts = [Part(self.quantities[i], factor) for i, factor in factors.among(ratios, tolerance)]
        return min(parts, key=lambda part: part.cost, default=None)


def version(code: str, text: str, value: Any, cost: float, said: str = "") -> Version:
    """Return a bug with a parameter that was told from what was found; `cost` is how much is written down."""
    return Version(BUGS.get(code), Choice(text, value, cost / 10, said))


# Factors that readers know by another name.
_SAID = {
    "-1": "{what} has the wrong sign",
    "2": "{what} is twice what it should be",
    "1/2": "{what} is half of what it should be",
    "m": "{what} is m times too large: it is not averaged",
    "1 / m": "{what} is divided by m once too often",
    "H W": "{what} is H·W times too large: it is divided by N, and not by m = N·H·W",
    "(m/(m - 1))": "{what} is divided by m - 1, and not by m",
    "m / C": "{what} is divided by C, and not by m",
    "gamma": "{what} has gamma once too often",
    "1 / gamma": "gamma is missing in {what}",
    "std": "{what} is not divided by the standard deviation often enough",
    "1 / std": "{what} is divided by the standard deviation once too often",
}
_SAID_OF = {
    ("dgamma", "1 / m"): "dgamma is averaged over the batch, and not summed",
    ("dbeta", "1 / m"): "dbeta is averaged over the batch, and not summed",
    ("the variance path of dx", "std**2"): "dvar has the power -1/2 of var + eps, and not -3/2",
}
CALLED = {
    "BUG221": "the direct path of dx",
    "BUG222": "the mean path of dx",
    "BUG223": "the variance path of dx",
    "BUG224": "dx",
    "BUG227": "both means in dx",
    "BUG311": "dgamma",
    "BUG411": "dbeta",
}


# What is said of one thing, as it is said of two.
_OF_SEVERAL = (
    (f"{CALLED['BUG227']} is ", f"{CALLED['BUG227']} are "),
    (f"{CALLED['BUG227']} has ", f"{CALLED['BUG227']} have "),
    (": it is ", ": they are "),
    ("it should", "they should"),
)


def scaled(code: str, factor: Factor) -> Version:
    """Return a bug of a family whose parameter is a factor, in the words that readers know it by."""
    what = CALLED[code]
    said = _SAID_OF.get((what, factor.text)) or _SAID.get(factor.text, "").format(what=what)
    if what.startswith("both"):
        for one, several in _OF_SEVERAL:
            said = said.replace(one, several)
    return version(code, factor.text, factor, factor.cost, said)
