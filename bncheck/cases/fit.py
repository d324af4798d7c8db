"""Fits a case to what a target takes: its number of spatial axes, its dtype, its eps."""

from __future__ import annotations

import math
from dataclasses import replace

from bncheck.case import CaseSpec

# Sizes of axes that a target needs and a case lacks: small, and no two neighbours equal.
EXTRA_SIZES = (2, 3, 2, 3)
# The batch sizes of ordinary cases. Others (1, 2, 3, 15, 64 ...) are a corner of their own: axes of size 1 keep m = N.
ORDINARY_BATCH = range(4, 9)

# float16 reaches from 6.1e-5 (below it digits are lost) to 65504. In these limits no textbook evaluation leaves it, in
# whichever order it multiplies and with sums kept in float16; half of 65504 leaves room for partial sums.
HALF_MAX = 65504.0
HALF_SUM = HALF_MAX / 2
# eps below 6.1e-5 has no full precision, or is 0; and with 1e-3 a constant channel has inv_std**3 = 31623 < 65504.
HALF_EPS = 1e-3
# u is uniform in [-2, 2), of variance 4/3, and the smallest spread is sd/2.
LEAST_VARIANCE = 1 / 3
# 0.1 makes the least variance 0.0033, above eps; the squares of 10 * 5.75 are finite.
HALF_SD = (0.1, 10.0)
# What 1e6 is to float32 (its unit roundoff 6e-8 takes 6% of sd), 100 is to float16 (4.9e-4, 5%).
HALF_MEAN_TO_SD = 100.0
# The smallest non-zero |dy| is dy_scale/1024: 1e-4 for 0.1, a normal number.
HALF_DY = 0.1
# Below as many values a variance near 0 comes about by chance.
FEW = 8
# m * 16/3 (the largest variance for sd = 1) <= HALF_SUM for m <= 6141.
HALF_M = 4096


def fit(spec: CaseSpec, dtype: str, ranks: tuple[int, ...], eps: float | None = None) -> CaseSpec | None:
    """Return the case nearest to `spec` that a target can take, or None if that would be another case altogether.

    Parameters
    ----------
    spec : CaseSpec
        Any case.
    dtype : str
        The dtype that the target is verified in. For float16, values are moved into its range.
    ranks : tuple of int
        Numbers of spatial axes that the target takes.
    eps : float or None
        The target's eps if it is fixed.

    """
    spatial = _fit_axes(spec, ranks)
    if spatial is None:
        return None
    chosen = max(spec.eps, least_eps(dtype)) if eps is None else eps
    fitted = replace(spec, dtype=dtype, spatial=spatial, eps=chosen, constant=min(spec.constant, spec.c))
    return _fit_half(fitted) if dtype == "float16" else fitted


def least_eps(dtype: str) -> float:
    """Return the smallest eps that makes sense in `dtype`."""
    return HALF_EPS if dtype == "float16" else 0.0


def _fit_axes(spec: CaseSpec, ranks: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return spatial sizes of a supported number of axes: more axes if possible, else trailing ones merged."""
    rank = len(spec.spatial)
    if rank in ranks:
        return spec.spatial
    above = [r for r in ranks if r > rank]
    if above:
        missing = min(above) - rank
        extra = EXTRA_SIZES[:missing] if spec.n in ORDINARY_BATCH else (1,) * missing
        return spec.spatial + extra
    below = max(ranks, default=0)
    if below == 0:
        return None
    return (*spec.spatial[: below - 1], math.prod(spec.spatial[below - 1 :]))


def _fit_half(spec: CaseSpec) -> CaseSpec | None:
    if spec.m > HALF_M:
        return None
    if spec.eps < HALF_EPS:
        # A fixed eps that is too small for a variance of 0 or, by chance, near 0: see HALF_EPS.
        spec = replace(spec, constant=0, sd=max(spec.sd, 1.0), n=FEW if spec.m < FEW else spec.n)
    m = spec.m
    sd = min(max(spec.sd, HALF_SD[0]), HALF_SD[1])
    # sum of (x - mu)**2, the largest variance being 16/3 sd**2
    if m * 6 * sd * sd > HALF_SUM:
        sd = 1.0
    # sum of x; a channel's mean is off by at most 2 * 7/8 sd from the case's
    most = min(HALF_SUM / m - 2 * sd, HALF_MEAN_TO_SD * sd)
    mean = math.copysign(_at_most(abs(spec.mean), most), spec.mean) if spec.mean else 0.0
    variance = 0.0 if spec.constant or m < FEW else sd * sd * LEAST_VARIANCE
    inv_std = 1 / math.sqrt(variance + max(spec.eps, HALF_EPS))
    # m * dy - sum(dy) - xhat * sum(dy * xhat), three terms with |dy| < 1.5 dy_scale; the same times gamma * inv_std,
    # gamma < 2, not yet divided by m; sum(dy * gamma * (x - mu)), below 3.4 m sd dy_scale by Cauchy and Schwarz.
    most = HALF_SUM / (3 * 1.5 * m * max(1.0, 2 * inv_std, sd))
    scale = _at_most(max(abs(spec.dy_scale), HALF_DY), most)
    return replace(spec, sd=sd, mean=mean, dy_scale=math.copysign(scale, spec.dy_scale))


def _at_most(value: float, limit: float) -> float:
    """Return `value`, or the largest power of ten below `limit` if it is above; 10**k is the same float everywhere."""
    return value if value <= limit else float(f"1e{math.floor(math.log10(limit))}")
