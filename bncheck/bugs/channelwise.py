"""What dgamma, dbeta and y are made of, channel by channel: a factor times a sum, a line in x."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bncheck.bugs.catalogue import Sample, Version
from bncheck.bugs.factors import Factors
from bncheck.bugs.fits import FITTED
from bncheck.bugs.parts import Quantities, scaled, version
from bncheck.bugs.quantities import sums
from bncheck.bugs.steps import Array


def readings_of_sum(tensor: str, samples: Sequence[Sample], factors: Factors) -> list[tuple[Version, ...]]:
    """Return the bug that gives dgamma or dbeta as a factor times a sum."""
    values = [np.asarray(sample.found.get(tensor)) for sample in samples]
    if not samples or any(v.size != a.steps.c or v.dtype.kind != "f" for v, a in zip(values, samples, strict=True)):
        return []
    lookup = Quantities(samples, sums("dy * xhat" if tensor == "dgamma" else "dy"))
    part = lookup.part(values, factors, FITTED[samples[0].steps.case.spec.dtype])
    of_factor, other = ("BUG311", "BUG303") if tensor == "dgamma" else ("BUG411", "BUG402")
    if part is None or (part.quantity.cost == 0.0 and part.factor.is_one):
        return []
    if part.quantity.cost == 0.0:
        return [(scaled(of_factor, part.factor),)]
    return [(version(other, part.times(""), part.value, part.cost),)]


class Line(NamedTuple):
    """Y as a line in x per channel: its slope and its mean share over the right ones, and the share explained.

    `straight` tells of each channel whether it is one.
    """

    slope: Array
    mean_share: Array
    error: float
    share: float
    straight: Array


def line_of_y(sample: Sample) -> Line | None:
    """Fit y to a line in x, channel by channel; None where y has another shape, or is not finite."""
    s, y = sample.steps, np.asarray(sample.found["y"])
    if y.shape != s.x.shape or not np.isfinite(y).all():
        return None
    centred = s.x - s.mean(s.x)
    slope = s.sum(centred * y) / s.sum(centred**2)
    offset = s.mean(y) - slope * s.mean(s.x)
    left = slope * s.x + offset - y
    moved = float(((y - s.mean(y)) ** 2).sum())
    share = 1 - float((left**2).sum()) / moved if moved else 1.0
    with np.errstate(all="ignore"):
        of_slope = slope / (s.gamma * s.inv_std)
        of_mean = (s.beta - offset) / (s.gamma * s.inv_std * s.mu)
    error = np.abs(left).max(axis=s.axes) / (float(np.abs(y).max()) or 1.0)
    return Line(of_slope, of_mean, float(error.max()), share, error <= FITTED[s.case.spec.dtype])


def readings_of_y(samples: Sequence[Sample], factors: Factors) -> list[tuple[Version, ...]]:
    """Return the bug that gives y as another line in x per channel, its slope and mean share with a factor each."""
    lines = [line_of_y(sample) for sample in samples]
    if any(
        line is None or line.error > FITTED[a.steps.case.spec.dtype] for line, a in zip(lines, samples, strict=True)
    ):
        return []
    slopes, shares = [line.slope for line in lines if line], [line.mean_share for line in lines if line]
    tolerance = FITTED[samples[0].steps.case.spec.dtype]
    slope_factor, share_factor = factors.of(slopes, tolerance), factors.of(shares, 10 * tolerance)
    if slope_factor is None or share_factor is None or (slope_factor.is_one and share_factor.is_one):
        return []
    parts = [("", slope_factor, "x"), ("- ", share_factor, "mu")]
    line = " ".join(f"{sign}{'' if f.is_one else f'({f.text}) * '}gamma / std * {of}" for sign, f, of in parts)
    cost = 1.0 + slope_factor.cost + share_factor.cost
    return [(version("BUG134", f"{line} + beta", (slope_factor, share_factor), cost),)]
