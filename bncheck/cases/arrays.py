"""The arrays of a case, bit for bit from its parameters.

Every value is made of 16 raw bits by IEEE-exact operations only (+, -, * in float64, one rounding to the dtype), so
that a replay id gives the same bytes on every machine. Before mean and sd are applied a value is an integer of at most
11 bits over a power of two: float16 (11 significant bits) and float32 hold it exactly; bfloat16 (8) rounds it once.

Channels are told apart by their number, so that a mix-up of channels shows: spreads by 1, 1/2 and 2 in turn (period 3),
offsets by eight values in turn (period 8), hence 24 different channels before any repeats.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bncheck.case import MAX_ELEMENTS, Case, CaseSpec
from bncheck.cases.bits import streams
from bncheck.core.precision import dtype_of, limits
from bncheck.errors import UsageError

if TYPE_CHECKING:
    Floats = NDArray[np.float64]

SPREADS = (1.0, 0.5, 2.0)
# Odd eighths in [-7/8, 7/8], in units of the channel's spread: never 0, so that the mean matters also where mean = 0.
# Steps of 5 modulo 8 visit all eight and keep neighbours apart.
X_OFFSETS = tuple(((5 * c + 2) % 8 - 3.5) / 4 for c in range(8))
# Odd sixteenths in [-7/16, 7/16]: never 0, so that no sum of dy is near 0 and a lost mean path of dx shows.
DY_OFFSETS = tuple(((3 * c + 5) % 8 - 3.5) / 8 for c in range(8))
# |u| <= 2 and |offset| <= 7/8, times the largest spread.
X_PEAK = (2 + max(X_OFFSETS)) * max(SPREADS)
DY_PEAK = 1 + max(DY_OFFSETS)
# Plain numbers are doubled and rounded, x to whole ones and dy to halves, so that few are alike: 2 7/8 becomes 6, and
# 1 7/16 becomes 3.
PLAIN_X_PEAK = 6 * max(SPREADS)
PLAIN_DY_PEAK = 3
# gamma by 11 bits: odd 512ths (2k + 1)/512 in (1/4, 2), never 1 in magnitude (gamma = 1 hides a lost gamma); k in
# [64, 512) by multiply and shift of the lower 10 bits, the sign by the highest.
_K = 64 + (np.arange(1024) * (512 - 64) >> 10)
_GAMMA = np.concatenate((2 * _K + 1, -2 * _K - 1)) * (1 / 512)


def build(spec: CaseSpec) -> Case:
    """Return the case with its arrays, C-contiguous and in ``spec.dtype``.

    The arrays of a case with smaller n (and equal c, spatial and seed) are the first rows of those with larger n;
    gamma and beta of a case with smaller c are the first entries of those with larger c.

    Raises
    ------
    UsageError
        If the case has more than ``MAX_ELEMENTS`` elements, values that its dtype cannot hold, or a dtype of a package
        that is not installed.

    """
    m = spec.m
    elements = m * spec.c
    if elements > MAX_ELEMENTS:
        raise UsageError(f"{spec.id}: x would have {elements} elements, more than {MAX_ELEMENTS}.")
    if largest(spec) > float(limits(spec.dtype).max):
        raise UsageError(f"{spec.id}: {spec.dtype} cannot hold values up to {largest(spec):.3g}.")
    x_bits, dy_bits, gamma_bits, beta_bits = streams(spec.seed, elements, elements, spec.c, spec.c)
    spread, x_offset, dy_offset = _channels(spec.c, len(spec.spatial))

    # u = (k - 1024)/512 in [-2, 2) with k of 11 bits; x = mean + sd spread (u + offset)
    x = (x_bits >> 5).reshape(spec.shape) * (1 / 512)
    x += x_offset
    plain = spec.numbers == "plain"
    if plain:
        x = np.rint(2 * x) + 0.0  # never -0
    x *= spread * spec.sd
    x += spec.mean
    if spec.constant:
        channels = x.reshape(spec.n, spec.c, m // spec.n)[:, : spec.constant]
        channels[...] = channels[:1, :, :1]
    # v = (k - 1024)/1024 in (-1, 1) with odd k, which no even offset makes 0; dy = dy_scale (v + offset)
    dy = (dy_bits >> 5 | 1).reshape(spec.shape) * (1 / 1024)
    dy += dy_offset
    if plain:
        dy = np.rint(4 * dy) / 2 + 0.0
    dy *= spec.dy_scale
    gamma = _gamma(gamma_bits, spec.gamma, plain)
    # odd 512ths in (-1, 1), never 0
    beta = (beta_bits >> 6 | 1) * (1 / 512)
    beta -= 1
    if plain:
        beta = np.copysign(0.5, beta)
    if spec.dtype == "float64":
        return Case(spec, x, gamma, beta, dy)
    return Case(spec, *(array.astype(dtype_of(spec.dtype)) for array in (x, gamma, beta, dy)))


def largest(spec: CaseSpec) -> float:
    """Return a bound on the magnitude of every element of x and dy."""
    x_peak, dy_peak = (PLAIN_X_PEAK, PLAIN_DY_PEAK) if spec.numbers == "plain" else (X_PEAK, DY_PEAK)
    return max(abs(spec.mean) + x_peak * spec.sd, dy_peak * abs(spec.dy_scale))


def gamma_of(spec: CaseSpec) -> Floats:
    """Return gamma alone, in float64."""
    elements = spec.m * spec.c
    return _gamma(streams(spec.seed, elements, elements, spec.c, spec.c)[2], spec.gamma, spec.numbers == "plain")


def _gamma(bits: NDArray[np.uint16], kind: str, plain: bool) -> Floats:
    """Return gamma of every channel, the first one of the given kind.

    The first channel of a random gamma is positive, the others have a random sign: so a failure that takes a negative
    gamma needs either more channels or ``gamma="negative"``, and shrinking shows which.
    """
    if kind == "one":
        return np.ones(bits.size)
    gamma: Floats = _GAMMA[bits >> 5]
    if plain:  # 1/2 or 3/2, still never 1
        gamma = np.copysign(np.floor(np.abs(gamma)) + 0.5, gamma)
    first = abs(float(gamma[0]))
    gamma[0] = {"random": first, "negative": -first, "zero": 0.0}[kind]
    return gamma


# A sweep uses a few dozen different numbers of channels and axes.
@lru_cache(maxsize=256)
def _channels(c: int, axes: int) -> tuple[Floats, Floats, Floats]:
    """Return spread, offset of x - 2 and offset of dy - 1 per channel, shaped to broadcast along the channel axis."""
    shape = (c, *(1 for _ in range(axes)))
    spread = np.resize(SPREADS, c).reshape(shape)
    x_offset = np.resize(X_OFFSETS, c).reshape(shape) - 2
    dy_offset = np.resize(DY_OFFSETS, c).reshape(shape) - 1
    for table in (spread, x_offset, dy_offset):
        table.setflags(write=False)
    return spread, x_offset, dy_offset
